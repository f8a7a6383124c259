/**
 * From one row of logits to the next token.
 *
 * The order is Hugging Face's: bias and penalties on the logits, temperature, topK, topP, minP; each
 * filter sees the distribution that the ones before it left, renormalised. The one idea: with the
 * tokens sorted by probability all three filters keep a prefix, so together they are one count.
 * Knows nothing of depth, stop rules or text.
 * Source: Hugging Face transformers' logits processors; minP: arXiv 2407.01082; bias, presence and
 * frequency: OpenAI's API reference.
 */
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import type { LogitsRow } from './logits.js';
import { argmax, placesOfLargest } from './logits.js';
import { numberWhere, parseFields } from '../util/parse-fields.js';
import { drawUniform } from './random.js';
import type { BehaviorLogprobs } from './token-logprobs.js';

/** How tokens are chosen. `parseSamplingOptions` fills what is left out. */
export interface SamplingOptions {
  /** Divides the logits; 0 is greedy: the most likely token, the lowest id on ties. Default 0. */
  readonly temperature: number;
  /** Keeps that many most likely tokens, lower ids first on ties. Absent: keeps all. */
  readonly topK?: number | undefined;
  /** Keeps the fewest most likely tokens that reach this probability, (0, 1]. Default 1: all. */
  readonly topP: number;
  /** Keeps tokens at least this fraction as likely as the best, [0, 1]. Default 0: all. */
  readonly minP: number;
  /** Divides positive, multiplies negative logits of tokens seen before, 0.01 to 100. Default 1: off. */
  readonly repetitionPenalty: number;
  /** Taken from the logits of tokens that were generated before, -2 to 2. Default 0. */
  readonly presencePenalty: number;
  /** Taken from them once for each time, -2 to 2. Default 0. */
  readonly frequencyPenalty: number;
  /** Added to the logits of single tokens, by their ids, -100 to 100. Default none. */
  readonly logitBias?: Readonly<Record<number, number>> | undefined;
  /** Seed of all draws of the request, of exits as well as tokens, 0 to 2^53 - 1. Default 0. */
  readonly seed: number;
}

const isWhole = Number.isSafeInteger;

const penalty = numberWhere(
  'it must be a number from -2 to 2. Use 0 for no penalty.',
  (v) => v >= -2 && v <= 2,
).default(0);

const BIAS_RULE =
  'it must be an object of token ids and numbers from -100 to 100. Leave it out for none.';
const biasByToken = z.record(
  z.string(BIAS_RULE).regex(/^\d+$/, BIAS_RULE),
  numberWhere(BIAS_RULE, (v) => v >= -100 && v <= 100),
  BIAS_RULE,
);

/** Schema behind `parseSamplingOptions`, to be part of larger schemas. */
export const samplingSchema = z.strictObject(
  {
    temperature: numberWhere(
      'it must be a number from 0 up. Use 0 for greedy.',
      (v) => v >= 0,
    ).default(0),
    topK: numberWhere(
      'it must be a whole number from 1 up. Leave it out to keep all tokens.',
      (v) => isWhole(v) && v >= 1,
    ).optional(),
    topP: numberWhere(
      'it must be in (0, 1]. Use 1 to keep all tokens.',
      (v) => v > 0 && v <= 1,
    ).default(1),
    minP: numberWhere(
      'it must be in [0, 1]. Use 0 to keep all tokens.',
      (v) => v >= 0 && v <= 1,
    ).default(0),
    repetitionPenalty: numberWhere(
      'it must be a number from 0.01 to 100. Use 1 for no penalty.',
      (v) => v >= 0.01 && v <= 100,
    ).default(1),
    presencePenalty: penalty,
    frequencyPenalty: penalty,
    logitBias: biasByToken.optional(),
    seed: numberWhere(
      'it must be a whole number from 0 to 2^53 - 1. Any of them will do.',
      (v) => isWhole(v) && v >= 0,
    ).default(0),
  },
  'it must be an object. Use {} for greedy decoding.',
);

/**
 * Sampling settings from flags, a request or a file.
 *
 * @throws ConfigError for a value outside its range, an unknown field, and a filter that greedy
 *   decoding would ignore.
 */
export function parseSamplingOptions(value: unknown): SamplingOptions {
  const options = parseFields(samplingSchema, value, 'the sampling settings');
  const { temperature, topK, topP, minP } = options;
  if (temperature > 0) return options;
  if (topK !== undefined) throw uselessFilter('topK', topK);
  if (topP < 1) throw uselessFilter('topP', topP);
  if (minP > 0) throw uselessFilter('minP', minP);
  return options;
}

function uselessFilter(field: string, value: number): ConfigError {
  return new ConfigError(
    field,
    `${field} is ${value} and temperature is 0; a filter needs a temperature above 0, since greedy ` +
      `decoding takes the best token anyway. Leave ${field} out or set temperature to 1.`,
  );
}

/** The tokens before the one that is drawn, duplicates allowed; read only with a penalty. */
export interface SeenTokens {
  readonly prompt: Iterable<number>;
  readonly generated: Iterable<number>;
}

/** Tokens that may be drawn, in rising id order, and their probabilities, which sum to 1. */
export interface TokenDistribution {
  readonly ids: Uint32Array;
  readonly probs: Float64Array;
}

