/** What the report asks of result files: runs of an arm, their curves, and what they came to. */
import { mean, meanPoints } from 'looplm/eval';
import type { ArmName } from '../arms.js';
import type { Deployment } from '../deployments.js';
import type { Points, Result, Run, UpdateFigure } from '../figures.js';
import type { Series } from '../../lib/spread.js';
import { binned, spreadOf } from '../../lib/spread.js';

type PolicyFigure = 'reward' | 'meanDepth' | 'executedShare';

/** Points of a curve over the updates, about. */
const BINS = 16;

export const runsOf = ({ runs }: Result, arm: ArmName): readonly Run[] =>
  runs.filter((run) => run.arm === arm);

/** A figure of each update, several updates as one point. */
export const curvesOf = (result: Result, arm: ArmName, figure: UpdateFigure): readonly Series[] =>
  runsOf(result, arm).map(({ updates }) => {
    const values = updates[figure];
    return binned(values, Math.max(1, Math.ceil(values.length / BINS)));
  });

/** A figure on fresh problems under a deployment, from the start on. */
export const looksOf = (
  { start, ...result }: Result,
  arm: ArmName,
  deployment: Deployment,
  figure: PolicyFigure,
): readonly Series[] =>
  runsOf({ start, ...result }, arm).map(({ looks }) => [
    [0, start.look[deployment]![figure]],
    ...looks.map(({ trainStep, deployed }) => [trainStep, deployed[deployment]![figure]] as const),
  ]);

/** What the runs of an arm came to under a deployment, by seed. */
export const finalOf = (
  result: Result,
  arm: ArmName,
  deployment: Deployment,
  figure: PolicyFigure,
): readonly number[] => runsOf(result, arm).map(({ deployed }) => deployed[deployment]![figure]);

/** A frontier by its name: one for each run, or one. */
export interface NamedFrontier {
  readonly name: string;
  readonly runs: readonly Points[];
}

/** The mean frontier, and the deviation of its accuracy at each threshold. */
export function meanFrontier({ runs }: NamedFrontier) {
  return meanPoints(runs).map((point, index) => ({
    ...point,
    deviation: spreadOf(runs.map((points) => points[index]!.accuracy)).deviation,
  }));
}

/** Accuracy at full depth. */
export const fullAccuracy = (points: Points): number =>
  points.find(({ threshold }) => threshold === 1)!.accuracy;

/** The best accuracy at no more than a mean depth; 0 if no point is as shallow. */
export const bestWithin = (points: Points, depth: number): number =>
  Math.max(0, ...points.filter((it) => it.meanDepth <= depth).map((it) => it.accuracy));

/** Mean over the runs of a number of each. */
export const overRuns = ({ runs }: NamedFrontier, valueOf: (points: Points) => number): number =>
  mean(runs.map(valueOf));
