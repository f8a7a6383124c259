/**
 * Measures the bundled model on its questions: everything that follows from full-depth readings.
 *
 * The one idea: one pass over the questions at twice the trained loops tells accuracy at every depth
 * and the outcome of every exit policy; only another gate needs another pass.
 */
import type {
  FrontierPoint,
  LoopReadings,
  PolicyFamily,
  ReadLoopsOptions,
  ReadModel,
} from 'looplm/eval';
import {
  accuracyByDepth,
  cheapestPoint,
  exitShares,
  frontier,
  meanExitDepth,
  meanPoints,
  POLICY_FAMILIES,
  readLoops,
  spearman,
  truncateLoops,
} from 'looplm/eval';
import type { Cell, Evaluation } from './figures.js';
import type { QuestionSet } from './question-sets.js';

/** Questions of one task and difficulty with their readings. */
export interface MeasuredSet extends QuestionSet {
  readonly readings: readonly LoopReadings[];
}

/** Thresholds that are tried; the ends of each range are close to depth 1 and to full depth. */
const THRESHOLDS: Readonly<Record<PolicyFamily, readonly number[]>> = {
  fixed: [1, 2, 3, 4],
  cdf: [
    0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09,
    0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85,
    0.9, 0.95, 0.98, 0.99, 1,
  ],
  delta: [0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.2, 1.5],
  kl: [1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
  confidence: [
    0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 0.9999, 1,
  ],
  sampled: [],
  oracle: [],
};

/** Part of the full-depth accuracy that a cheap threshold must keep. */
const KEPT_ACCURACY = 0.99;

/** Reads all questions of the sets in one pass. */
export async function measureSets(
  model: ReadModel,
  sets: readonly QuestionSet[],
  options: ReadLoopsOptions = {},
): Promise<MeasuredSet[]> {
  const documents = sets.flatMap(({ questions }) => questions);
  const readings = await readLoops(model, documents, options);
  let start = 0;
  return sets.map((set) => ({
    ...set,
    readings: readings.slice(start, (start += set.questions.length)),
  }));
}

/** The same sets as if the model had stopped after `numLoops` loops. */
export function truncateSets(sets: readonly MeasuredSet[], numLoops: number): MeasuredSet[] {
  return sets.map((set) => ({ ...set, readings: truncateLoops(set.readings, numLoops) }));
}

/** Accuracy of a set at every depth that was read. */
export function accuracyCell({ kind, task, difficulty, readings }: MeasuredSet): Cell {
  return { kind, task, difficulty, n: readings.length, accuracyByDepth: accuracyByDepth(readings) };
}

/** Where the answers of a set exit under Q-exit. */
export function exitFigures(
  { readings }: MeasuredSet,
  exitThreshold: number,
): Pick<Evaluation['trained'][number], 'meanExitDepth' | 'exitShares'> {
  return {
    meanExitDepth: meanExitDepth(readings, exitThreshold),
    exitShares: exitShares(readings, exitThreshold),
  };
}

/** Points of a policy for each task, over all its questions. */
function taskFrontiers(
  sets: readonly MeasuredSet[],
  policy: PolicyFamily,
  thresholds = THRESHOLDS[policy],
): Record<string, FrontierPoint[]> {
  return eachTask(sets, (task) =>
    frontier(
      [sets.filter((set) => set.task === task).flatMap(({ readings }) => readings)],
      policy,
      thresholds,
    ),
  );
}

/** Points of a policy over all tasks, which count the same. */
export function overallFrontier(
  sets: readonly MeasuredSet[],
  policy: PolicyFamily,
  thresholds = THRESHOLDS[policy],
): FrontierPoint[] {
  return meanPoints(Object.values(taskFrontiers(sets, policy, thresholds)));
}

/** Spearman's correlation of mean exit depth with difficulty, for each task that has several. */
export function rankCorrelations(
  sets: readonly MeasuredSet[],
  exitThreshold: number,
): Record<string, number> {
  const isGraded = ({ task, difficulty }: MeasuredSet) =>
    sets.some((other) => other.task === task && other.difficulty !== difficulty);
  return eachTask(sets.filter(isGraded), (task) => {
    const ofTask = sets.filter((set) => set.task === task);
    return spearman(
      ofTask.map(({ difficulty }) => difficulty),
      ofTask.map(({ readings }) => meanExitDepth(readings, exitThreshold)),
    );
  });
}

/** What is said of one gate: its Q-exit frontier, and where it is cheapest. */
export function gateFigures(
  gate: Evaluation['gates'][number]['gate'],
  sets: readonly MeasuredSet[],
): Omit<Evaluation['gates'][number], 'adaptive'> {
  const pointsByTask = taskFrontiers(sets, 'cdf');
  const points = meanPoints(Object.values(pointsByTask));
  const cheapest = cheapestOf(points);
  const [sampled] = overallFrontier(sets, 'sampled');
  return {
    gate,
    points,
    pointsByTask,
    cheapest,
    equalDifficulties: equalDifficulties(sets),
    sampled: sampled!,
    rankCorrelation: rankCorrelations(sets, cheapest.threshold!),
  };
}

/**
 * Each policy at the threshold of least depth that keeps 99 % of the full-depth accuracy; policies
 * without a threshold as they are, and none where no threshold keeps it.
 *
 * @param frontiers - the points of every policy with the shipped gate
 */
export function cheapestOfPolicies(frontiers: readonly FrontierPoint[]): FrontierPoint[] {
  const ofPolicy = (family: PolicyFamily) => frontiers.filter(({ policy }) => policy === family);
  const least = keptAccuracy(ofPolicy('cdf'));
  return POLICY_FAMILIES.flatMap((family) => {
    const points = ofPolicy(family);
    if (THRESHOLDS[family].length === 0) return points;
    return cheapestPoint(points, least) ?? [];
  });
}

/** Least accuracy that counts as kept: nearly that of Q-exit at threshold 1, which is full depth. */
function keptAccuracy(points: readonly FrontierPoint[]): number {
  return KEPT_ACCURACY * fullDepthPoint(points).accuracy;
}

function fullDepthPoint(points: readonly FrontierPoint[]): FrontierPoint {
  return points.find(({ threshold }) => threshold === 1)!;
}

/** The full-depth point itself is accurate enough, so there always is one. */
function cheapestOf(points: readonly FrontierPoint[]): FrontierPoint {
  return cheapestPoint(points, keptAccuracy(points))!;
}

function equalDifficulties(
  sets: readonly MeasuredSet[],
): Evaluation['gates'][number]['equalDifficulties'] {
  const byTask = namesOf(sets).map((task) =>
    frontier(
      sets.filter((set) => set.task === task).map(({ readings }) => readings),
      'cdf',
      THRESHOLDS.cdf,
    ),
  );
  const points = meanPoints(byTask);
  return { fullDepth: fullDepthPoint(points), cheapest: cheapestOf(points) };
}

const namesOf = (sets: readonly MeasuredSet[]) => [...new Set(sets.map(({ task }) => task))];

const eachTask = <Value>(
  sets: readonly MeasuredSet[],
  valueOf: (task: string) => Value,
): Record<string, Value> => Object.fromEntries(namesOf(sets).map((task) => [task, valueOf(task)]));
