/**
 * Real runs of the bundled model: exit policies under KV policies where exits change what later
 * tokens read.
 *
 * Only a few thresholds of each policy are run, those whose exact mean depth under `per-loop` is
 * nearest to a few chosen depths, so that policies are compared at like cost.
 */
import type { Engine } from 'looplm/engine';
import { parseExitPolicy } from 'looplm/engine';
import type { FrontierPoint } from 'looplm/eval';
import { streamAccuracy } from 'looplm/eval';
import type { Evaluation } from './figures.js';
import type { ProblemSet } from './problem-sets.js';
import { meanOverTasks } from './problem-sets.js';

type StreamFigures = Evaluation['streams'][number];

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
  sets: readonly ProblemSet[],
  point: PolicyPoint,
  kvPolicy: StreamFigures['kvPolicy'],
): Promise<StreamFigures> {
  const documents = sets.flatMap((set) => set.documents);
  const taskOf = sets.flatMap((set) => set.documents.map(() => set.task));
  const result = await streamAccuracy(engine, documents, {
    exitPolicy: parseExitPolicy(policySpec(point)),
    kvPolicy,
    prefill: 'full',
  });
  const answers = result.answers.map((answer) => ({
    ...answer,
    task: taskOf[answer.documentIndex]!,
  }));
  return {
    kvPolicy,
    ...policyOf(point),
    meanDepth: meanOverTasks(answers, ({ exitDepth }) => exitDepth),
    accuracy: meanOverTasks(answers, ({ isCorrect }) => Number(isCorrect)),
    executedFraction: result.executedLoops / result.fullDepthLoops,
  };
}
