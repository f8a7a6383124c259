/** Prompts that begin alike: what one has computed the others take over, and nobody can tell. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EngineOptions, GenerationRequest } from '../../src/engine/index.js';
import {
  Engine,
  KV_POLICIES,
  cdfThreshold,
  fixedDepth,
  fullDepth,
  parseSamplingOptions,
  sampledExit,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { RandomModel } from './random-model.js';
import { LONG_MODEL, PAGE_BYTES, VOCAB_SIZE, makeModel } from './random-model.js';
import type { SequenceRun } from './runs.js';
import { requestOf, runAll } from './runs.js';

const { numLoops } = LONG_MODEL.config;

let device: Device;
let model: RandomModel;
let alone: Engine;
let engine: Engine;
const create = (options: Partial<EngineOptions> = {}) =>
  Engine.create({ device, config: model.config, weights: model.weights, ...options });
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await makeModel(LONG_MODEL);
  alone = await create({ maxPrefixBytes: 0 });
}, 60_000);
beforeEach(async () => {
  engine = await create();
});
afterEach(async () => engine.dispose());
afterAll(async () => {
  await alone.dispose();
  await device.dispose();
});

/** All but its place in the call and how much was run. */
const said = ({ tokens, finish }: SequenceRun) => [
  tokens.map((token) => ({ ...token, requestIndex: 0 })),
  finish.finishReason,
  finish.rollout,
];
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const idsOf = (length: number, seed: number) =>
  Array.from({ length }, (_, index) => (index * index * seed + index) % VOCAB_SIZE);
const TEXT = idsOf(400, 7);

const request: fc.Arbitrary<GenerationRequest> = fc
  .record({
    shared: fc.constantFrom(3, 40, 127, 128, 129, 200, 256, 300),
    own: fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 5 }),
    exitPolicy: fc.constantFrom(
      fullDepth(),
      fixedDepth(1),
      fixedDepth(2),
      cdfThreshold(0.5),
      sampledExit(),
    ),
    kvPolicy: fc.constantFrom(...KV_POLICIES),
    prefill: fc.constantFrom('full' as const, 'deferred' as const),
    isShorter: fc.boolean(),
    maxNewTokens: fc.integer({ min: 1, max: 6 }),
    seed: fc.nat(1000),
    record: fc.boolean(),
    cacheSalt: fc.constantFrom('', '', '', 'other'),
  })
  .map(({ shared, own, prefill, isShorter, seed, exitPolicy, ...rest }) => ({
    ...rest,
    promptIds: [...TEXT.slice(0, shared), ...own],
    exitPolicy: isShorter ? cdfThreshold(0.5) : exitPolicy,
    ...(isShorter && { numLoops: 2 }),
    prefill: rest.kvPolicy === 'per-loop' ? prefill : 'full',
    sampling: parseSamplingOptions({ seed, temperature: 0.8 }),
  }));

describe.each([
  { memory: 'for all', options: {} },
  { memory: 'for a few', options: { maxKvBytes: 26 * PAGE_BYTES } },
  { memory: 'for few prefixes', options: { maxPrefixBytes: 5 * PAGE_BYTES } },
])('with memory $memory', ({ options }) => {
  it('give what they give without sharing, to the bit', async () => {
    let cached = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 24, maxLength: 24 }), async (requests) => {
        await using sharing = await create({
          ...options,
          limits: { maxStepRows: 200, maxLargeRows: 50 },
        });
        const expected = await runAll(alone, requests);
        for (const part of [requests.slice(0, 12), requests.slice(12), requests]) {
          const actual = await runAll(sharing, part);
          const first = part === requests ? 0 : requests.indexOf(part[0]!);
          expect(actual.map(said)).toEqual(expected.slice(first, first + part.length).map(said));
          expect(sharing.numPagesUsed).toBe(0);
          expect(sharing.numStatesUsed).toBe(0);
          cached += sum(actual.map(({ finish }) => finish.cachedTokens));
        }
      }),
      { numRuns: 3, seed: 12 },
    );
    expect(cached).toBeGreaterThan(1000);
  }, 60_000);
});

