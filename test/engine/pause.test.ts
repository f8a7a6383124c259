/** An engine that stands still, what it says of itself, and weights that are exchanged meanwhile. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineEvent, StepReport } from '../../src/engine/index.js';
import {
  Engine,
  UpdatableWeights,
  cdfThreshold,
  parseSamplingOptions,
} from '../../src/engine/index.js';
import { CheckpointError } from '../../src/errors.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { RandomModel } from './random-model.js';
import { SMALL_MODEL, makeModel, randomWeights } from './random-model.js';
import { requestOf, runAll } from './runs.js';

let device: Device;
let model: RandomModel;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await makeModel(SMALL_MODEL);
});
afterAll(async () => device.dispose());

const sampling = parseSamplingOptions({ temperature: 1, seed: 8 });
const request = requestOf([3, 1, 4, 1, 5], cdfThreshold(0.6), {
  maxNewTokens: 12,
  record: true,
  sampling,
});

/** Lets everything happen that can. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('an engine that is paused', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.create({ device, config: model.config, weights: model.weights });
  });
  afterAll(async () => engine.dispose());

  it('computes nothing, and goes on as if nothing had been', async () => {
    const [expected] = await runAll(engine, [request]);
    const events: EngineEvent[] = [];
    const reading = (async () => {
      for await (const event of engine.generate([request])) {
        events.push(event);
        if (events.length === 3) void engine.pause();
      }
    })();
    while (!engine.stats.isPaused) await settle();
    await engine.pause();
    const { numExecuted, numRunning } = engine.stats;
    expect(numRunning).toBe(1);
    await settle();
    expect(engine.stats).toMatchObject({ numExecuted, isPaused: true });
    expect(events.length).toBeLessThan(12);
    engine.resume();
    await reading;
    expect(events.at(-1)).toEqual({
      ...expected!.finish,
      executedLoops: expect.any(Number),
      cachedTokens: expect.any(Number),
    });
    expect(engine.stats).toMatchObject({ numRunning: 0, numWaiting: 0, isPaused: false });
  });

  it('takes requests in, which wait, and ends those that are aborted', async () => {
    await engine.pause();
    const controller = new AbortController();
    const aborted = runAll(engine, [{ ...request, signal: controller.signal }]);
    const waiting = runAll(engine, [request]);
    await settle();
    expect(engine.stats).toMatchObject({ numRunning: 0, numWaiting: 2 });
    controller.abort();
    const [run] = await aborted;
    expect(run!.finish.finishReason).toBe('aborted');
    expect(engine.stats.numWaiting).toBe(1);
    engine.resume();
    expect((await waiting)[0]!.tokens).toHaveLength(12);
  });
});

it('steps are reported, and their rows are what was computed', async () => {
  await using engine = await Engine.create({
    device,
    config: model.config,
    weights: model.weights,
  });
  const reports: StepReport[] = [];
  const end = engine.onStep((report) => void reports.push(report));
  const [run] = await runAll(engine, [request]);
  const rows = reports.flatMap(({ rowsByLoop }) => rowsByLoop);
  const total = rows.reduce((sum, count) => sum + count, 0);
  expect(total).toBe(run!.finish.executedLoops);
  expect(engine.stats).toMatchObject({
    numExecuted: total,
    numPromptTokens: 5,
    numCachedTokens: 0,
  });
  end();
  const { length } = reports;
  await runAll(engine, [request]);
  expect(reports).toHaveLength(length);
  expect(engine.stats).toMatchObject({ numPromptTokens: 10, numCachedTokens: 4 });
});

describe('weights that are exchanged', () => {
  it('are those of the next step, all of them, and a version more', async () => {
    const { config, weights } = model;
    const others = randomWeights(config, 77);
    const updatable = await UpdatableWeights.create(device, config, weights);
    await using engine = await Engine.create({ device, config, weights: updatable });
    await using other = await Engine.create({ device, config, weights: others });
    const before = await runAll(engine, [request]);
    const stats = await device.stats();
    expect(await updatable.update(others)).toBe(1);
    expect(await device.stats()).toEqual(stats);
    const [after] = await runAll(engine, [request]);
    const [expected] = await runAll(other, [request]);
    expect(after!.finish.rollout).toEqual({ ...expected!.finish.rollout, weightsVersion: 1 });
    expect(after!.finish.rollout!.tokenIds).not.toEqual(before[0]!.finish.rollout!.tokenIds);
    expect(await updatable.update(weights)).toBe(2);
    expect((await runAll(engine, [request]))[0]!.tokens).toEqual(before[0]!.tokens);
    await updatable.dispose();
  });

  it('stay as they are if the new ones do not fit', async () => {
    const { config, weights } = model;
    const updatable = await UpdatableWeights.create(device, config, weights);
    await using engine = await Engine.create({ device, config, weights: updatable });
    const before = await runAll(engine, [request]);
    const stats = await device.stats();
    const missing = new Map([...weights].slice(1));
    await expect(updatable.update(missing)).rejects.toThrow(CheckpointError);
    expect(await device.stats()).toEqual(stats);
    expect(updatable.version).toBe(0);
    expect((await runAll(engine, [request]))[0]!.tokens).toEqual(before[0]!.tokens);
    await updatable.dispose();
  });
});
