/**
 * The record of one finished generation: exactly what was computed, so that it can be run again.
 *
 * The one idea: a trainer that recomputes log-probabilities needs the depth of every token, the
 * policies that decided what was read from the cache, and the settings of every draw. The record is
 * plain JSON data, and reading it checks that its parts agree. Knows nothing of rewards or text.
 * Source: docs/math.md (rollout log-probabilities).
 */
import { z } from 'zod';
import { assert } from '../errors.js';
import type { KvPolicy } from '../model/index.js';
import { KV_POLICIES } from '../model/index.js';
import { parseExitPolicy } from './exit-policy-spec.js';
import { numberWhere, parseFields } from '../util/parse-fields.js';
import type { SamplingOptions } from './sampler.js';
import { samplingSchema } from './sampler.js';

/**
 * How deep prompt tokens go: `full` runs all their loops at once; `deferred` (under `per-loop`, where
 * it changes no result) runs a loop of the prompt only when some later token goes that deep; `adaptive`
 * (under `last-exited`) lets prompt tokens exit as new tokens do, which is another computation.
 */
export const PREFILL_MODES = ['full', 'deferred', 'adaptive'] as const;

/** Name of a prefill mode. */
export type PrefillMode = (typeof PREFILL_MODES)[number];

/** What ended a generation. */
export const FINISH_REASONS = [
  'stop-id',
  'stop-string',
  'max-new-tokens',
  'context-limit',
  'aborted',
] as const;

/** Name of what ended a generation. */
export type FinishReason = (typeof FINISH_REASONS)[number];

/**
 * One finished generation. Entry n of every per-token list belongs to generated token n.
 *
 * The loops executed for token n may be more than its exit depth: the token drawn from the last
 * prompt position has all loops of the prefill.
 */
export interface RolloutRecord {
  readonly promptIds: readonly number[];
  /** Generated ids, the stop id included. */
  readonly tokenIds: readonly number[];
  /** Depth whose readout gave the token, 1 to `numLoops`. */
  readonly exitDepths: readonly number[];
  /** Of an adaptive prefill: exit depths of the prompt, but for its last token. */
  readonly promptExitDepths?: readonly number[];
  /** Natural log of softmax(logits)[token] at the exit depth; no temperature, no filters. */
  readonly logprobs: readonly number[];
  /**
   * Log-probability with which the token was drawn: after repetition penalty, temperature and filters.
   * Null where a forced token could not have been drawn.
   */
  readonly behaviorLogprobs: readonly (number | null)[];
  /** As `logprobs`, for the same token at every executed loop. */
  readonly loopLogprobs: readonly (readonly number[])[];
  /**
   * The exit gate's logit, before the sigmoid, after every executed loop. Absent if the model has no
   * exit gate.
   */
  readonly gateLogits?: readonly (readonly number[])[];
  /**
   * Of the weights that the first token was drawn with (without a token, that would have been): the
   * number of updates behind them, 0 for weights that do not change.
   */
  readonly weightsVersion: number;
  /** By token, if they changed on the way: the version whose logits it was drawn from. */
  readonly weightsVersions?: readonly number[];
  /** Name of the exit policy, as `parseExitPolicy` reads it. */
  readonly exitPolicy: string;
  readonly kvPolicy: KvPolicy;
  readonly prefill: PrefillMode;
  readonly sampling: Omit<SamplingOptions, 'seed'>;
  /** Seed of all draws, of exits as well as tokens. */
  readonly seed: number;
  /** Loops of the run, R. */
  readonly numLoops: number;
  /** Mean of `exitDepths`; 0 if no token was generated. */
  readonly meanDepth: number;
  readonly finishReason: FinishReason;
}

const listRule = 'it must be a list. Take the record as looplm wrote it.';
const isWhole = Number.isSafeInteger;
const tokenIds = z.array(
  numberWhere('it must be a token id, a whole number from 0 up.', (v) => isWhole(v) && v >= 0),
  listRule,
);
const count = numberWhere('it must be a whole number from 1 up.', (v) => isWhole(v) && v >= 1);
const version = numberWhere('it must be a whole number from 0 up.', (v) => isWhole(v) && v >= 0);
const logprob = numberWhere('it must be a log-probability, at most 0.', (v) => v <= 0);
const gateLogit = numberWhere('it must be a finite number.', Number.isFinite);
const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, `it must be one of ${names.join(', ')}.`);

