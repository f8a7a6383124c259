/** Log-probabilities beside tokens, and of prompts: what they say of each other and of the model. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GenerationRequest, ScoredToken } from '../../src/engine/index.js';
import {
  Engine,
  KV_POLICIES,
  cdfThreshold,
  fixedDepth,
  fullDepth,
  parseSamplingOptions,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { exitPolicyArbitrary } from './policies.js';
import type { RandomModel } from './random-model.js';
import { LONG_MODEL, PAGE_BYTES, VOCAB_SIZE, makeModel } from './random-model.js';
import { requestOf, runAll } from './runs.js';

const { numLoops } = LONG_MODEL.config;

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

const ids = (minLength: number, maxLength: number) =>
  fc.array(fc.nat(VOCAB_SIZE - 1), { minLength, maxLength, size: 'max' });
const prompt = fc.oneof(ids(1, 12), ids(120, 200));
const policy = exitPolicyArbitrary(numLoops);

/** Scores of the prompts, which come with the first token and no other. */
async function scoresOf(
  by: Engine,
  requests: readonly GenerationRequest[],
): Promise<readonly (readonly ScoredToken[])[]> {
  const runs = await runAll(by, requests);
  return runs.map(({ tokens: [first, ...rest] }) => {
    expect(rest.some(({ promptTokens }) => promptTokens)).toBe(false);
    return first!.promptTokens!;
  });
}

describe('beside new tokens', () => {
  it('the most likely ones are the whole distribution, falling, with the same float for the token', async () => {
    await fc.assert(
      fc.asyncProperty(prompt, policy, fc.nat(1000), async (promptIds, exitPolicy, seed) => {
        const sampling = parseSamplingOptions({ temperature: 1, seed });
        const request = requestOf(promptIds, exitPolicy, { sampling, record: true });
        const counts = { topLogprobs: VOCAB_SIZE, loopLogprobs: 3, behaviorLogprobs: 2 };
        const [run] = await runAll(engine, [{ ...request, ...counts }]);
        const { tokens, finish } = run!;
        for (const { tokenId, tokenIndex, exitDepth, logprob, topLogprobs, ...more } of tokens) {
          const { loops, behavior } = more;
          expect(behavior!.logprob).toBe(finish.rollout!.behaviorLogprobs[tokenIndex]);
          expect(topLogprobs).toHaveLength(VOCAB_SIZE);
          expect(topLogprobs!.find((top) => top.tokenId === tokenId)!.logprob).toBe(logprob);
          const values = topLogprobs!.map((top) => top.logprob);
          expect(values).toEqual(values.toSorted((a, b) => b - a));
          const total = values.reduce((sum, value) => sum + Math.exp(value), 0);
          expect(total).toBeCloseTo(1, 5);
          const { loopLogprobs, gateLogits } = finish.rollout!;
          expect(loops!.map((loop) => loop.logprob)).toEqual(loopLogprobs[tokenIndex]);
          expect(loops!.map(({ gateLogit }) => gateLogit)).toEqual(gateLogits![tokenIndex]);
          expect(loops![exitDepth - 1]!.topLogprobs).toEqual(topLogprobs!.slice(0, 3));
        }
        // asking changes nothing that is computed
        const [plain] = await runAll(engine, [request]);
        expect(finish.rollout).toEqual(plain!.finish.rollout);
      }),
      { numRuns: 25, seed: 61 },
    );
  });

  it('how tokens are drawn is the softmax of what temperature and filters leave', async () => {
    await fc.assert(
      fc.asyncProperty(prompt, fc.nat(1000), async (promptIds, seed) => {
        const sampling = parseSamplingOptions({ temperature: 0.5, topK: 3, seed });
        const counts = { topLogprobs: 3, behaviorLogprobs: 5 };
        const [run] = await runAll(engine, [
          requestOf(promptIds, cdfThreshold(0.5), { sampling, ...counts }),
        ]);
        for (const { tokenId, topLogprobs, behavior } of run!.tokens) {
          const weights = topLogprobs!.map((top) => Math.exp(top.logprob / 0.5));
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          expect(behavior!.topLogprobs).toHaveLength(3);
          for (const [n, top] of behavior!.topLogprobs.entries()) {
            expect(top.tokenId).toBe(topLogprobs![n]!.tokenId);
            expect(top.logprob).toBeCloseTo(Math.log(weights[n]! / total), 4);
            if (top.tokenId === tokenId) expect(top.logprob).toBe(behavior!.logprob);
          }
        }
      }),
      { numRuns: 15, seed: 66 },
    );
  });

  it('none come without being asked for', async () => {
    const [run] = await runAll(engine, [requestOf([1, 2, 3], cdfThreshold(0.5))]);
    expect(run!.tokens[0]).not.toHaveProperty('topLogprobs');
    expect(run!.tokens[0]).not.toHaveProperty('loops');
  });
});