/**
 * Draws the next token.
 *
 * @param logits - `[V]`, borrowed; -Infinity marks an impossible token.
 * @param tokenIndex - index of the generated token, from 0. Together with the seed it decides the
 *   draw, whatever was drawn before.
 * @throws CheckpointError if the row holds NaN or +Infinity, or nothing but -Infinity.
 */
export function sampleToken(
  logits: LogitsRow,
  options: SamplingOptions,
  seen: SeenTokens,
  tokenIndex: number,
): number {
  return drawToken(tokenDistribution(logits, options, seen), options, tokenIndex);
}

/** The draw of `sampleToken` from a distribution that is known. */
export function drawToken(
  { ids, probs }: TokenDistribution,
  { seed }: Pick<SamplingOptions, 'seed'>,
  tokenIndex: number,
): number {
  if (ids.length === 1) return ids[0]!;
  const u = drawUniform(seed, tokenIndex, 'token');
  let reached = 0;
  let drawn = 0;
  // the last possible token wins where rounding leaves the sum of all a hair below u
  for (let n = 0; n < ids.length && reached <= u; n += 1) {
    if (probs[n]! > 0) drawn = n;
    reached += probs[n]!;
  }
  return ids[drawn]!;
}

/**
 * The distribution that `sampleToken` draws from: all tokens that survive the filters.
 *
 * @throws CheckpointError as `sampleToken`.
 */
export function tokenDistribution(
  logits: LogitsRow,
  options: SamplingOptions,
  seen: SeenTokens,
): TokenDistribution {
  const row = penalise(logits, options, seen);
  const best = argmax(row);
  if (options.temperature === 0) return { ids: Uint32Array.of(best), probs: Float64Array.of(1) };
  const largest = row[best]!;
  const weights = new Float64Array(row);
  for (let id = 0; id < weights.length; id += 1) {
    // relative to the best token, so that no temperature overflows
    weights[id] = Math.exp((weights[id]! - largest) / options.temperature);
  }
  const ids = survivingIds(weights, options);
  // rising ids: none is read after its place has been taken
  const probs = weights.subarray(0, ids.length);
  for (let n = 0; n < ids.length; n += 1) probs[n] = weights[ids[n]!]!;
  const total = sum(probs);
  for (let n = 0; n < ids.length; n += 1) probs[n]! /= total;
  return { ids, probs };
}

/** Log-probability with which a token is drawn from a distribution, and the tokens most likely to be. */
export function samplingLogprobs(
  { ids, probs }: TokenDistribution,
  tokenId: number,
  count = 0,
): BehaviorLogprobs {
  const logprob = (place: number) => {
    const prob = probs[place] ?? 0;
    return prob > 0 ? Math.min(0, Math.log(prob)) : null;
  };
  const best = placesOfLargest(probs, count).flatMap((place) => {
    const value = logprob(place);
    return value === null ? [] : [{ tokenId: ids[place]!, logprob: value }];
  });
  return { logprob: logprob(ids.indexOf(tokenId)), topLogprobs: best };
}

/** The row with bias and penalties in it; the row itself if there are none. */
function penalise(logits: LogitsRow, options: SamplingOptions, seen: SeenTokens): LogitsRow {
  const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = options;
  const countsTokens = presencePenalty !== 0 || frequencyPenalty !== 0;
  if (repetitionPenalty === 1 && !countsTokens && !logitBias) return logits;
  const row = new Float64Array(logits);
  for (const [id, bias] of Object.entries(logitBias ?? {})) {
    if (Number(id) < row.length) row[Number(id)]! += bias;
  }
  if (repetitionPenalty !== 1) {
    const ids = new Set(seen.prompt);
    for (const id of seen.generated) ids.add(id);
    for (const id of ids) {
      const logit = row[id]!;
      row[id] = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
    }
  }
  if (countsTokens) {
    const generated = [...seen.generated];
    for (const id of generated) row[id]! -= frequencyPenalty;
    for (const id of new Set(generated)) row[id]! -= presencePenalty;
  }
  return row;
}

/** Ids that survive topK, topP and minP, rising; of equal weights the lower ids come first. */
function survivingIds(weights: Float64Array, options: SamplingOptions): Uint32Array {
  const { topK, topP, minP } = options;
  const isFiltered = topK !== undefined || topP < 1 || minP > 0;
  if (!isFiltered) {
    const all = new Uint32Array(weights.length);
    for (let id = 0; id < all.length; id += 1) all[id] = id;
    return all;
  }
  const falling = weights.toSorted().toReversed();
  const ids = new Uint32Array(numKept(falling.subarray(0, topK), topP, minP));
  const cutoff = falling[ids.length - 1]!;
  let numTies = ids.length - falling.indexOf(cutoff);
  let n = 0;
  for (let id = 0; n < ids.length; id += 1) {
    if (weights[id]! > cutoff || (weights[id] === cutoff && numTies-- > 0)) ids[n++] = id;
  }
  return ids;
}

/** How many of the falling weights topP and minP keep; at least one. */
function numKept(falling: Float64Array, topP: number, minP: number): number {
  const leastWeight = minP * falling[0]!;
  // with topP 1 the mass is out of reach, whatever the sum rounds to
  const mass = topP < 1 ? topP * sum(falling) : Infinity;
  let reached = 0;
  let count = 0;
  for (const weight of falling) {
    if (reached >= mass || weight < leastWeight) break;
    reached += weight;
    count += 1;
  }
  return count;
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
