import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { KV_POLICIES } from '../model/index.js';
import type { RolloutRecord } from './rollout.js';
import { FINISH_REASONS, meanDepthOf, parseRollout, rolloutToJson } from './rollout.js';

const example: RolloutRecord = {
  promptIds: [7, 8],
  tokenIds: [3, 2],
  exitDepths: [2, 1],
  logprobs: [-0.5, -0.25],
  behaviorLogprobs: [-0.125, null],
  loopLogprobs: [[-1, -0.5, -0.4], [-0.25]],
  gateLogits: [[-2, 1, 0], [3]],
  weightsVersion: 0,
  exitPolicy: 'cdf:0.5',
  kvPolicy: 'per-loop',
  prefill: 'full',
  sampling: {
    temperature: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
  },
  seed: 0,
  numLoops: 3,
  meanDepth: 1.5,
  finishReason: 'stop-id',
};

const logprob = fc.double({ max: 0, noNaN: true, noDefaultInfinity: true });
const token = (numLoops: number) =>
  fc.integer({ min: 1, max: numLoops }).chain((numExecuted) =>
    fc.record({
      id: fc.nat(),
      exitDepth: fc.integer({ min: 1, max: numExecuted }),
      behavior: fc.option(logprob),
      loopLogprobs: fc.array(logprob, { minLength: numExecuted, maxLength: numExecuted }),
      gateLogits: fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), {
        minLength: numExecuted,
        maxLength: numExecuted,
      }),
    }),
  );

/** Consistent records of any size. */
const record: fc.Arbitrary<RolloutRecord> = fc
  .record({
    promptIds: fc.array(fc.nat()),
    tokens: fc.array(token(4), { maxLength: 6 }),
    exitPolicy: fc.constantFrom('full', 'any(cdf:0.5,fixed:3)', 'replay:4,1,2'),
    kvPolicy: fc.constantFrom(...KV_POLICIES),
    finishReason: fc.constantFrom(...FINISH_REASONS),
    seed: fc.maxSafeNat(),
    topK: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
    weightsVersion: fc.nat(),
    updates: fc.option(fc.nat(3), { nil: undefined }),
  })
  .map(({ promptIds, tokens, topK, updates, ...settings }) => ({
    promptIds,
    tokenIds: tokens.map(({ id }) => id),
    exitDepths: tokens.map(({ exitDepth }) => exitDepth),
    logprobs: tokens.map(({ loopLogprobs, exitDepth }) => loopLogprobs[exitDepth - 1]!),
    behaviorLogprobs: tokens.map(({ behavior }) => behavior),
    loopLogprobs: tokens.map(({ loopLogprobs }) => loopLogprobs),
    gateLogits: tokens.map(({ gateLogits }) => gateLogits),
    ...(updates !== undefined && {
      weightsVersions: tokens.map((_, index) => settings.weightsVersion + index * updates),
    }),
    prefill: 'full',
    sampling: {
      temperature: 0.7,
      ...(topK === undefined ? {} : { topK }),
      topP: 0.9,
      minP: 0.1,
      repetitionPenalty: 1.1,
      presencePenalty: 0.5,
      frequencyPenalty: -0.5,
    },
    numLoops: 4,
    meanDepth: meanDepthOf(tokens.map(({ exitDepth }) => exitDepth)),
    ...settings,
  }));

