/**
 * Many requests of all kinds at once, with memory for some of them: each gives what it gives alone,
 * bit for bit, ends exactly once, and leaves nothing behind.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineEvent, GenerationRequest, Speculation } from '../../src/engine/index.js';
import {
  Engine,
  KV_POLICIES,
  anyOf,
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  parseSamplingOptions,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { exitPolicyArbitrary } from './policies.js';
import type { RandomModel } from './random-model.js';
import { PAGE_BYTES, SMALL_MODEL, VOCAB_SIZE, makeModel } from './random-model.js';

const { numLoops, maxPositionEmbeddings } = SMALL_MODEL.config;

const policy = exitPolicyArbitrary(numLoops, anyOf(cdfThreshold(0.8), confidence(0.5)));

const PREFIX = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];

/** Other than a full one. */
const PREFILL_OF = { 'per-loop': 'deferred', 'last-exited': 'adaptive', shared: 'full' } as const;

const request: fc.Arbitrary<GenerationRequest> = fc
  .record({
    prefixLength: fc.constantFrom(0, 0, 4, PREFIX.length),
    rest: fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 30 }),
    exitPolicy: policy,
    kvPolicy: fc.constantFrom(...KV_POLICIES),
    isDeferred: fc.boolean(),
    numLoops: fc.constantFrom(undefined, undefined, 2, numLoops + 2),
    maxNewTokens: fc.integer({ min: 1, max: 12 }),
    seed: fc.nat(1000),
    temperature: fc.constantFrom(0, 0.8),
    priority: fc.constantFrom(0, 0, 0, 1, -1),
    record: fc.boolean(),
    speculation: fc.constantFrom<Speculation[]>('off', 'auto', 1),
  })
  .map(({ prefixLength, rest, isDeferred, seed, temperature, numLoops: loops, ...others }) => ({
    ...others,
    speculation: others.kvPolicy === 'per-loop' ? others.speculation : 'off',
    ...(loops !== undefined && { numLoops: loops }),
    // A policy may name as many loops as the model has.
    exitPolicy: loops === 2 ? cdfThreshold(0.5) : others.exitPolicy,
    promptIds: [...PREFIX.slice(0, prefixLength), ...rest],
    prefill: isDeferred ? PREFILL_OF[others.kvPolicy] : 'full',
    sampling: parseSamplingOptions({ seed, temperature }),
  }));

/** Events after which a request is given up, by its index; most are not. */
const aborts = fc.array(fc.oneof(fc.constant(undefined), fc.nat(6)), {
  minLength: 60,
  maxLength: 60,
});

let device: Device;
let model: RandomModel;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await makeModel(SMALL_MODEL);
}, 60_000);
afterAll(async () => device.dispose());

async function eventsOf(engine: Engine, one: GenerationRequest, stopAfter?: number) {
  const stop = new AbortController();
  if (stopAfter === 0) stop.abort();
  const events: EngineEvent[] = [];
  for await (const event of engine.generate([{ ...one, signal: stop.signal }])) {
    events.push(event);
    if (events.length === stopAfter) stop.abort();
  }
  return events;
}

/** What must not depend on the company: all but how much was computed for it. */
function said(events: readonly EngineEvent[]) {
  return events.map((event) =>
    event.kind === 'token'
      ? event
      : { ...event, executedLoops: 0, cachedTokens: 0, draftedTokens: 0, acceptedTokens: 0 },
  );
}

