/** Self-speculation changes nothing but the time: the same tokens, depths, records, distribution. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ExitPolicy, GenerationRequest, Speculation } from '../../src/engine/index.js';
import {
  Engine,
  anyOf,
  cdfThreshold,
  confidence,
  exitDistribution,
  fullDepth,
  parseSamplingOptions,
  replay,
  sampledExit,
  tokenDistribution,
  withDepthBounds,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { exitPolicyArbitrary } from './policies.js';
import type { RandomModel } from './random-model.js';
import { SMALL_MODEL, VOCAB_SIZE, makeModel, promptArbitrary } from './random-model.js';
import type { SequenceRun } from './runs.js';
import { requestOf, runAll } from './runs.js';

const { numLoops, maxPositionEmbeddings } = SMALL_MODEL.config;

const policy = exitPolicyArbitrary(
  numLoops,
  withDepthBounds(sampledExit(), { minDepth: 2 }),
  anyOf(cdfThreshold(0.8), confidence(0.5)),
);

const speculation: fc.Arbitrary<Speculation> = fc.oneof(
  fc.constant('auto' as const),
  fc.integer({ min: 1, max: numLoops - 1 }),
);

interface Draw {
  readonly request: GenerationRequest;
  readonly speculation: Speculation;
}

const draw: fc.Arbitrary<Draw> = fc
  .record({
    promptIds: promptArbitrary(12),
    exitPolicy: policy,
    speculation,
    maxNewTokens: fc.integer({ min: 1, max: 20 }),
    prefill: fc.constantFrom('full' as const, 'deferred' as const),
    record: fc.boolean(),
    stopIds: fc.constantFrom([], [4, 7]),
    forcedIds: fc.constantFrom(undefined, undefined, [3, 1, 4, 1, 5]),
    sampling: fc.record({
      seed: fc.nat(1000),
      temperature: fc.constantFrom(0, 0.7, 1.3),
      repetitionPenalty: fc.constantFrom(1, 1.5),
    }),
  })
  .map(({ speculation: how, forcedIds, sampling, ...rest }) => ({
    request: {
      ...rest,
      ...(forcedIds && { forcedIds }),
      sampling: parseSamplingOptions(sampling),
    },
    speculation: how,
  }));

let device: Device;
let model: RandomModel;
let engine: Engine;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await makeModel(SMALL_MODEL);
  const { config, weights } = model;
  engine = await Engine.create({ device, config, weights });
}, 60_000);
afterAll(async () => {
  await engine.dispose();
  await device.dispose();
});

/** All but what drafts may change: how many loops were run. */
function said({ tokens, finish }: SequenceRun) {
  return { tokens, ending: finish.finishReason, rollout: finish.rollout };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

it('gives the same tokens, depths and records to the bit, alone and together', async () => {
  let accepted = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(draw, { minLength: 1, maxLength: 8 }), async (draws) => {
      const expected = await runAll(
        engine,
        draws.map(({ request }) => request),
      );
      const actual = await runAll(
        engine,
        draws.map(({ request, speculation: how }) => ({ ...request, speculation: how })),
      );
      expect(actual.map(said)).toEqual(expected.map(said));
      expect(engine.numPagesUsed).toBe(0);
      for (const { finish } of actual) {
        accepted += finish.acceptedTokens;
        refused += finish.draftedTokens - finish.acceptedTokens;
      }
      for (const { finish } of expected) expect(finish.draftedTokens).toBe(0);
    }),
    { numRuns: 40, seed: 5 },
  );
  expect(accepted).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(100);
});

it('gives the same up to the end of the context', async () => {
  const request = requestOf([1, 2, 3], cdfThreshold(0.6), { maxNewTokens: 1000 });
  const [expected] = await runAll(engine, [request]);
  const [actual] = await runAll(engine, [{ ...request, speculation: 2 }]);
  expect(expected!.finish.finishReason).toBe('context-limit');
  expect(expected!.tokens).toHaveLength(maxPositionEmbeddings - 3 + 1);
  expect(said(actual!)).toEqual(said(expected!));
});

/** Full depth, but for tokens beyond an answer of six, for which it fails. */
const failsBeyond: ExitPolicy = {
  ...fullDepth(),
  start:
    ({ tokenIndex }) =>
    () => {
      if (tokenIndex >= 6) throw new Error('No such token.');
      return false;
    },
};

it.each([
  { policy: 'a replay without depths for them', exitPolicy: replay(Array(6).fill(numLoops)) },
  { policy: 'a policy that fails on them', exitPolicy: failsBeyond },
])('ends as without guesses where those go too far for $policy', async ({ exitPolicy }) => {
  const drawn = Array.from({ length: 60 }, (_, seed) =>
    requestOf([seed % VOCAB_SIZE, 3], fullDepth(), {
      sampling: parseSamplingOptions({ temperature: 1, seed }),
    }),
  );
  const free = await runAll(engine, drawn);
  const requests = free.flatMap(({ tokens }, n) => {
    const ids = tokens.map(({ tokenId }) => tokenId);
    const last = ids.at(-1)!;
    if (ids.indexOf(last) < ids.length - 1) return [];
    return [{ ...drawn[n]!, exitPolicy, stopIds: [last], maxNewTokens: 20 }];
  });
  expect(requests.length).toBeGreaterThan(20);
  const expected = await runAll(engine, requests);
  for (const { finish } of expected) expect(finish.finishReason).toBe('stop-id');
  for (const how of [1, 2, 3]) {
    const actual = await runAll(engine, requests, { speculation: how });
    expect(actual.map(said)).toEqual(expected.map(said));
  }
  const endless = { ...requests[0]!, stopIds: [], speculation: 1 };
  await expect(runAll(engine, [endless])).rejects.toThrow(/No such token|6 depths/);
});