describe('a prompt is scored', () => {
  it.each(KV_POLICIES)(
    'as the same tokens are when they are forced, under %s',
    async (kvPolicy) => {
      let shallow = 0;
      const exits = fc.constantFrom(
        cdfThreshold(0.4),
        cdfThreshold(0.7),
        fixedDepth(2),
        fullDepth(),
      );
      await fc.assert(
        fc.asyncProperty(ids(2, 40), exits, async (promptIds, exitPolicy) => {
          const scored = requestOf(promptIds, exitPolicy, { kvPolicy, promptLogprobs: 2 });
          const [scores] = await scoresOf(engine, [scored]);
          // Keys and values of a prompt are those of its full depth, as per-loop computes them.
          const [first, ...forcedIds] = promptIds;
          const maxNewTokens = forcedIds.length;
          const forced = requestOf([first!], exitPolicy, {
            forcedIds,
            maxNewTokens,
            topLogprobs: 2,
          });
          const [run] = await runAll(engine, [forced]);
          expect(scores![0]).toEqual({ tokenId: first });
          for (const [index, token] of run!.tokens.entries()) {
            const score = scores![index + 1]!;
            expect(score.tokenId).toBe(token.tokenId);
            expect(score.exitDepth).toBe(token.exitDepth);
            expect(score.logprob).toBeCloseTo(token.logprob, 4);
            const [best, other] = token.topLogprobs!;
            if (best!.logprob - other!.logprob > 1e-4) {
              expect(score.topLogprobs![0]!.tokenId).toBe(best!.tokenId);
            }
            shallow += Number(token.exitDepth < numLoops);
          }
        }),
        { numRuns: 15, seed: 62 },
      );
      expect(shallow).toBeGreaterThan(40);
    },
  );

  it('at a temperature, with the softmax of the logits that it divides', async () => {
    const request = requestOf([3, 1, 4, 1, 5], cdfThreshold(0.5), { promptLogprobs: VOCAB_SIZE });
    const [plain] = await scoresOf(engine, [request]);
    const [cool] = await scoresOf(engine, [{ ...request, promptTemperature: 2 }]);
    for (const [index, { logprob, topLogprobs }] of cool!.entries()) {
      if (index === 0) continue;
      const weights = plain![index]!.topLogprobs!.map((top) => Math.exp(top.logprob / 2));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (const [n, top] of topLogprobs!.entries()) {
        expect(top.logprob).toBeCloseTo(Math.log(weights[n]! / total), 4);
      }
      expect(logprob).toBeCloseTo(plain![index]!.logprob! / 2 - Math.log(total), 4);
    }
    await expect(scoresOf(engine, [{ ...request, promptTemperature: 0 }])).rejects.toThrow(
      'promptTemperature is 0; it must be a number above 0.',
    );
  });

  it('where its tokens exit, in an adaptive prefill', async () => {
    const options = { kvPolicy: 'last-exited', prefill: 'adaptive', record: true } as const;
    await fc.assert(
      fc.asyncProperty(prompt, policy, async (promptIds, exitPolicy) => {
        const request = requestOf(promptIds, exitPolicy, { ...options, promptLogprobs: 0 });
        const [scores] = await scoresOf(engine, [request]);
        const [run] = await runAll(engine, [requestOf(promptIds, exitPolicy, options)]);
        const depths = scores!.slice(1).map(({ exitDepth }) => exitDepth);
        expect(depths).toEqual(run!.finish.rollout!.promptExitDepths);
        for (const { logprob } of scores!.slice(1)) expect(logprob).toBeLessThanOrEqual(0);
      }),
      { numRuns: 15, seed: 63 },
    );
  });

  it('the same alone and in company, in small pieces, and after a loss of memory, to the bit', async () => {
    const { config, weights } = model;
    await using crowded = await Engine.create({
      device,
      config,
      weights,
      maxKvBytes: 14 * PAGE_BYTES,
      limits: { maxStepRows: 50, maxLargeRows: 20 },
    });
    const scored = fc
      .record({ promptIds: prompt, exitPolicy: policy, kvPolicy: fc.constantFrom(...KV_POLICIES) })
      .map(({ promptIds, exitPolicy, kvPolicy }) =>
        requestOf(promptIds, exitPolicy, { kvPolicy, promptLogprobs: 3 }),
      );
    const list = fc.array(scored, { minLength: 10, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(list, async (requests) => {
        const together = await scoresOf(crowded, requests);
        for (const [index, one] of requests.entries()) {
          expect(together[index]).toEqual((await scoresOf(engine, [one]))[0]);
        }
        expect(crowded.numPagesUsed).toBe(0);
      }),
      { numRuns: 4, seed: 64 },
    );
    expect(crowded.numPreemptions).toBeGreaterThan(0);
  }, 60_000);

  it('without a change of what follows it', async () => {
    await fc.assert(
      fc.asyncProperty(prompt, policy, fc.nat(99), async (promptIds, exitPolicy, seed) => {
        const sampling = parseSamplingOptions({ temperature: 1, seed });
        const plain = requestOf(promptIds, exitPolicy, { sampling, prefill: 'full', record: true });
        const [expected] = await runAll(engine, [plain]);
        const [run] = await runAll(engine, [{ ...plain, promptLogprobs: 1 }]);
        expect(run!.finish.rollout).toEqual(expected!.finish.rollout);
      }),
      { numRuns: 15, seed: 65 },
    );
  });

  it('not with a deferred prefill, and no count is negative', async () => {
    const refused = (more: Partial<GenerationRequest>) =>
      runAll(engine, [requestOf([1, 2], fullDepth(), more)]);
    await expect(refused({ prefill: 'deferred', promptLogprobs: 1 })).rejects.toThrow(
      'prefill deferred does not work with promptLogprobs',
    );
    for (const field of ['topLogprobs', 'loopLogprobs', 'promptLogprobs', 'behaviorLogprobs']) {
      await expect(refused({ [field]: -1 })).rejects.toThrow(
        `${field} is -1; it must be a whole number from 0 up, of most likely tokens.`,
      );
    }
  });
});
