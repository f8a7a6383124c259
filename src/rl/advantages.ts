/**
 * From the rewards of a group to advantages, and how much each token of a sequence counts.
 *
 * A group are several answers to one prompt; an advantage says how much better an answer is than its
 * group. Source: Shao et al. 2024 (arXiv 2402.03300) for GRPO, Liu et al. 2025 (arXiv 2503.20783) for the
 * terms that may be left out; docs/math.md (advantages).
 */

/** Keeps the advantages of nearly equal rewards finite. */
const STD_EPSILON = 1e-4;

/**
 * The reward of each answer less the mean of its group.
 *
 * @param dividesByDeviation - in units of the group's standard deviation (of the sample)
 */
export function groupAdvantages(
  rewards: readonly number[],
  { dividesByDeviation }: { readonly dividesByDeviation: boolean },
): readonly number[] {
  const mean = meanOf(rewards);
  const centred = rewards.map((reward) => reward - mean);
  if (!dividesByDeviation) return centred;
  const squares = centred.reduce((sum, value) => sum + value * value, 0);
  const deviation = Math.sqrt(squares / Math.max(1, rewards.length - 1));
  return centred.map((value) => value / (deviation + STD_EPSILON));
}

/** Whether a group tells nothing: all its rewards are equal. */
export const isWithoutVariance = (rewards: readonly number[]): boolean =>
  rewards.every((reward) => reward === rewards[0]);

/**
 * How the terms of tokens are averaged: `sequence` gives every sequence the same weight whatever its
 * length (GRPO), `token` every token, `constant` divides by the longest that a sequence may be.
 */
export const LENGTH_NORMS = ['sequence', 'token', 'constant'] as const;
export type LengthNorm = (typeof LENGTH_NORMS)[number];

/**
 * For each sequence, the weight of its tokens in a mean over all tokens of an update.
 *
 * @param lengths - tokens of each sequence, at least 1
 * @param maxLength - the longest that a sequence may be
 */
export function tokenWeights(
  lengths: readonly number[],
  norm: LengthNorm,
  maxLength: number,
): readonly number[] {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const share = total / lengths.length;
  return lengths.map((length) => {
    if (norm === 'token') return 1;
    return share / (norm === 'sequence' ? length : maxLength);
  });
}

/** 0 for none. */
export const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
