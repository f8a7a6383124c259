/** A sequence does not notice its neighbours: batches, overlapping runs and recording change nothing. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { GenerationRequest } from '../../src/engine/index.js';
import {
  Engine,
  KV_POLICIES,
  allOf,
  anyOf,
  cdfThreshold,
  confidence,
  parseSamplingOptions,
  replay,
  sampledExit,
  stateDelta,
  withDepthBounds,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { exitPolicyArbitrary } from './policies.js';
import { SMALL_MODEL, makeModel, promptArbitrary } from './random-model.js';
import type { SequenceRun } from './runs.js';
import type { RunOptions } from './runs.js';
import { requestOf, runAll } from './runs.js';

const RUNS = { numRuns: 10, seed: 9 };
const MAX_NEW_TOKENS = 6;

const policy = exitPolicyArbitrary(
  4,
  withDepthBounds(sampledExit(), { minDepth: 2, maxDepth: 3 }),
  anyOf(cdfThreshold(0.8), confidence(0.5)),
  allOf(stateDelta(0.5), cdfThreshold(0.4)),
  replay([3, 1, 4, 1, 2, 4]),
);

const request: fc.Arbitrary<GenerationRequest> = fc
  .record({
    promptIds: promptArbitrary(8),
    policy,
    maxNewTokens: fc.integer({ min: 1, max: MAX_NEW_TOKENS }),
    seed: fc.nat(1000),
    temperature: fc.constantFrom(0, 0.8),
    stopIds: fc.constantFrom([], [4, 7]),
  })
  .map(({ promptIds, policy: exitPolicy, maxNewTokens, stopIds, ...sampling }) =>
    requestOf(promptIds, exitPolicy, {
      maxNewTokens,
      stopIds,
      sampling: parseSamplingOptions(sampling),
    }),
  );

const options: fc.Arbitrary<RunOptions> = fc.oneof(
  fc.constantFrom(...KV_POLICIES).map((kvPolicy): RunOptions => ({ kvPolicy })),
  fc.constant<RunOptions>({ prefill: 'deferred' }),
);

const batch = fc.array(request, { minLength: 2, maxLength: 4 });

let device: Device;
let engine: Engine;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  const { config, weights } = await makeModel(SMALL_MODEL);
  engine = await Engine.create({ device, config, weights, maxPrefixBytes: 0 });
}, 60_000);
afterAll(async () => {
  await engine.dispose();
  await device.dispose();
});

function expectSame(actual: SequenceRun, expected: SequenceRun): void {
  const facts = ({ tokens, finish }: SequenceRun) => ({
    tokens: tokens.map(({ tokenId, sampledId, exitDepth }) => [tokenId, sampledId, exitDepth]),
    ending: [finish.finishReason, finish.executedLoops, finish.fullDepthLoops],
  });
  expect(facts(actual)).toEqual(facts(expected));
  const logprobs = ({ tokens }: SequenceRun) => tokens.map(({ logprob }) => logprob);
  expect(logprobs(actual)).toEqual(logprobs(expected));
}

it('a sequence in a batch of any policies is the sequence alone', async () => {
  await fc.assert(
    fc.asyncProperty(batch, options, async (requests, runOptions) => {
      const together = await runAll(engine, requests, runOptions);
      for (const [index, alone] of requests.entries()) {
        const [run] = await runAll(engine, [alone], runOptions);
        expectSame(together[index]!, { ...run!, finish: { ...run!.finish, requestIndex: index } });
      }
    }),
    RUNS,
  );
});

it('runs that overlap on one engine equal runs one after the other, bit for bit', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(batch, options), { minLength: 2, maxLength: 3 }),
      async (runs) => {
        const start = ([requests, runOptions]: (typeof runs)[number]) =>
          runAll(engine, requests, { ...runOptions, record: true });
        const overlapping = await Promise.all(runs.map(start));
        for (const [index, run] of runs.entries()) {
          expect(overlapping[index]).toEqual(await start(run));
        }
      },
    ),
    { ...RUNS, numRuns: 4 },
  );
});

it('recording changes nothing but the record', async () => {
  await fc.assert(
    fc.asyncProperty(batch, options, async (requests, runOptions) => {
      const plain = await runAll(engine, requests, runOptions);
      const recorded = await runAll(engine, requests, { ...runOptions, record: true });
      recorded.forEach((run, index) => {
        const { finishReason, exitDepths, tokenIds } = run.finish.rollout!;
        expectSame(run, plain[index]!);
        expect(finishReason).toBe(run.finish.finishReason);
        expect(tokenIds).toEqual(run.tokens.map(({ tokenId }) => tokenId));
        expect(exitDepths).toEqual(run.tokens.map(({ exitDepth }) => exitDepth));
      });
    }),
    RUNS,
  );
});

it('a deferred prefill changes nothing but the work', async () => {
  await fc.assert(
    fc.asyncProperty(batch, async (requests) => {
      const full = await runAll(engine, requests);
      const deferred = await runAll(engine, requests, { prefill: 'deferred' });
      deferred.forEach(({ tokens, finish }, index) => {
        const expected = full[index]!;
        expect(finish.executedLoops).toBeLessThanOrEqual(expected.finish.executedLoops);
        const { executedLoops } = expected.finish;
        expectSame({ tokens, finish: { ...finish, executedLoops } }, expected);
      });
    }),
    RUNS,
  );
});