describe('rollout records', () => {
  test('written to JSON text and read back are equal, every number to the last bit', () => {
    fc.assert(
      fc.property(record, (rollout) => {
        // JSON has one zero
        const expected = JSON.parse(JSON.stringify(rollout));
        expect(parseRollout(JSON.parse(JSON.stringify(rolloutToJson(rollout))))).toEqual(expected);
      }),
      { seed: 61 },
    );
  });

  test.each(['tiny-mha', 'tiny-gqa-tied'])('%s: the golden rollouts are valid records', (model) => {
    const path = new URL(`../../test/fixtures/${model}/golden.json`, import.meta.url);
    const { generate } = JSON.parse(readFileSync(path, 'utf8'));
    const kvPolicies = new Map([
      ['full', 'per-loop'],
      ['exact', 'per-loop'],
    ]);
    expect(generate.runs.length).toBeGreaterThan(10);
    for (const run of generate.runs) {
      const rollout = parseRollout({
        ...example,
        promptIds: generate.prompt,
        tokenIds: run.tokens,
        exitDepths: run.exit_steps,
        logprobs: run.token_logprob,
        behaviorLogprobs: run.tokens.map(() => 0), // greedy
        loopLogprobs: run.loop_logprobs,
        gateLogits: run.gate_logits,
        exitPolicy: run.q === null ? 'full' : `cdf:${run.q}`,
        kvPolicy: kvPolicies.get(run.mode) ?? run.mode,
        numLoops: run.gate_logits[0].length,
        meanDepth: meanDepthOf(run.exit_steps),
        finishReason: 'max-new-tokens',
      });
      expect(rollout.tokenIds).toHaveLength(24);
    }
  });

  test('the mean depth of no token is zero', () => {
    expect(meanDepthOf([])).toBe(0);
    expect(meanDepthOf([1, 2, 4, 1])).toBe(2);
  });

  test('an inconsistent record is never written', () => {
    expect(() => rolloutToJson({ ...example, exitDepths: [1] })).toThrow('Internal error');
  });

  test.each<[string, Partial<Record<keyof RolloutRecord, unknown>>, string]>([
    [
      'a length',
      { logprobs: [-0.5] },
      'logprobs is a list of 1; it must have one entry for each of the 2 tokens.',
    ],
    [
      'a depth beyond the run',
      { numLoops: 1 },
      'exitDepths.0 is 2; it must be a depth from 1 to 1.',
    ],
    [
      'too few loops',
      { loopLogprobs: [[-1], [-0.25]] },
      'loopLogprobs.0 is a list of 1; it must have one entry for every executed loop, 2 to 3.',
    ],
    [
      'too few gates',
      { gateLogits: [[0, 0, 0], []] },
      'gateLogits.1 is a list of 0; it must have 1 entries',
    ],
    [
      'another log-prob',
      { logprobs: [-0.4, -0.25] },
      'logprobs.0 is -0.4; it must be the entry of loopLogprobs at the exit depth.',
    ],
    [
      'too few versions',
      { weightsVersions: [0] },
      'weightsVersions is a list of 1; it must have one entry for each of the 2 tokens.',
    ],
    [
      'a version that falls',
      { weightsVersion: 2, weightsVersions: [3, 2] },
      'weightsVersions is a list of 2; it must rise from weightsVersion.',
    ],
    ['a version', { weightsVersion: -1 }, 'weightsVersion is -1; it must be a whole number from 0'],
    ['another mean', { meanDepth: 2 }, 'meanDepth is 2; it must be the mean of exitDepths.'],
    [
      'a positive log-prob',
      { logprobs: [0.5, -0.25] },
      'logprobs.0 is 0.5; it must be a log-probability, at most 0.',
    ],
    ['an id', { promptIds: [1.5] }, 'promptIds.0 is 1.5; it must be a token id'],
    [
      'a KV policy',
      { kvPolicy: 'mean' },
      'kvPolicy is "mean"; it must be one of per-loop, last-exited, shared.',
    ],
    [
      'a finish reason',
      { finishReason: 'done' },
      'finishReason is "done"; it must be one of stop-id,',
    ],
    ['an exit policy', { exitPolicy: 'cdf' }, 'Exit policy "cdf" cannot be read'],
    [
      'a sampling setting',
      { sampling: { temperature: -1 } },
      'sampling.temperature is -1; it must be a number from 0 up.',
    ],
    [
      'a field of the sampling',
      { sampling: { seed: 1 } },
      'Field "seed" of sampling is not known; remove it.',
    ],
    ['no seed', { seed: undefined }, 'seed is missing; it must be a whole number'],
  ])('%s that does not fit is refused', (_, change, message) => {
    expect(() => parseRollout({ ...example, ...change })).toThrow(ConfigError);
    expect(() => parseRollout({ ...example, ...change })).toThrow(message);
  });

  test('a field that is not known, and anything but an object, is refused', () => {
    expect(() => parseRollout({ ...example, reward: 1 })).toThrow(
      'Field "reward" of the rollout record is not known; remove it. Known are promptIds,',
    );
    expect(() => parseRollout([])).toThrow(
      'Got a list of 0 as the rollout record; it must be an object.',
    );
  });
});