describe.each([
  { memory: 'for all', maxKvBytes: Infinity },
  // Of a sequence of one page in each of six planes, a few fit.
  { memory: 'for a few', maxKvBytes: 20 * PAGE_BYTES },
])('with memory $memory', ({ maxKvBytes }) => {
  it('60 requests at once give what each gives alone', async () => {
    const { config, weights } = model;
    const alone = await Engine.create({ device, config, weights });
    const engine = await Engine.create({
      device,
      config,
      weights,
      maxKvBytes,
      limits: { maxStepRows: 40, maxLargeRows: 16 },
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 60, maxLength: 60 }),
        aborts,
        async (requests, stopAfter) => {
          const together = await Promise.all(
            requests.map((one, index) => eventsOf(engine, one, stopAfter[index])),
          );
          expect(engine.numPagesUsed).toBe(0);
          expect(engine.numStatesUsed).toBe(0);
          for (const [index, one] of requests.entries()) {
            const events = together[index]!;
            const finishes = events.filter(({ kind }) => kind === 'finish');
            expect(finishes).toHaveLength(1);
            expect(events.at(-1)).toBe(finishes[0]);
            const expected = await eventsOf(alone, { ...one, speculation: 'off' });
            if (stopAfter[index] === undefined) {
              expect(said(events)).toEqual(said(expected));
            } else {
              // What came before it was given up is the same; little more came after.
              const tokens = events.slice(0, -1);
              expect(tokens).toEqual(expected.slice(0, tokens.length));
              // Drafts that were right come together.
              const most = one.speculation === 'off' ? 2 : 2 + numLoops;
              expect(tokens.length).toBeLessThanOrEqual(stopAfter[index] + most);
            }
          }
        },
      ),
      { seed: 21, numRuns: 2 },
    );
    if (maxKvBytes < Infinity) expect(engine.numPreemptions).toBeGreaterThan(0);
    await engine.dispose();
    await alone.dispose();
  });
});

it('a request that does not fit at all fails alone, and the others go on', async () => {
  const { config, weights } = model;
  const engine = await Engine.create({ device, config, weights, maxKvBytes: 3 * PAGE_BYTES });
  const base = { maxNewTokens: 3, sampling: parseSamplingOptions({}) };
  const small = { ...base, promptIds: [1, 2, 3], exitPolicy: fixedDepth(1) };
  const deferred = { ...small, prefill: 'deferred' as const };
  const large = { ...base, promptIds: [1, 2, 3], exitPolicy: fullDepth() };
  const [first, failure, second] = await Promise.all([
    eventsOf(engine, deferred),
    eventsOf(engine, large).catch((error: unknown) => error),
    eventsOf(engine, deferred),
  ]);
  expect((failure as Error).message).toMatch(/cache of keys and values is full.*3 pages/);
  for (const events of [first, second]) {
    expect(events.map(({ kind }) => kind)).toEqual(['token', 'token', 'token', 'finish']);
  }
  expect(engine.numPagesUsed).toBe(0);
  await engine.dispose();
});

it('a request that comes while all others rest begins at once', async () => {
  const { config, weights } = model;
  const engine = await Engine.create({ device, config, weights });
  const base = { promptIds: [1], maxNewTokens: 20, sampling: parseSamplingOptions({}) };
  const one = { ...base, exitPolicy: fixedDepth(1) };
  const slow = engine.generate([one]);
  await slow.next();
  // Until nothing more is computed for a reader that is behind.
  for (let before = -1; engine.numExecuted > before;) {
    before = engine.numExecuted;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const quick = await eventsOf(engine, one);
  expect(quick.at(-1)!.kind).toBe('finish');
  await slow.return(undefined);
  await engine.dispose();
}, 10_000);

it('a sequence whose events nobody reads rests, and the others go on', async () => {
  const { config, weights } = model;
  const engine = await Engine.create({ device, config, weights });
  const one = {
    promptIds: [1],
    maxNewTokens: maxPositionEmbeddings - 2,
    exitPolicy: fixedDepth(1),
    sampling: parseSamplingOptions({}),
  };
  const slow = engine.generate([one]);
  await slow.next();
  expect(engine.numStatesUsed).toBeGreaterThan(0);
  const before = engine.numExecuted;
  const quick = await eventsOf(engine, one);
  expect(quick.at(-1)!.kind).toBe('finish');
  const ofQuick = (quick.at(-1) as Extract<EngineEvent, { kind: 'finish' }>).executedLoops;
  expect(engine.numExecuted - before - ofQuick).toBeLessThan(12);
  const rest: EngineEvent[] = [];
  for await (const event of slow) rest.push(event);
  expect(rest).toEqual(quick.slice(1));
  await engine.dispose();
});
