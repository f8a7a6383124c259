/**
 * The exit distribution: from the gate's logit after every loop to the probability of each depth.
 *
 * The one idea: a gate logit is the log-odds of exiting now, given that the token is still running.
 * Everything is float64, and 1 - sigmoid(x) is computed as sigmoid(-x), so that a nearly closed or
 * nearly open gate loses no digits. Knows nothing of policies, thresholds or tensors.
 * Source: Ouro (arXiv 2510.25741), exit probabilities; docs/math.md (exit-pdf).
 */
import { assert } from '../errors.js';

/** Per-depth probabilities of one token; entry `depth - 1` belongs to `depth`. */
export interface ExitDistribution {
  /** Lambda: probability of exiting after this loop, given that the loop was run. */
  readonly exitProb: readonly number[];
  /** Probability that this loop is run at all; 1 for the first. */
  readonly survivalProb: readonly number[];
  /** Probability of exiting exactly here. The last loop takes what is left, so it sums to 1. */
  readonly exitPdf: readonly number[];
  /** Probability of having exited by the end of this loop; exactly 1 for the last. */
  readonly exitCdf: readonly number[];
}

/** Logistic function 1 / (1 + exp(-x)); exact to float64 rounding on both tails. */
export function sigmoid(x: number): number {
  // exp of a non-positive number only, so nothing overflows
  const tail = Math.exp(-Math.abs(x));
  return (x >= 0 ? 1 : tail) / (1 + tail);
}

/** log(sigmoid(x)), finite wherever the result is representable (about `x` for very negative x). */
export function logSigmoid(x: number): number {
  return Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
}

/**
 * Exit distribution of one token from its gate logits after loops 1..R.
 *
 * @param gateLogits - `[R]` with R >= 1, before the sigmoid. The last one decides nothing: at the
 *   last loop the token exits whatever the gate says (its `exitProb` is still reported).
 */
export function exitDistribution(gateLogits: readonly number[]): ExitDistribution {
  assert(gateLogits.length > 0, 'an exit distribution needs the gate logit of at least one loop');
  const exitProb = gateLogits.map(sigmoid);
  const survivalProb: number[] = [];
  const exitPdf: number[] = [];
  const exitCdf: number[] = [];
  let survival = 1;
  for (const [loopIndex, gateLogit] of gateLogits.entries()) {
    const isLast = loopIndex === gateLogits.length - 1;
    survivalProb.push(survival);
    exitPdf.push(isLast ? survival : sigmoid(gateLogit) * survival);
    survival *= isLast ? 0 : sigmoid(-gateLogit);
    exitCdf.push(1 - survival);
  }
  return { exitProb, survivalProb, exitPdf, exitCdf };
}

/**
 * log p(depth) of one token, finite for saturated gates.
 *
 * @param gateLogits - of the loops that ran, at least up to `depth`; what lies deeper does not matter
 * @param numLoops - R: at the last loop a token exits whatever the gate says
 */
export function exitLogProb(
  gateLogits: readonly number[],
  depth: number,
  numLoops: number,
): number {
  const before = gateLogits
    .slice(0, depth - 1)
    .reduce((sum, gateLogit) => sum + logSigmoid(-gateLogit), 0);
  return depth === numLoops ? before : before + logSigmoid(gateLogits[depth - 1]!);
}