const rolloutSchema = z
  .strictObject(
    {
      promptIds: tokenIds,
      tokenIds,
      exitDepths: z.array(count, listRule),
      promptExitDepths: z.array(count, listRule).exactOptional(),
      logprobs: z.array(logprob, listRule),
      behaviorLogprobs: z.array(logprob.nullable(), listRule),
      loopLogprobs: z.array(z.array(logprob, listRule), listRule),
      gateLogits: z.array(z.array(gateLogit, listRule), listRule).exactOptional(),
      weightsVersion: version,
      weightsVersions: z.array(version, listRule).exactOptional(),
      exitPolicy: z.string('it must be the name of an exit policy, such as cdf:0.5.'),
      kvPolicy: oneOf(KV_POLICIES),
      prefill: oneOf(PREFILL_MODES),
      sampling: samplingSchema.omit({ seed: true }),
      seed: samplingSchema.shape.seed.unwrap(),
      numLoops: count,
      meanDepth: numberWhere('it must be a number from 0 up.', (v) => v >= 0),
      finishReason: oneOf(FINISH_REASONS),
    },
    'it must be an object. Take the record as looplm wrote it.',
  )
  .superRefine((record, context) => {
    const fault = disagreement(record);
    if (fault) context.addIssue({ code: 'custom', ...fault });
  });

/** A rollout record as a fresh plain object for `JSON.stringify`, its fields in the order above. */
export function rolloutToJson(record: RolloutRecord): RolloutRecord {
  const result = rolloutSchema.safeParse(record);
  assert(result.success, `a rollout record is not consistent: ${result.error?.message}`);
  return result.data;
}

/**
 * A rollout record from parsed JSON.
 *
 * @throws ConfigError for a field that is missing, unknown or out of range, for parts that disagree
 *   with each other, and for an exit policy that cannot be read.
 */
export function parseRollout(value: unknown): RolloutRecord {
  const record = parseFields(rolloutSchema, value, 'the rollout record');
  parseExitPolicy(record.exitPolicy);
  return record;
}

/** Mean exit depth of generated tokens; 0 for none. */
export function meanDepthOf(exitDepths: readonly number[]): number {
  return exitDepths.reduce((sum, depth) => sum + depth, 0) / Math.max(1, exitDepths.length);
}

/** A record whose text ends earlier: only its first tokens, in every list that has one entry for each. */
export function cutRollout(
  record: RolloutRecord,
  length: number,
  finishReason: FinishReason,
): RolloutRecord {
  const kept = (['tokenIds', ...PER_TOKEN] as const).flatMap((field) => {
    const list = record[field];
    return list ? [[field, list.slice(0, length)] as const] : [];
  });
  const meanDepth = meanDepthOf(record.exitDepths.slice(0, length));
  return { ...record, ...Object.fromEntries(kept), meanDepth, finishReason };
}

interface Fault {
  readonly path: (string | number)[];
  readonly message: string;
}

const PER_TOKEN = [
  'exitDepths',
  'logprobs',
  'behaviorLogprobs',
  'loopLogprobs',
  'gateLogits',
  'weightsVersions',
] as const satisfies readonly (keyof RolloutRecord)[];

/** The first way in which the parts of a record contradict each other. */
function disagreement(record: RolloutRecord): Fault | undefined {
  const { tokenIds: ids, exitDepths, numLoops } = record;
  for (const field of PER_TOKEN) {
    if ((record[field]?.length ?? ids.length) === ids.length) continue;
    return {
      path: [field],
      message: `it must have one entry for each of the ${ids.length} tokens.`,
    };
  }
  if (Math.abs(record.meanDepth - meanDepthOf(exitDepths)) > 1e-9) {
    return { path: ['meanDepth'], message: 'it must be the mean of exitDepths.' };
  }
  const versions = [record.weightsVersion, ...(record.weightsVersions ?? [])];
  if (versions.some((later, n) => later < (versions[n - 1] ?? 0))) {
    return { path: ['weightsVersions'], message: 'it must rise from weightsVersion.' };
  }
  return ids.map((_, n) => tokenFault(record, n, numLoops)).find((fault) => fault !== undefined);
}

function tokenFault(record: RolloutRecord, n: number, numLoops: number): Fault | undefined {
  const exitDepth = record.exitDepths[n]!;
  const numExecuted = record.loopLogprobs[n]!.length;
  if (exitDepth > numLoops) {
    return { path: ['exitDepths', n], message: `it must be a depth from 1 to ${numLoops}.` };
  }
  if (numExecuted < exitDepth || numExecuted > numLoops) {
    const message = `it must have one entry for every executed loop, ${exitDepth} to ${numLoops}.`;
    return { path: ['loopLogprobs', n], message };
  }
  if (record.gateLogits && record.gateLogits[n]!.length !== numExecuted) {
    const message = `it must have ${numExecuted} entries, as loopLogprobs has.`;
    return { path: ['gateLogits', n], message };
  }
  if (record.logprobs[n] !== record.loopLogprobs[n]![exitDepth - 1]) {
    return {
      path: ['logprobs', n],
      message: 'it must be the entry of loopLogprobs at the exit depth.',
    };
  }
  return undefined;
}
