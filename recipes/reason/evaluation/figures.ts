/**
 * The figures of a model, from readings of its answers at every depth and from answers as a user gets
 * them.
 */
import type { Engine, PrefillMode } from 'looplm/engine';
import { parseExitPolicy, parseSamplingOptions } from 'looplm/engine';
import type { LoopReadings } from 'looplm/eval';
import {
  accuracyByDepth,
  cheapestPoint,
  frontier,
  mean,
  meanExitDepth,
  meanPoints,
  readLoops,
  spearman,
  truncateLoops,
} from 'looplm/eval';
import { plainOrChat } from '../documents.js';
import type { Encode } from '../documents.js';
import type { Cell } from './evaluation-file.js';
import type { Question, QuestionSet } from './sets.js';

export interface MeasuredSet extends QuestionSet {
  readonly readings: readonly LoopReadings[];
}

/** Reads the answers of all questions at so many loops. */
export async function readSets(
  engine: Engine,
  sets: readonly QuestionSet[],
  numLoops: number,
): Promise<MeasuredSet[]> {
  const documents = sets.flatMap(({ questions }) => questions.map(({ document }) => document));
  const readings = await readLoops(engine, documents, { numLoops });
  let start = 0;
  return sets.map((set) => ({
    ...set,
    readings: readings.slice(start, (start += set.questions.length)),
  }));
}

/** What is said of a set: accuracy at every depth that was read, and where it exits of `numLoops`. */
export const cellOf = (
  { kind, task, difficulty, readings }: MeasuredSet,
  numLoops: number,
  exitThreshold: number,
): Cell => ({
  kind,
  task,
  difficulty,
  n: readings.length,
  accuracyByDepth: accuracyByDepth(readings),
  meanExitDepth: meanExitDepth(truncateLoops(readings, numLoops), exitThreshold),
});

const CDF_THRESHOLDS = [
  0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1,
];
const CONFIDENCE_THRESHOLDS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1];
const KEPT_ACCURACY = 0.99;

/** Where answers exit: the frontier of the gate and, to compare with, that of the readout's confidence. */
export function exitFigures(sets: readonly MeasuredSet[], numLoops: number) {
  const tasks = [...new Set(sets.map(({ task }) => task))];
  const readingsOf = (task: string) =>
    sets
      .filter((set) => set.task === task)
      .flatMap(({ readings }) => truncateLoops(readings, numLoops));
  const pointsOf = (policy: 'cdf' | 'confidence', thresholds: readonly number[]) => {
    const points = meanPoints(
      tasks.map((task) => frontier([readingsOf(task)], policy, thresholds)),
    );
    const full = points.find(({ threshold }) => threshold === 1)!;
    return { points, full, cheapest: cheapestPoint(points, KEPT_ACCURACY * full.accuracy)! };
  };
  const gate = pointsOf('cdf', CDF_THRESHOLDS);
  return {
    gate,
    confidence: pointsOf('confidence', CONFIDENCE_THRESHOLDS),
    rankCorrelation: Object.fromEntries(
      tasks.flatMap((task) => {
        const ofTask = sets.filter((set) => set.task === task);
        if (ofTask.length < 2) return [];
        const depths = ofTask.map(({ readings }) =>
          meanExitDepth(truncateLoops(readings, numLoops), gate.cheapest.threshold!),
        );
        return [
          [
            task,
            spearman(
              ofTask.map(({ difficulty }) => difficulty),
              depths,
            ),
          ],
        ];
      }),
    ),
  };
}

/** Sequences that run together. */
const BATCH_SIZE = 32;
const MAX_NEW_TOKENS = 24;

/** Whole replies, greedy, to the end of the turn. */
export async function replyFigures(
  engine: Engine,
  encode: Encode,
  sets: readonly QuestionSet[],
  policy: string,
  prefill: PrefillMode,
) {
  const exitPolicy = parseExitPolicy(policy);
  let [executedLoops, fullDepthLoops] = [0, 0];
  const ask = async (questions: readonly Question[]): Promise<boolean[]> => {
    const replies = questions.map((): number[] => []);
    const requests = questions.map(({ promptIds }) => ({
      promptIds,
      maxNewTokens: MAX_NEW_TOKENS,
      exitPolicy,
      sampling: parseSamplingOptions({}),
      stopIds: engine.config.eosTokenIds,
      prefill,
      kvPolicy: 'per-loop' as const,
      cachePrefix: false,
    }));
    for await (const event of engine.generate(requests)) {
      if (event.kind === 'finish') {
        executedLoops += event.executedLoops;
        fullDepthLoops += event.fullDepthLoops;
      } else replies[event.requestIndex]!.push(event.tokenId);
    }
    return questions.map(({ turn, writing }, index) => {
      const wanted = encode(plainOrChat(turn.reply, writing));
      return wanted.every((id, place) => replies[index]![place] === id);
    });
  };
  const cells: { task: string; difficulty: number; n: number; accuracy: number }[] = [];
  for (const { task, difficulty, questions } of sets) {
    const right: boolean[] = [];
    for (let start = 0; start < questions.length; start += BATCH_SIZE) {
      right.push(...(await ask(questions.slice(start, start + BATCH_SIZE))));
    }
    cells.push({ task, difficulty, n: right.length, accuracy: mean(right.map(Number)) });
  }
  return { policy, prefill, cells, executedLoops, fullDepthLoops };
}