it.each(['full', 'deferred'] as const)(
  'run only their own end, loop for loop, after a %s prefill',
  async (prefill) => {
    const prompt = idsOf(300, 5);
    const options = { prefill, maxNewTokens: 1 } as const;
    const [first] = await runAll(engine, [requestOf(prompt, fixedDepth(3), options)]);
    const depth = prefill === 'full' ? numLoops : 3;
    expect(first!.finish).toMatchObject({ executedLoops: 300 * depth, cachedTokens: 0 });
    // The same again runs its last token; one that differs in the end, what differs.
    const [again] = await runAll(engine, [requestOf(prompt, fixedDepth(3), options)]);
    expect(again!.finish).toMatchObject({ executedLoops: depth, cachedTokens: 299 });
    const other = [...prompt.slice(0, 280), ...idsOf(10, 3)];
    const [third] = await runAll(engine, [requestOf(other, fixedDepth(3), options)]);
    expect(third!.finish.cachedTokens).toBeGreaterThanOrEqual(280);
    expect(third!.finish.executedLoops).toBe((290 - third!.finish.cachedTokens) * depth);
    // Deeper loops go on from where the others stopped.
    const [deeper] = await runAll(engine, [requestOf(prompt, fullDepth(), options)]);
    expect(deeper!.finish.executedLoops).toBe(prefill === 'full' ? numLoops : 3 + 300);
  },
);

it('compute the beginning of a group that comes together once', async () => {
  const prompt = idsOf(200, 3);
  const group = Array.from({ length: 16 }, (_, seed) =>
    requestOf(prompt, fullDepth(), {
      maxNewTokens: 1,
      sampling: parseSamplingOptions({ temperature: 1, seed }),
    }),
  );
  const runs = await runAll(engine, group);
  const executed = sum(runs.map(({ finish }) => finish.executedLoops));
  expect(executed).toBe(numLoops * (200 + 15));
});

it('run each loop of their prompt once, however deep each goes and whenever', async () => {
  const answer = fc.record({
    maxNewTokens: fc.integer({ min: 1, max: 12 }),
    priority: fc.constantFrom(0, 0, 1),
    seed: fc.nat(1000),
  });
  const group = fc.record({
    length: fc.constantFrom(2, 30, 100, 127, 128, 129, 300),
    answers: fc.array(answer, { minLength: 2, maxLength: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(group, async ({ length, answers }) => {
      await using fresh = await create({ limits: { maxStepRows: 120, maxLargeRows: 40 } });
      const requests = answers.map(({ seed, ...rest }) =>
        requestOf(idsOf(length, 5), sampledExit(), {
          ...rest,
          prefill: 'deferred',
          sampling: parseSamplingOptions({ temperature: 1, seed }),
        }),
      );
      const runs = await runAll(fresh, requests);
      const depths = runs.map(({ tokens }) => tokens.map(({ exitDepth }) => exitDepth));
      // A loop runs for the last prompt token and what follows it up to the last token that goes so deep.
      const own = depths.map((exits) =>
        sum(exits.map((_, index) => Math.max(...exits.slice(index)))),
      );
      const deepest = Math.max(...depths.flat());
      const executed = sum(runs.map(({ finish }) => finish.executedLoops));
      expect(executed).toBe((length - 1) * deepest + sum(own));
    }),
    { numRuns: 40, seed: 3 },
  );
}, 60_000);

it('share nothing where they are not to', async () => {
  const base = requestOf(idsOf(150, 3), fullDepth(), { maxNewTokens: 1 });
  await runAll(engine, [base, { ...base, cacheSalt: 'a' }]);
  const cachedOf = async (rest: Partial<GenerationRequest>) => {
    const [run] = await runAll(engine, [{ ...base, ...rest }]);
    return run!.finish.cachedTokens;
  };
  expect(await cachedOf({ cacheSalt: 'b' })).toBe(0);
  expect(await cachedOf({ cachePrefix: false })).toBe(0);
  expect(await cachedOf({ cacheSalt: 'a' })).toBe(149);
  const [kept] = await runAll(alone, [base, base]);
  expect(kept!.finish.cachedTokens).toBe(0);
});

it('never keep more than they may, and give it up for those who need it', async () => {
  await using small = await create({ maxKvBytes: 10 * PAGE_BYTES });
  const options = { maxNewTokens: 1, prefill: 'full' } as const;
  for (let seed = 1; seed <= 6; seed++) {
    // Two pages in each of four planes.
    const prompt = [seed, ...idsOf(199, seed)];
    const [run] = await runAll(small, [requestOf(prompt, fullDepth(), options)]);
    expect(run!.finish.executedLoops).toBe(200 * numLoops);
    expect(small.numPagesUsed).toBe(0);
  }
});
