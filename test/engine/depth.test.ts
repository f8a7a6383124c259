/** Which depth each token exits at: laws of thresholds and bounds, and more loops than were trained. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import type { ExitPolicy } from '../../src/engine/index.js';
import {
  Engine,
  KV_POLICIES,
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  replay,
  sampledExit,
  withDepthBounds,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { TOLERANCE } from '../parity/fixtures.js';
import type { RandomModel } from './random-model.js';
import { SMALL_MODEL, makeModel, promptArbitrary } from './random-model.js';
import type { RunOptions } from './runs.js';
import { EXIT_MEASURES, driftFrom, expectExits, referenceOf, requestOf, runAll } from './runs.js';

const RUNS = { numRuns: 20, seed: 10 };
const { numLoops } = SMALL_MODEL.config;
const threshold = fc.double({ min: 0.02, max: 1, noNaN: true });
const depth = fc.integer({ min: 1, max: numLoops });

let device: Device;
let model: RandomModel;
let engine: Engine;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await makeModel(SMALL_MODEL);
  engine = await Engine.create({ device, config: model.config, weights: model.weights });
}, 60_000);
afterAll(async () => {
  await engine.dispose();
  await device.dispose();
});

async function exitDepths(
  promptIds: readonly number[],
  exitPolicy: ExitPolicy,
  maxNewTokens: number,
  options: RunOptions = {},
): Promise<readonly number[]> {
  const [run] = await runAll(engine, [requestOf(promptIds, exitPolicy, { maxNewTokens })], options);
  return run!.tokens.map(({ exitDepth }) => exitDepth);
}

describe('exit depths', () => {
  it('of the first new token never fall when the CDF threshold rises', async () => {
    await fc.assert(
      fc.asyncProperty(promptArbitrary(6), threshold, threshold, async (prompt, a, b) => {
        const [lower] = await exitDepths(prompt, cdfThreshold(Math.min(a, b)), 1);
        const [higher] = await exitDepths(prompt, cdfThreshold(Math.max(a, b)), 1);
        expect(higher).toBeGreaterThanOrEqual(lower!);
      }),
      RUNS,
    );
  });

  it('stay within minDepth and maxDepth, and the first is the unbounded one moved into them', async () => {
    await fc.assert(
      fc.asyncProperty(promptArbitrary(6), threshold, depth, depth, async (prompt, q, a, b) => {
        const [minDepth, maxDepth] = [Math.min(a, b), Math.max(a, b)];
        const bounded = withDepthBounds(cdfThreshold(q), { minDepth, maxDepth });
        const [free] = await exitDepths(prompt, cdfThreshold(q), 1);
        const depths = await exitDepths(prompt, bounded, 5);
        expect(depths[0]).toBe(Math.min(Math.max(free!, minDepth), maxDepth));
        expect(Math.min(...depths)).toBeGreaterThanOrEqual(minDepth);
        expect(Math.max(...depths)).toBeLessThanOrEqual(maxDepth);
      }),
      RUNS,
    );
  });

  it('are all of them named by replay, fixedDepth and fullDepth under every KV policy', async () => {
    for (const kvPolicy of KV_POLICIES) {
      const depths = [2, 4, 1, 3, 1];
      expect(await exitDepths([5, 6], replay(depths), 5, { kvPolicy })).toEqual(depths);
      expect(await exitDepths([5, 6], fixedDepth(3), 3, { kvPolicy })).toEqual([3, 3, 3]);
      expect(await exitDepths([5, 6], fullDepth(), 2, { kvPolicy })).toEqual([numLoops, numLoops]);
    }
  });

  it('reach a threshold of 1 only at the last loop', async () => {
    expect(await exitDepths([1, 2, 3], cdfThreshold(1), 4)).toEqual([4, 4, 4, 4]);
    expect(await exitDepths([1, 2, 3], confidence(1), 4)).toEqual([4, 4, 4, 4]);
  });

  it('are drawn as the seed says, not as the batch does', async () => {
    const requests = Array.from({ length: 3 }, (_, seed) =>
      requestOf([3, 1], sampledExit(), {
        maxNewTokens: 12,
        sampling: { ...requestOf([1], fullDepth()).sampling, seed },
      }),
    );
    const runs = await runAll(engine, [...requests, requests[0]!]);
    const depths = runs.map(({ tokens }) => tokens.map(({ exitDepth }) => exitDepth).join());
    expect(depths[3]).toBe(depths[0]);
    expect(new Set(depths).size).toBe(3);
  });
});

it.each(['delta', 'kl', 'confidence'] as const)(
  'policy %s exits at the first depth where its definition does',
  async (name) => {
    const { policy, limits } = EXIT_MEASURES[name];
    await fc.assert(
      fc.asyncProperty(
        promptArbitrary(6),
        fc.double({ ...limits, noNaN: true }),
        fc.constantFrom(...KV_POLICIES),
        async (prompt, limit, kvPolicy) => {
          const requests = [requestOf(prompt, policy(limit))];
          const [run] = await runAll(engine, requests, { kvPolicy, record: true });
          const reference = referenceOf(model.config, model.expectedWeights, run!);
          expectExits(reference, run!, { name, limit }, TOLERANCE.forward);
        },
      ),
      RUNS,
    );
  },
);

describe('more loops than the model was trained with', () => {
  const more = numLoops + 3;

  it.each([...KV_POLICIES])('follow the definition under %s', async (kvPolicy) => {
    const exits = [5, 7, 1, 6, 2, 7];
    const requests = [requestOf([1, 2, 3], replay(exits)), requestOf([9, 8], fullDepth())];
    const runs = await runAll(engine, requests, { kvPolicy, numLoops: more, record: true });
    for (const run of runs) {
      const reference = referenceOf(model.config, model.expectedWeights, run);
      expect(driftFrom(reference, run)).toBeLessThanOrEqual(TOLERANCE.rollout);
    }
    expect(runs[0]!.finish.rollout!.exitDepths).toEqual(exits);
    expect(runs[1]!.finish.rollout!.exitDepths).toEqual(Array(6).fill(more));
  });

  it('are needed by a policy that names them', async () => {
    const run = (exitPolicy: ExitPolicy, options: RunOptions) =>
      runAll(engine, [requestOf([1], exitPolicy, { maxNewTokens: 2 })], options);
    await expect(run(replay([1, numLoops + 1]), {})).rejects.toThrow(ConfigError);
    await expect(run(fixedDepth(more + 1), { numLoops: more })).rejects.toThrow(ConfigError);
    await expect(run(fixedDepth(3), { numLoops: 2 })).rejects.toThrow(ConfigError);
    await expect(run(replay([1, more]), { numLoops: more })).resolves.toHaveLength(1);
  });
});