it('runs the loops of tokens that follow one another at the same time', async () => {
  const forcedIds = Array.from({ length: 20 }, (_, index) => index % VOCAB_SIZE);
  const request = requestOf([1], fullDepth(), { maxNewTokens: 20, forcedIds });
  let numSteps = 0;
  const counting = new Proxy(device, {
    get: (target, key) => {
      if (key === 'submit') numSteps++;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const { config, weights } = model;
  await using watched = await Engine.create({ device: counting, config, weights });
  const stepsOf = async (how: Speculation) => {
    numSteps = 0;
    const [run] = await runAll(watched, [{ ...request, speculation: how }]);
    return { numSteps, ...run!.finish };
  };
  const plain = await stepsOf('off');
  expect(plain.numSteps).toBe(20 * numLoops);
  for (const depth of [1, 2, 3]) {
    // Forced tokens are guessed right: one begins as the one before has run so many loops.
    const guessed = await stepsOf(depth);
    expect(guessed).toMatchObject({
      numSteps: 19 * depth + numLoops,
      draftedTokens: 19,
      acceptedTokens: 19,
      executedLoops: plain.executedLoops,
    });
  }
});

it('draws from the distribution of not speculating', async () => {
  const numDraws = 20_000;
  const prompt = [3, 1, 4];
  const sampling = parseSamplingOptions({ temperature: 1.2 });
  /** P(token | ids), exits drawn from the gate. */
  const nextOf = async (ids: readonly number[]): Promise<readonly number[]> => {
    const { length, logits, gateLogits } = await engine.trace(ids);
    const last = length - 1;
    const gates = Array.from({ length: numLoops }, (_, t) => gateLogits![t * length + last]!);
    const { exitPdf } = exitDistribution(gates);
    const chances = Array.from({ length: VOCAB_SIZE }, () => 0);
    for (const [t, weight] of exitPdf.entries()) {
      const start = (t * length + last) * VOCAB_SIZE;
      const row = logits.subarray(start, start + VOCAB_SIZE);
      const { ids: drawable, probs } = tokenDistribution(row, sampling, {
        prompt: [],
        generated: [],
      });
      for (const [n, id] of drawable.entries()) chances[id]! += weight * probs[n]!;
    }
    return chances;
  };
  const first = await nextOf(prompt);
  const expected = await Promise.all(
    first.map(async (chance, id) =>
      (await nextOf([...prompt, id])).map((second) => numDraws * chance * second),
    ),
  );
  const counts = expected.map((row) => row.map(() => 0));
  let rejected = 0;
  const batch = 100;
  for (let start = 0; start < numDraws; start += batch) {
    const runs = await runAll(
      engine,
      Array.from({ length: batch }, (_, index) =>
        requestOf(prompt, sampledExit(), {
          maxNewTokens: 2,
          sampling: { ...sampling, seed: start + index },
          speculation: 1,
        }),
      ),
    );
    for (const { tokens, finish } of runs) {
      const [one, two] = tokens.map(({ tokenId }) => tokenId);
      counts[one!]![two!]! += 1;
      rejected += finish.draftedTokens - finish.acceptedTokens;
    }
  }
  expect(rejected).toBeGreaterThan(1000);
  const cells = expected.flatMap((row, one) =>
    row.map((e, two) => [e, counts[one]![two]!] as const),
  );
  const rare = cells.filter(([e]) => e < 5);
  const common = cells.filter(([e]) => e >= 5);
  const all = [
    ...common,
    ...(rare.length > 0 ? [[sum(rare.map(([e]) => e)), sum(rare.map(([, c]) => c))] as const] : []),
  ];
  const chiSquare = sum(all.map(([e, c]) => (c - e) ** 2 / e));
  // Of k degrees of freedom the mean is k, the deviation sqrt(2 k).
  const freedom = all.length - 1;
  expect(freedom).toBeGreaterThan(50);
  expect(Math.abs(chiSquare - freedom)).toBeLessThan(4 * Math.sqrt(2 * freedom));
}, 120_000);

it.each([
  [{ kvPolicy: 'shared', speculation: 'auto' }, /speculation does not work with KV policy shared/],
  [{ speculation: numLoops }, /speculation is at depth 4.*from 1 to 3/],
  [{ speculation: 0 }, /speculation is at depth 0.*from 1 to 3/],
  [{ speculation: 1, numLoops: 1 }, /needs a run of at least two loops/],
] as const)('refuses %o', async (options, message) => {
  const request = { ...requestOf([1], fullDepth()), ...options } as GenerationRequest;
  await expect(runAll(engine, [request])).rejects.toThrow(message);
});
