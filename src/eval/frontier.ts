/**
 * Accuracy against mean depth of exit policies, worked out from readings without running the model.
 *
 * The one idea: a policy at a threshold gives every position a distribution over depths (all mass on
 * one depth, unless it draws), and readings say whether each depth is right. Exact for the `per-loop`
 * KV policy only, where no token's loops depend on another's exit; the others must be run
 * (stream-accuracy.ts).
 */
import type { ExitPolicy } from '../engine/index.js';
import { cdfThreshold, exitDistribution, ExitTracker, fixedDepth } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import type { LoopReading, LoopReadings } from './readings.js';
import { mean, meanRows } from './statistics.js';

/** Policies with their threshold left open; `oracle` stops at the first depth that is right. */
export const POLICY_FAMILIES = [
  'fixed',
  'cdf',
  'delta',
  'kl',
  'confidence',
  'sampled',
  'oracle',
] as const;
export type PolicyFamily = (typeof POLICY_FAMILIES)[number];

/** A policy at a threshold, over one or many positions. */
export interface FrontierPoint {
  readonly policy: PolicyFamily;
  /** Absent for `sampled` and `oracle`, which have none. */
  readonly threshold?: number;
  /** Mean exit depth, 1 to R. */
  readonly meanDepth: number;
  /** Fraction of right answers. */
  readonly accuracy: number;
}

/** Probability of each depth for one position, `[R]`. */
type DepthPdf = (loops: readonly LoopReading[]) => readonly number[];

const WITH_THRESHOLD = {
  fixed: (depth: number) => tracked(fixedDepth(depth)),
  cdf: (exitThreshold: number) => tracked(cdfThreshold(exitThreshold)),
  delta: (eps: number) => firstWhere(({ stateDelta }) => stateDelta < eps),
  kl: (eps: number) => firstWhere(({ kl }) => kl < eps),
  confidence: (prob: number) => firstWhere(({ topProb }) => prob < 1 && topProb >= prob),
} as const satisfies Partial<Record<PolicyFamily, (threshold: number) => DepthPdf>>;

const WITHOUT_THRESHOLD = {
  sampled: (loops) => exitDistribution(loops.map(({ gateLogit }) => gateLogit)).exitPdf,
  oracle: firstWhere(({ isCorrect }) => isCorrect),
} as const satisfies Partial<Record<PolicyFamily, DepthPdf>>;

/**
 * The points of a policy family, one for each threshold, or its single point if it has none.
 *
 * @param groups - readings whose groups count the same, however many positions each has.
 * @param thresholds - depths for `fixed`, q for `cdf`, eps for `delta` and `kl`, a probability for
 *   `confidence`; empty for `sampled` (expected values are given) and `oracle`.
 * @throws ConfigError if a policy that has a threshold is given none
 */
export function frontier(
  groups: readonly (readonly LoopReadings[])[],
  policy: PolicyFamily,
  thresholds: readonly number[] = [],
): FrontierPoint[] {
  if (policy === 'sampled' || policy === 'oracle') {
    return [{ policy, ...groupMeans(groups, WITHOUT_THRESHOLD[policy]) }];
  }
  if (thresholds.length === 0) {
    throw new ConfigError(
      'thresholds',
      `The frontier of ${policy} has 0 thresholds; it needs at least 1. Give the values to try.`,
    );
  }
  return thresholds.map((threshold) => ({
    policy,
    threshold,
    ...groupMeans(groups, WITH_THRESHOLD[policy](threshold)),
  }));
}

/** Fraction of positions that are right at each depth, `[R]`. */
export function accuracyByDepth(readings: readonly LoopReadings[]): number[] {
  return meanRows(readings.map(({ loops }) => loops.map(({ isCorrect }) => Number(isCorrect))));
}

/** Mean depth at which positions exit under Q-exit. @param exitThreshold - in (0, 1] */
export function meanExitDepth(readings: readonly LoopReadings[], exitThreshold: number): number {
  return groupMeans([readings], WITH_THRESHOLD.cdf(exitThreshold)).meanDepth;
}

/** Fraction of positions that exit at each depth under Q-exit, `[R]`. */
export function exitShares(readings: readonly LoopReadings[], exitThreshold: number): number[] {
  const depthPdf = WITH_THRESHOLD.cdf(exitThreshold);
  return meanRows(readings.map(({ loops }) => depthPdf(loops)));
}

/** The same readings as if the run had stopped after `numLoops` loops. */
export function truncateLoops(
  readings: readonly LoopReadings[],
  numLoops: number,
): readonly LoopReadings[] {
  return readings.map((reading) => ({ ...reading, loops: reading.loops.slice(0, numLoops) }));
}

/** The point of least mean depth that reaches an accuracy; undefined if none does. */
export function cheapestPoint(
  points: readonly FrontierPoint[],
  leastAccuracy: number,
): FrontierPoint | undefined {
  return points
    .filter(({ accuracy }) => accuracy >= leastAccuracy)
    .toSorted((a, b) => a.meanDepth - b.meanDepth)[0];
}

/** Points of several sets at the same thresholds as one: the mean of each pair of numbers. */
export function meanPoints(sets: readonly (readonly FrontierPoint[])[]): FrontierPoint[] {
  return (sets[0] ?? []).map((point, index) => ({
    ...point,
    meanDepth: mean(sets.map((points) => points[index]!.meanDepth)),
    accuracy: mean(sets.map((points) => points[index]!.accuracy)),
  }));
}

function groupMeans(
  groups: readonly (readonly LoopReadings[])[],
  depthPdf: DepthPdf,
): Pick<FrontierPoint, 'meanDepth' | 'accuracy'> {
  const rows = groups.map((readings) =>
    meanRows(readings.map((reading) => outcome(reading, depthPdf))),
  );
  const [meanDepth, accuracy] = meanRows(rows);
  return { meanDepth: meanDepth ?? NaN, accuracy: accuracy ?? NaN };
}

/** Expected depth and probability of a right answer. */
function outcome({ loops }: LoopReadings, depthPdf: DepthPdf): readonly [number, number] {
  let [depth, accuracy] = [0, 0];
  depthPdf(loops).forEach((prob, loopIndex) => {
    depth += prob * (loopIndex + 1);
    if (loops[loopIndex]!.isCorrect) accuracy += prob;
  });
  return [depth, accuracy];
}

/** Runs the policy itself over the gate logits; for policies that need nothing else. */
function tracked(policy: ExitPolicy): DepthPdf {
  return (loops) => {
    const tracker = new ExitTracker(policy, { numLoops: loops.length, seed: 0, tokenIndex: 0 });
    return oneHot(
      loops.findIndex(({ gateLogit }) => tracker.observe({ gateLogit })),
      loops.length,
    );
  };
}

/** Exits at the first loop that fulfils a condition, at the last if none does. */
function firstWhere(condition: (loop: LoopReading) => boolean): DepthPdf {
  return (loops) => {
    const found = loops.findIndex(condition);
    return oneHot(found < 0 ? loops.length - 1 : found, loops.length);
  };
}

function oneHot(index: number, length: number): readonly number[] {
  return Array.from({ length }, (_, other) => (other === index ? 1 : 0));
}
