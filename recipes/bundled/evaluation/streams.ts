/**
 * Real runs of the bundled model: exit policies under KV policies where exits change what later
 * tokens read.
 *
 * Only a few thresholds of each policy are run, those whose exact mean depth under `per-loop` is
 * nearest to a few chosen depths, so that policies are compared at like cost.
 */
import type { Engine } from 'looplm/engine';
import { parseExitPolicy } from 'looplm/engine';
import type { FrontierPoint, StreamAnswer } from 'looplm/eval';
import { mean, streamAccuracy } from 'looplm/eval';
import type { Evaluation } from './figures.js';
import type { ProblemSet } from './problem-sets.js';
import { TASK_NAMES } from './problem-sets.js';

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

/** Runs one policy over the sets; depth and accuracy are those of the answers. */
export async function streamFigures(
  engine: Engine,
  sets: readonly ProblemSet[],
  { policy, threshold }: Pick<FrontierPoint, 'policy' | 'threshold'>,
  kvPolicy: StreamFigures['kvPolicy'],
): Promise<StreamFigures> {
  const spec = threshold === undefined ? policy : `${policy}:${threshold}`;
  const documents = sets.flatMap((set) => set.documents);
  const taskOf = sets.flatMap((set) => set.documents.map(() => set.task));
  const result = await streamAccuracy(engine, documents, {
    exitPolicy: parseExitPolicy(spec),
    kvPolicy,
  });
  const meanOf = (valueOf: (answer: StreamAnswer) => number) =>
    mean(
      TASK_NAMES.map((task) =>
        mean(
          result.answers.filter(({ documentIndex }) => taskOf[documentIndex] === task).map(valueOf),
        ),
      ),
    );
  return {
    kvPolicy,
    policy,
    ...(threshold !== undefined && { threshold }),
    meanDepth: meanOf(({ exitDepth }) => exitDepth),
    accuracy: meanOf(({ isCorrect }) => Number(isCorrect)),
    executedFraction: result.executedLoops / result.fullDepthLoops,
  };
}
