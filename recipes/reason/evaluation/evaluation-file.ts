/** The figures of one model as a file holds them. */
import { basename, join } from 'node:path';
import { FileError } from 'looplm/errors';
import { readTextFile } from 'looplm/node';
import { z } from 'zod';
import { KINDS } from './sets.js';

export const EVALUATION_FILE = 'evaluation.json';

const number = z.number();
const count = z.int();
const point = z.strictObject({
  policy: z.string(),
  threshold: number.optional(),
  meanDepth: number,
  accuracy: number,
});
const frontier = z.strictObject({ points: z.array(point), full: point, cheapest: point });

const evaluationSchema = z.strictObject({
  parameters: count,
  numLoops: count,
  trainSteps: count,
  /** Answers, their beginnings given, at depth 1 to twice the trained loops. */
  cells: z.array(
    z.strictObject({
      kind: z.enum(KINDS),
      task: z.string(),
      difficulty: count,
      n: count,
      accuracyByDepth: z.array(number),
      /** Where answers exit at the cheapest threshold of the gate that keeps 99 % of the accuracy. */
      meanExitDepth: number,
    }),
  ),
  /** Over uniform questions; tasks count the same. */
  exits: z.strictObject({
    gate: frontier,
    confidence: frontier,
    /** Spearman's, of mean exit depth with difficulty. */
    rankCorrelation: z.record(z.string(), number),
  }),
  /** Whole replies as a user gets them, with the loops that the engine counted, prompts included. */
  replies: z.array(
    z.strictObject({
      policy: z.string(),
      prefill: z.string(),
      cells: z.array(
        z.strictObject({ task: z.string(), difficulty: count, n: count, accuracy: number }),
      ),
      executedLoops: count,
      fullDepthLoops: count,
    }),
  ),
});

export type Evaluation = z.infer<typeof evaluationSchema>;
export type Cell = Evaluation['cells'][number];

/** A model to compare with, by its name. */
export interface Rival {
  readonly name: string;
  readonly evaluation: Evaluation;
}

/** @throws FileError if it is missing or holds something else */
export async function readEvaluation(path: string): Promise<Evaluation> {
  const result = evaluationSchema.safeParse(JSON.parse(await readTextFile(path)));
  if (result.success) return result.data;
  throw new FileError(path, `${path} does not hold the figures of a model. Measure again.`, {
    cause: result.error,
  });
}

/** The figures in folders of other runs, which go by the names of these. */
export async function readRivals(folders: readonly string[]): Promise<readonly Rival[]> {
  return Promise.all(
    folders.map(async (folder) => ({
      name: basename(folder),
      evaluation: await readEvaluation(join(folder, EVALUATION_FILE)),
    })),
  );
}
