/**
 * Inference of models of any shape equals the definition, written down a second time in float64:
 * every loop of the forward pass, and generation under every KV policy.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GenerationRequest } from '../../src/engine/index.js';
import { KV_POLICIES, cdfThreshold, replay } from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { VOCAB_SIZE, modelDraw, promptArbitrary } from '../engine/random-model.js';
import { referenceRun } from '../engine/reference-model.js';
import type { RunOptions } from '../engine/runs.js';
import { driftFrom, expectQExit, referenceOf, requestOf, runAll } from '../engine/runs.js';
import type { Subject } from '../engine/subjects.js';
import { DRIFT, openSubjects } from '../engine/subjects.js';
import { expectClose } from './fixtures.js';

const NUM_MODELS = 14;
const RUNS = { numRuns: 20, seed: 2 };

let device: Device;
let subjects: readonly Subject[];

beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  const draws = fc.sample(modelDraw, { numRuns: NUM_MODELS, seed: 7 });
  subjects = await openSubjects(device, draws);
}, 60_000);

afterAll(async () => {
  for (const { engine } of subjects) await engine.dispose();
  await device.dispose();
});

const subject = fc.nat(NUM_MODELS - 1).map((index) => subjects[index]!);

/** A model with requests whose tokens are forced, half of them, and whose depths are. */
const replayedRun = subject.chain((of) => {
  const { numLoops } = of.config;
  const request = fc
    .record({
      promptIds: promptArbitrary(9),
      forcedIds: fc.oneof(promptArbitrary(10), fc.constant([])),
      exitDepths: fc.array(fc.integer({ min: 1, max: numLoops }), { minLength: 1, maxLength: 10 }),
    })
    .map(({ promptIds, forcedIds, exitDepths }) =>
      requestOf(promptIds, replay(exitDepths), { forcedIds, maxNewTokens: exitDepths.length }),
    );
  return fc.record({
    of: fc.constant(of),
    requests: fc.array(request, { minLength: 1, maxLength: 3 }),
  });
});

async function expectDefinition(
  of: Subject,
  requests: readonly GenerationRequest[],
  options: RunOptions,
): Promise<void> {
  for (const run of await runAll(of.engine, requests, { ...options, record: true })) {
    const reference = referenceOf(of.config, of.expectedWeights, run);
    expect(driftFrom(reference, run)).toBeLessThanOrEqual(DRIFT);
  }
}

describe('random models', () => {
  it('cover every kind of shape', () => {
    const configs = subjects.map(({ config }) => config);
    const has = (what: (subject: Subject) => boolean) => subjects.some(what);
    expect(has(({ draw }) => draw.dtype === 'bf16' && draw.config.tieWordEmbeddings)).toBe(true);
    expect(has(({ draw }) => draw.dtype === 'f32' && !draw.config.tieWordEmbeddings)).toBe(true);
    expect(has(({ draw }) => !draw.namesHeadDim)).toBe(true);
    expect(
      configs.some((c) => c.numKeyValueHeads > 1 && c.numKeyValueHeads < c.numAttentionHeads),
    ).toBe(true);
    expect(configs.some((c) => c.headDim * c.numAttentionHeads !== c.hiddenSize)).toBe(true);
    expect(new Set(configs.map((c) => c.numHiddenLayers))).toEqual(new Set([1, 2, 3]));
    expect(configs.some((c) => c.numLoops === 1)).toBe(true);
    expect(configs.some((c) => c.numLoops === 6)).toBe(true);
  });

  it('load as they were saved, whether or not config.json names head_dim', () => {
    for (const { draw, config, weights, expectedWeights } of subjects) {
      expect(config).toEqual(draw.config);
      expect(weights).toEqual(expectedWeights);
    }
  });

  it('give the states, gates and logits of the definition at every loop', async () => {
    await fc.assert(
      fc.asyncProperty(
        subject,
        promptArbitrary(20),
        fc.integer({ min: -1, max: 2 }),
        async (of, prompt, extra) => {
          const numLoops = Math.max(1, of.config.numLoops + extra);
          const trace = await of.engine.trace(prompt, { numLoops });
          const inputs = prompt.map((id) => ({ id, depth: numLoops }));
          const reference = referenceRun(of.config, of.expectedWeights, inputs, (depth) => depth);
          const loops = Array.from({ length: numLoops }, (_, loop) => loop);
          const flat = (key: 'hidden' | 'logits') =>
            loops.flatMap((loop) => reference.flatMap((token) => token[key][loop]!));
          const gates = loops.flatMap((loop) =>
            reference.map(({ gateLogits }) => gateLogits[loop]!),
          );
          expectClose(trace.hidden, flat('hidden'), DRIFT, 'hidden');
          expectClose(trace.logits, flat('logits'), DRIFT, 'logits');
          expectClose(trace.gateLogits!, gates, DRIFT, 'gate logits');
        },
      ),
      RUNS,
    );
  });

  it.each([
    { kvPolicy: 'per-loop', prefill: 'full' },
    { kvPolicy: 'per-loop', prefill: 'deferred' },
    { kvPolicy: 'last-exited' },
    { kvPolicy: 'shared' },
  ] as const)('generate by the definition at any depths under %o', async (options) => {
    await fc.assert(
      fc.asyncProperty(replayedRun, ({ of, requests }) => expectDefinition(of, requests, options)),
      RUNS,
    );
  });

  it.each(KV_POLICIES)(
    'Q-exit stops each token where the definition says under %s',
    async (kvPolicy) => {
      await fc.assert(
        fc.asyncProperty(
          subject,
          promptArbitrary(6),
          fc.double({ min: 0.05, max: 0.95, noNaN: true }),
          async (of, prompt, exitThreshold) => {
            const requests = [requestOf(prompt, cdfThreshold(exitThreshold))];
            const [run] = await runAll(of.engine, requests, { kvPolicy, record: true });
            const reference = referenceOf(of.config, of.expectedWeights, run!);
            expect(driftFrom(reference, run!)).toBeLessThanOrEqual(DRIFT);
            expectQExit(reference, run!, exitThreshold, DRIFT);
          },
        ),
        RUNS,
      );
    },
  );

  // The cache starts with 64 slots and grows to 96 and 144; a program run takes 256 tokens.
  it.each([
    { promptLength: 60, maxNewTokens: 40, kvPolicy: 'per-loop' },
    { promptLength: 5, maxNewTokens: 96, kvPolicy: 'per-loop', prefill: 'deferred' },
    { promptLength: 60, maxNewTokens: 40, kvPolicy: 'last-exited' },
    { promptLength: 60, maxNewTokens: 40, kvPolicy: 'shared' },
    { promptLength: 300, maxNewTokens: 3, kvPolicy: 'per-loop' },
    { promptLength: 300, maxNewTokens: 3, kvPolicy: 'per-loop', prefill: 'deferred' },
  ] as const)('long sequences follow the definition while the cache grows: %o', async (run) => {
    const { promptLength, maxNewTokens, ...options } = run;
    const of = subjects.find(({ config }) => config.numLoops === 3)!;
    const exitDepths = Array.from(
      { length: maxNewTokens },
      (_, n) => 1 + ((n * n) % 7 === 4 ? 2 : n % 2),
    );
    const prompt = Array.from({ length: promptLength }, (_, n) => (n * n + (n >> 3)) % VOCAB_SIZE);
    const requests = [requestOf(prompt, replay(exitDepths), { maxNewTokens })];
    await expectDefinition(of, requests, options);
  });
});
