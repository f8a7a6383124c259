/** An adaptive prefill: prompt tokens exit by the policy, and later ones read what they left. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { GenerationRequest } from '../../src/engine/index.js';
import {
  Engine,
  fullDepth,
  parseRollout,
  parseSamplingOptions,
  replay,
  rolloutToJson,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { exitPolicyArbitrary } from './policies.js';
import type { RandomModel } from './random-model.js';
import { LONG_MODEL, PAGE_BYTES, VOCAB_SIZE, makeModel } from './random-model.js';
import { referenceRun } from './reference-model.js';
import { driftFrom, requestOf, runAll } from './runs.js';

const { numLoops } = LONG_MODEL.config;

const policy = exitPolicyArbitrary(numLoops);

const request: fc.Arbitrary<GenerationRequest> = fc
  .record({
    promptIds: fc.oneof(
      fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 12 }),
      fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 120, maxLength: 270, size: 'max' }),
    ),
    exitPolicy: policy,
    seed: fc.nat(1000),
    maxNewTokens: fc.integer({ min: 1, max: 6 }),
  })
  .map(({ seed, ...rest }) => ({
    ...rest,
    kvPolicy: 'last-exited',
    prefill: 'adaptive',
    record: true,
    sampling: parseSamplingOptions({ seed }),
  }));

/** What a query at a depth reads of a token that ran so many loops. */
const readsShallower = (depth: number, ran: number) => Math.min(depth, ran);

let device: Device;
let model: RandomModel;
let engine: Engine;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await makeModel(LONG_MODEL);
  engine = await Engine.create({ device, config: model.config, weights: model.weights });
}, 60_000);
afterAll(async () => {
  await engine.dispose();
  await device.dispose();
});

it('computes what the definition says for the depths at which prompt tokens exited', async () => {
  let shallow = 0;
  await fc.assert(
    fc.asyncProperty(request, async (one) => {
      const [run] = await runAll(engine, [one]);
      const rollout = run!.finish.rollout!;
      expect(parseRollout(JSON.parse(JSON.stringify(rolloutToJson(rollout))))).toEqual(rollout);
      const { promptIds, promptExitDepths, tokenIds, exitDepths } = rollout;
      expect(promptExitDepths).toHaveLength(promptIds.length - 1);
      const fed = [...promptIds, ...tokenIds.slice(0, -1)];
      const depths = [...promptExitDepths!, ...exitDepths];
      const inputs = fed.map((id, index) => ({ id, depth: depths[index]! }));
      const reference = referenceRun(model.config, model.expectedWeights, inputs, readsShallower);
      // A token is compared at every loop it ran, and no token ran more.
      expect(driftFrom(reference, run!)).toBeLessThan(1e-4);
      const executed = depths.reduce((sum, depth) => sum + depth, 0);
      expect(run!.finish.executedLoops).toBe(executed);
      shallow += promptExitDepths!.filter((depth) => depth < numLoops).length;
    }),
    { numRuns: 40, seed: 14 },
  );
  expect(shallow).toBeGreaterThan(200);
});

it('is the same in small pieces, in company and after a loss of memory, to the bit', async () => {
  const { config, weights } = model;
  await using crowded = await Engine.create({
    device,
    config,
    weights,
    maxKvBytes: 26 * PAGE_BYTES,
    limits: { maxStepRows: 50, maxLargeRows: 20 },
  });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 12, maxLength: 12 }), async (requests) => {
      const together = await runAll(crowded, requests);
      expect(crowded.numPagesUsed).toBe(0);
      for (const [index, one] of requests.entries()) {
        const [alone] = await runAll(engine, [one]);
        expect(together[index]!.finish.rollout).toEqual(alone!.finish.rollout);
      }
    }),
    { numRuns: 4, seed: 15 },
  );
  expect(crowded.numPreemptions).toBeGreaterThan(0);
}, 60_000);

it('lets new tokens alone have the depths of a replay', async () => {
  const options = { kvPolicy: 'last-exited', prefill: 'adaptive', record: true } as const;
  const [run] = await runAll(
    engine,
    [requestOf([1, 2, 3], replay([1, 1]), options)].map((one) => ({ ...one, maxNewTokens: 2 })),
  );
  expect(run!.finish.rollout).toMatchObject({ promptExitDepths: [4, 4], exitDepths: [1, 1] });
});

it.each(['per-loop', 'shared'] as const)('is refused under %s', async (kvPolicy) => {
  const one = { ...requestOf([1], fullDepth()), kvPolicy, prefill: 'adaptive' } as const;
  await expect(runAll(engine, [one])).rejects.toThrow(
    `prefill adaptive does not work with KV policy ${kvPolicy}; use last-exited, or prefill full.`,
  );
});
