/**
 * Log-probabilities of tokens, read from the logits of a loop: no temperature, no filters.
 *
 * A token's log-probability is the same float wherever it is told: alone, among the most likely ones, or
 * in a record.
 */
import type { Readout } from './runner/model-ends.js';

/** A token and log softmax(logits)[token], at most 0. */
export interface TokenLogprob {
  readonly tokenId: number;
  readonly logprob: number;
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

/** The most likely tokens, falling; lower ids first on ties. */
export function mostLikely(readout: Readout, count: number): readonly TokenLogprob[] {
  const { logits } = readout;
  const best: number[] = [];
  const most = Math.min(count, logits.length);
  for (let id = 0; id < logits.length && most > 0; id += 1) {
    if (best.length === most && !(logits[id]! > logits[best.at(-1)!]!)) continue;
    let place = best.length;
    while (place > 0 && logits[id]! > logits[best[place - 1]!]!) place -= 1;
    best.splice(place, 0, id);
    best.length = Math.min(best.length, most);
  }
  return best.map((tokenId) => ({ tokenId, logprob: logprobOf(readout, tokenId) }));
}
