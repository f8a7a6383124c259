/**
 * Real runs of the bundled model: exit policies under KV policies where exits change what later
 * tokens read.
 *
 * Only a few thresholds of each policy are run, those whose exact mean depth under `per-loop` is
 * nearest to a few chosen depths, so that policies are compared at like cost.
 */
import type { Engine } from 'looplm/engine';
import { KV_POLICIES, parseExitPolicy } from 'looplm/engine';
import type { FrontierPoint } from 'looplm/eval';
import { streamAccuracy } from 'looplm/eval';
import type { Evaluation } from './figures.js';
import type { QuestionSet } from './question-sets.js';
import { meanOverTasks } from './question-sets.js';

type StreamFigures = Evaluation['streams'][number];

/** What later tokens read of earlier ones, and what becomes of the question. */
export type StreamedWay = Pick<StreamFigures, 'kvPolicy' | 'prefill'>;

/** Ways that are compared: the question at full depth under each KV policy, and exits in it, too. */
export const STREAMED_WAYS: readonly StreamedWay[] = [
  ...KV_POLICIES.map((kvPolicy) => ({ kvPolicy, prefill: 'full' as const })),
  { kvPolicy: 'last-exited', prefill: 'adaptive' },
];

/** The last one is full depth. */
const ADAPTIVE_THRESHOLDS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 1];

/** Makes a real run of a policy, as `streamFigures` does. */
export type Stream = (point: PolicyPoint, way: StreamedWay) => Promise<StreamFigures>;

/** Q-exit at several thresholds where the tokens of the question exit, too. */
export async function adaptiveFigures(
  stream: Stream,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Evaluation['gates'][number]['adaptive']> {
  const way: StreamedWay = { kvPolicy: 'last-exited', prefill: 'adaptive' };
  const points: Evaluation['gates'][number]['adaptive'] = [];
  for (const threshold of ADAPTIVE_THRESHOLDS) {
    const point: PolicyPoint = { policy: 'cdf', threshold };
    const { accuracy, executedFraction } = await stream(point, way);
    points.push({ threshold, accuracy, executedFraction });
    onProgress(points.length, ADAPTIVE_THRESHOLDS.length);
  }
  return points;
}

type AdaptivePoint = Evaluation['gates'][number]['adaptive'][number];

/** The point that runs the fewest loops of those that keep 99 % of the accuracy of full depth. */
export function cheapestAdaptive(points: readonly AdaptivePoint[]): AdaptivePoint {
  const enough = 0.99 * points.at(-1)!.accuracy;
  return points
    .filter(({ accuracy }) => accuracy >= enough)
    .toSorted((a, b) => a.executedFraction - b.executedFraction)[0]!;
}

/** The points of a frontier that are nearest to the given mean depths, each once. */
export function pointsNear(
  points: readonly FrontierPoint[],
  meanDepths: readonly number[],
): FrontierPoint[] {
  const nearest = meanDepths.map((wanted) => {
    const distance = ({ meanDepth }: FrontierPoint) => Math.abs(meanDepth - wanted);
    return points.toSorted((a, b) => distance(a) - distance(b))[0]!;
  });
  return [...new Set(nearest)];
}

/** A policy at a threshold, whatever it comes to. */
export type PolicyPoint = Pick<FrontierPoint, 'policy' | 'threshold'>;

export function policyOf({ policy, threshold }: PolicyPoint): PolicyPoint {
  return { policy, ...(threshold !== undefined && { threshold }) };
}

/** As `parseExitPolicy` reads it, such as `cdf:0.2`. */
export function policySpec({ policy, threshold }: PolicyPoint): string {
  return threshold === undefined ? policy : `${policy}:${threshold}`;
}

/** Runs one policy over the sets; depth and accuracy are those of the answers. */
export async function streamFigures(
  engine: Engine,
  sets: readonly QuestionSet[],
  point: PolicyPoint,
  { kvPolicy, prefill }: StreamedWay,
): Promise<StreamFigures> {
  const documents = sets.flatMap(({ questions }) => questions);
  const taskOf = sets.flatMap(({ task, questions }) => questions.map(() => task));
  const result = await streamAccuracy(engine, documents, {
    exitPolicy: parseExitPolicy(policySpec(point)),
    kvPolicy,
    prefill,
  });
  const answers = result.answers.map((answer) => ({
    ...answer,
    task: taskOf[answer.documentIndex]!,
  }));
  return {
    kvPolicy,
    prefill,
    ...policyOf(point),
    meanDepth: meanOverTasks(answers, ({ exitDepth }) => exitDepth),
    accuracy: meanOverTasks(answers, ({ isCorrect }) => Number(isCorrect)),
    executedFraction: result.executedLoops / result.fullDepthLoops,
  };
}
