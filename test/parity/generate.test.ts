/** Inference equals the golden numbers: forward pass, trace and all generation runs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FinishEvent, GenerationRequest } from '../../src/engine/index.js';
import { Engine, cdfThreshold, fullDepth, parseSamplingOptions } from '../../src/engine/index.js';
import type { RolloutRecord, Trace } from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { uploadWeights } from '../engine/resident.js';
import type { RunOptions } from '../engine/runs.js';
import type { Fixture, GenerationGolden } from './fixtures.js';
import { FIXTURES, TOLERANCE, expectClose, loadFixture } from './fixtures.js';

const GREEDY = parseSamplingOptions({});

/** The golden modes in looplm's words (test/fixtures/README.md, Generation semantics). */
function runOf(
  golden: GenerationGolden,
): Pick<GenerationRequest, 'exitPolicy' | 'kvPolicy' | 'prefill' | 'record'> {
  const exitPolicy = golden.mode === 'full' ? fullDepth() : cdfThreshold(golden.q!);
  const kvPolicy = golden.mode === 'full' || golden.mode === 'exact' ? 'per-loop' : golden.mode;
  return { exitPolicy, kvPolicy, prefill: 'full', record: true };
}

async function finishes(
  engine: Engine,
  requests: readonly GenerationRequest[],
  options: RunOptions,
): Promise<FinishEvent[]> {
  const ended: FinishEvent[] = [];
  for await (const event of engine.generate(
    requests.map((request) => ({ ...request, ...options })),
  )) {
    if (event.kind === 'finish') ended[event.requestIndex] = event;
  }
  return ended;
}

/** Compares all that both list; our engine lists only the loops it ran. */
function expectRollout(rollout: RolloutRecord, golden: GenerationGolden): void {
  expect(rollout.tokenIds).toEqual(golden.tokens);
  expect(rollout.exitDepths).toEqual(golden.exit_steps);
  expectClose(rollout.logprobs, golden.token_logprob, TOLERANCE.rollout, 'logprobs');
  rollout.loopLogprobs.forEach((logprobs, n) => {
    const numExecuted = golden.mode === 'exact' && n > 0 ? golden.exit_steps[n]! : undefined;
    const expected = golden.loop_logprobs[n]!.slice(0, numExecuted);
    const gates = golden.gate_logits[n]!.slice(0, numExecuted);
    expectClose(logprobs, expected, TOLERANCE.rollout, `loopLogprobs of token ${n}`);
    expectClose(rollout.gateLogits![n]!, gates, TOLERANCE.rollout, `gateLogits of token ${n}`);
  });
}

const SOURCES = FIXTURES.flatMap((name) => [
  { name, source: 'constants' },
  { name, source: 'buffers' },
]);

describe.each(SOURCES)('inference on $name, weights as $source', ({ name, source }) => {
  let fixture: Fixture;
  let device: Device;
  let engine: Engine;
  beforeAll(async () => {
    fixture = await loadFixture(name);
    device = await createInlineDevice({ numThreads: 1 });
    const { config, weights } = fixture;
    const resident = source === 'buffers' && (await uploadWeights(device, config, weights));
    engine = await Engine.create({ device, config, weights: resident || weights });
  });
  afterAll(async () => {
    await engine.dispose();
    await device.dispose();
  });

  it('every loop of the forward pass is golden', async () => {
    const traces: Trace[] = [];
    for (const ids of fixture.golden.forward.ids) traces.push(await engine.trace(ids));
    const compare = async (key: string, golden: string, tolerance: number) => {
      const expected = await fixture.array(golden);
      const values = traces.map((trace) => trace[key as 'hidden']);
      expectClose(joinRows(values, fixture.config.numLoops), expected, tolerance, golden);
    };
    await compare('hidden', 'forward.hidden', TOLERANCE.forward);
    await compare('gateLogits', 'forward.gate_logits', TOLERANCE.forward);
    await compare('exitPdf', 'forward.pdf', TOLERANCE.probability);
    await compare('exitCdf', 'forward.cdf', TOLERANCE.probability);
    await compare('logits', 'forward.logits', TOLERANCE.forward);
  });

  it('all generation runs are golden', async () => {
    const { prompt, new_tokens, runs } = fixture.golden.generate;
    expect(runs.length).toBeGreaterThanOrEqual(7);
    for (const golden of runs) {
      const { exitPolicy, ...options } = runOf(golden);
      const request = {
        promptIds: prompt,
        maxNewTokens: new_tokens,
        exitPolicy,
        sampling: GREEDY,
      };
      const [finish] = await finishes(engine, [request], options);
      expectRollout(finish!.rollout!, golden);
    }
  });

  it('runs of one batch equal the golden runs alone, whatever the exit depths beside them', async () => {
    const { prompt, new_tokens, runs } = fixture.golden.generate;
    for (const kvPolicy of ['per-loop', 'last-exited', 'shared'] as const) {
      const batch = runs.filter((golden) => runOf(golden).kvPolicy === kvPolicy);
      const requests = batch.map((golden) => ({
        promptIds: prompt,
        maxNewTokens: new_tokens,
        exitPolicy: runOf(golden).exitPolicy,
        sampling: GREEDY,
      }));
      const ended = await finishes(engine, requests, { kvPolicy, prefill: 'full', record: true });
      ended.forEach(({ rollout }, index) => expectRollout(rollout!, batch[index]!));
    }
  });

  it('a deferred prefill gives the golden exact runs and never more work', async () => {
    const { prompt, new_tokens, runs } = fixture.golden.generate;
    for (const golden of runs.filter(({ mode }) => mode === 'exact')) {
      const request = {
        promptIds: prompt,
        maxNewTokens: new_tokens,
        exitPolicy: cdfThreshold(golden.q!),
        sampling: GREEDY,
      };
      const [finish] = await finishes(engine, [request], { prefill: 'deferred', record: true });
      expect(finish!.rollout!.tokenIds).toEqual(golden.tokens);
      expect(finish!.rollout!.exitDepths).toEqual(golden.exit_steps);
      expectClose(finish!.rollout!.logprobs, golden.token_logprob, TOLERANCE.rollout, 'logprobs');
      expect(finish!.executedLoops).toBeLessThanOrEqual(finish!.fullDepthLoops);
    }
  });
});

/** Arrays `[R, T, ...]` of several rows as one `[R, rows, T, ...]`. */
function joinRows(rows: readonly Float32Array[], numLoops: number): Float32Array {
  const size = rows[0]!.length / numLoops;
  const joined = new Float32Array(rows.length * rows[0]!.length);
  for (let loopIndex = 0; loopIndex < numLoops; loopIndex++) {
    rows.forEach((values, row) => {
      const part = values.subarray(loopIndex * size, (loopIndex + 1) * size);
      joined.set(part, (loopIndex * rows.length + row) * size);
    });
  }
  return joined;
}
