/**
 * Models without an exit gate equal their definition, written down a second time in float64: the
 * forward pass, generation under every KV policy, early exit by what policies
 * read elsewhere. Half of them have the final norm between loops, half before the readout only.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  KV_POLICIES,
  cdfThreshold,
  defaultExitPolicy,
  fixedDepth,
  fullDepth,
  parseExitPolicy,
  replay,
} from '../../src/engine/index.js';
import { ConfigError } from '../../src/errors.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { nanbeigeDraw, promptArbitrary } from '../engine/random-model.js';
import { referenceRun } from '../engine/reference-model.js';
import {
  EXIT_MEASURES,
  driftFrom,
  expectExits,
  referenceOf,
  requestOf,
  runAll,
} from '../engine/runs.js';
import type { Subject } from '../engine/subjects.js';
import { DRIFT, openSubjects } from '../engine/subjects.js';
import { expectClose } from './fixtures.js';

const NUM_MODELS = 12;
const RUNS = { numRuns: 15, seed: 8 };

let device: Device;
let subjects: readonly Subject[];

beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  const draws = fc.sample(nanbeigeDraw, { numRuns: NUM_MODELS, seed: 11 });
  subjects = await openSubjects(device, draws);
}, 60_000);

afterAll(async () => {
  for (const { engine } of subjects) await engine.dispose();
  await device.dispose();
});

const subject = fc.nat(NUM_MODELS - 1).map((index) => subjects[index]!);

describe('random models without an exit gate', () => {
  it('are of every kind of shape', () => {
    const has = (what: (config: Subject['config']) => boolean) =>
      subjects.some(({ config }) => what(config));
    expect(has((c) => c.skipLoopFinalNorm === true)).toBe(true);
    expect(has((c) => c.skipLoopFinalNorm === undefined)).toBe(true);
    expect(has((c) => c.numAttentionHeads === 6 * c.numKeyValueHeads)).toBe(true);
    expect(has((c) => c.numAttentionHeads < 6 * c.numKeyValueHeads)).toBe(true);
    expect(has((c) => c.headDim * c.numAttentionHeads !== c.hiddenSize)).toBe(true);
    expect(has((c) => c.numLoops > 2)).toBe(true);
  });

  it('load as they were saved, without a tensor of a gate or a second norm', () => {
    for (const { draw, config, weights, expectedWeights } of subjects) {
      expect(config).toEqual(draw.config);
      expect(weights).toEqual(expectedWeights);
      expect([...weights.keys()].join()).not.toMatch(/_2\.weight|early_exit/);
    }
  });

  it('give the states and logits of the definition at every loop, and no gate', async () => {
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
          const flat = (key: 'hidden' | 'logits') =>
            Array.from({ length: numLoops }, (_, loop) => loop).flatMap((loop) =>
              reference.flatMap((token) => token[key][loop]!),
            );
          expectClose(trace.hidden, flat('hidden'), DRIFT, 'hidden');
          expectClose(trace.logits, flat('logits'), DRIFT, 'logits');
          expect(trace).not.toHaveProperty('gateLogits');
          const isLast = flat('hidden')
            .slice(0, numLoops * prompt.length)
            .map((_, row) => row >= (numLoops - 1) * prompt.length);
          expect([...trace.exitPdf]).toEqual(isLast.map(Number));
        },
      ),
      RUNS,
    );
  });

  // What a model says at depth d is what one of d loops says, wherever its final norm stands.
  it('say at an early exit what a model of as many loops says', async () => {
    for (const { config, engine } of subjects) {
      const depths = Array.from({ length: config.numLoops }, (_, loopIndex) => loopIndex + 1);
      const prompt = [3, 1, 4, 1, 5];
      for (const depth of depths) {
        const [early] = await runAll(engine, [requestOf(prompt, fixedDepth(depth))]);
        const [short] = await runAll(engine, [requestOf(prompt, fullDepth())], { numLoops: depth });
        expect(early!.tokens.map(({ tokenId }) => tokenId)).toEqual(
          short!.tokens.map(({ tokenId }) => tokenId),
        );
      }
    }
  });

  it.each([
    { kvPolicy: 'per-loop', prefill: 'full' },
    { kvPolicy: 'per-loop', prefill: 'deferred' },
    { kvPolicy: 'last-exited' },
    { kvPolicy: 'shared' },
  ] as const)('generate by the definition at any depths under %o', async (options) => {
    const depths = fc.array(fc.nat(5), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        subject,
        promptArbitrary(9),
        promptArbitrary(9),
        depths,
        async (of, promptIds, other, drawn) => {
          const exits = drawn.map((depth) => 1 + (depth % of.config.numLoops));
          const settings = { maxNewTokens: exits.length };
          const requests = [promptIds, other].map((prompt) =>
            requestOf(prompt, replay(exits), settings),
          );
          for (const run of await runAll(of.engine, requests, { ...options, record: true })) {
            expect(run.finish.rollout).not.toHaveProperty('gateLogits');
            const reference = referenceOf(of.config, of.expectedWeights, run);
            expect(driftFrom(reference, run)).toBeLessThanOrEqual(DRIFT);
          }
        },
      ),
      RUNS,
    );
  });

  it.each(['delta', 'kl', 'confidence'] as const)(
    'exit under %s where the definition does, and generate by it',
    async (name) => {
      const { policy, limits } = EXIT_MEASURES[name];
      await fc.assert(
        fc.asyncProperty(
          subject,
          promptArbitrary(6),
          fc.double({ ...limits, noNaN: true }),
          fc.constantFrom(...KV_POLICIES),
          async (of, prompt, limit, kvPolicy) => {
            const requests = [requestOf(prompt, policy(limit))];
            const [run] = await runAll(of.engine, requests, { kvPolicy, record: true });
            const reference = referenceOf(of.config, of.expectedWeights, run!);
            expect(driftFrom(reference, run!)).toBeLessThanOrEqual(DRIFT);
            expectExits(reference, run!, { name, limit }, DRIFT);
          },
        ),
        RUNS,
      );
    },
  );

  it('run at full depth by default and under a threshold of 1', async () => {
    const { engine, config } = subjects.find(({ config: { numLoops } }) => numLoops > 2)!;
    expect(defaultExitPolicy(config).name).toBe('full');
    for (const policy of [defaultExitPolicy(config), cdfThreshold(1)]) {
      const [run] = await runAll(engine, [requestOf([1, 2], policy)]);
      expect(new Set(run!.tokens.map(({ exitDepth }) => exitDepth))).toEqual(
        new Set([config.numLoops]),
      );
    }
  });

  it.each(['cdf:0.5', 'sampled', 'any(fixed:1,cdf:0.9)', 'all(delta:0.1,sampled)'])(
    'refuse %s, which reads a gate, and name policies that do not',
    async (spec) => {
      const run = runAll(subjects[0]!.engine, [requestOf([1], parseExitPolicy(spec))]);
      await expect(run).rejects.toThrow(ConfigError);
      await expect(run).rejects.toThrow(/exit gate.*nanbeige.*have none; use full, fixed:N, delta/);
    },
  );
});
