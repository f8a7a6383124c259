/**
 * Log-probabilities of tokens, read from the logits of a loop: no temperature, no filters.
 *
 * A token's log-probability is the same float wherever it is told: alone, among the most likely ones, or
 * in a record.
 */
import { logSumExp as normaliserOf, placesOfLargest } from './logits.js';
import type { Readout } from './runner/model-ends.js';

/** A token and log softmax(logits)[token], at most 0. */
export interface TokenLogprob {
  readonly tokenId: number;
  readonly logprob: number;
}

/** How a token was drawn: after bias, penalties, temperature and filters. */
export interface BehaviorLogprobs {
  /** Null for a forced token that could not have been drawn. */
  readonly logprob: number | null;
  /** The most likely tokens of those that could be drawn, falling. */
  readonly topLogprobs: readonly TokenLogprob[];
}

/** What one loop said of a new token. */
export interface LoopDetail {
  /** The exit gate's logit, before the sigmoid; absent if the model has no exit gate. */
  readonly gateLogit?: number;
  /** Of the token that was taken. */
  readonly logprob: number;
  /** The most likely tokens after this loop, falling. */
  readonly topLogprobs: readonly TokenLogprob[];
}

/** A token of a scored prompt; of the first one only the id is known. */
export interface ScoredToken {
  readonly tokenId: number;
  /** Depth at which the token before it exited, whose readout tells its probability, 1 to R. */
  readonly exitDepth?: number;
  readonly logprob?: number;
  /** The most likely tokens in its place, falling. */
  readonly topLogprobs?: readonly TokenLogprob[];
}

/** Log-probability of a token, at most 0. */
export function logprobOf({ logits, logSumExp }: Readout, tokenId: number): number {
  return Math.min(0, logits[tokenId]! - logSumExp);
}

/** The readout of logits that are divided by a temperature. */
export function cooled(readout: Readout, temperature: number): Readout {
  if (temperature === 1) return readout;
  const logits = readout.logits.map((logit) => logit / temperature);
  return { logits, logSumExp: normaliserOf(logits) };
}

/** The most likely tokens, falling; lower ids first on ties. */
export function mostLikely(readout: Readout, count: number): readonly TokenLogprob[] {
  return placesOfLargest(readout.logits, count).map((tokenId) => {
    return { tokenId, logprob: logprobOf(readout, tokenId) };
  });
}
