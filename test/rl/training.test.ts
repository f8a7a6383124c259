/**
 * Reinforcement learning as a training run: rollouts are the data of the trainer, so that a run which is
 * stopped or killed at any moment ends in the same bits, and one that diverges goes back.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryFolder } from '../../src/model/index.js';
import { RolloutSource, parseRLSettings, policyObjective } from '../../src/rl/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { MetricRecord, TrainOptions } from '../../src/train/index.js';
import { METRICS_FILE, SNAPSHOT_FILE, parseMetrics, train } from '../../src/train/index.js';
import { ECHO_BATCH, ECHO_MODEL, ECHO_TEXT, ECHO_WEIGHTS, echo, echoConfig } from './echo.js';

const SETTINGS = parseRLSettings({
  groups: 3,
  groupSize: 4,
  maxNewTokens: 2,
  policy: { credit: { kind: 'loops', weights: 'learned' } },
});

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

const config = echoConfig(7, 3);

function sourceOf(task = echo, settings = SETTINGS) {
  return new RolloutSource({
    task,
    text: ECHO_TEXT,
    settings,
    model: ECHO_MODEL,
    ...ECHO_BATCH,
  });
}

const run = (files: Map<string, Uint8Array>, options: Partial<TrainOptions> = {}) =>
  train({
    config,
    device,
    source: sourceOf(),
    objective: policyObjective(SETTINGS.policy, ECHO_MODEL.numLoops),
    weights: ECHO_WEIGHTS,
    folder: memoryFolder('run', files),
    now: () => 0,
    memoryBytes: () => 0,
    ...options,
  });

const metricsOf = (files: Map<string, Uint8Array>) =>
  parseMetrics(new TextDecoder().decode(files.get(METRICS_FILE))).map((record) => {
    const { tokensPerSecond: _, ...rest } = record as MetricRecord;
    return rest;
  });

describe('a run of reinforcement learning', () => {
  it('ends in the same bytes when it is stopped, or killed, anywhere', async () => {
    const whole = new Map<string, Uint8Array>();
    await run(whole);
    const records = metricsOf(whole);
    expect(records).toHaveLength(7);
    expect(records[0]!.source).toHaveProperty('reward');
    for (const record of records) {
      expect(record.source!['maxTokenDifference']).toBeLessThan(1e-4);
      expect(record.source!['loopWeights']).toHaveLength(4);
    }

    for (const stopAt of [1, 2, 5]) {
      const stopped = new Map<string, Uint8Array>();
      const controller = new AbortController();
      const { finished } = await run(stopped, {
        signal: controller.signal,
        onProgress: ({ trainStep }) => trainStep === stopAt && controller.abort(),
      });
      expect(finished).toBe(false);
      await run(stopped);
      expect(stopped.get(SNAPSHOT_FILE)).toEqual(whole.get(SNAPSHOT_FILE));
      expect(metricsOf(stopped)).toEqual(records);
    }

    // killed: what came after the last snapshot is lost, and done again
    const killed = new Map<string, Uint8Array>();
    const die = ({ trainStep }: MetricRecord) => {
      if (trainStep === 5) throw new Error('killed');
    };
    await expect(run(killed, { onProgress: die })).rejects.toThrow('killed');
    await run(killed);
    expect(killed.get(SNAPSHOT_FILE)).toEqual(whole.get(SNAPSHOT_FILE));
    expect(metricsOf(killed)).toEqual(records);
  });

  it('is stopped in the middle of its rollouts and rewards, too', async () => {
    const whole = new Map<string, Uint8Array>();
    await run(whole);
    const files = new Map<string, Uint8Array>();
    const controller = new AbortController();
    let rewards = 0;
    const interrupting: typeof echo = {
      ...echo,
      reward(answer, problem, signal) {
        if (++rewards === 40) controller.abort();
        return echo.reward(answer, problem, signal);
      },
    };
    const stopped = await run(files, {
      source: sourceOf(interrupting),
      signal: controller.signal,
    });
    expect(stopped.trainStepsDone).toBe(3);
    await run(files);
    expect(files.get(SNAPSHOT_FILE)).toEqual(whole.get(SNAPSHOT_FILE));
  });

  it('goes back when an update diverges, a bounded number of times', async () => {
    const rollbacks: number[] = [];
    const blowingUp = async (worth: (trainStep: number) => number) => {
      let trainStep = 0;
      const source = sourceOf(
        { ...echo, reward: (...given) => worth(trainStep) * (echo.reward(...given) as number) },
        parseRLSettings({ ...SETTINGS, advantages: { dividesByDeviation: false } }),
      );
      rollbacks.length = 0;
      return run(new Map(), {
        source,
        onProgress: (record) => (trainStep = record.trainStep),
        onRollback: ({ backTo }) => rollbacks.push(backTo),
      });
    };
    await expect(blowingUp(() => 3e38)).rejects.toThrow(/it must be finite.*last snapshot is kept/);
    expect(rollbacks).toEqual([0, 0, 0]);
    // once only: the run goes on from its snapshot, with other draws
    const { finished } = await blowingUp((trainStep) =>
      trainStep === 5 && rollbacks.length === 0 ? 3e38 : 1,
    );
    expect(finished).toBe(true);
    expect(rollbacks).toEqual([4]);
  });
});
