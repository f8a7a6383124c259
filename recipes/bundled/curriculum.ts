/**
 * From problems to training documents, easy ones first.
 *
 * The one idea: label the running answer at the end of every move, not only at the end of the
 * problem, and let the longest problems grow while training goes on.
 * Does not know the tokenizer (it is given `encode`) nor how documents become batches.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { TrainingDocument } from 'looplm/data';
import { IGNORED_TARGET } from 'looplm/data';
import { assert, ConfigError } from 'looplm/errors';
import type { Problem, TaskDefinition } from './tasks.js';
import { generateTrainingProblem, pickWeighted } from './tasks.js';

const END_OF_TEXT = '<|endoftext|>';
/** Part of the training in which the longest problems grow. */
const GROWTH_FRACTION = 0.35;
/** How much more often a problem of the longer half is drawn, once all lengths are open. */
const LONGER_HALF_WEIGHT = 1.5;

/** Text to token ids; `<|endoftext|>` must become one id. */
export type Encode = (text: string) => readonly number[];

/** What the training documents of the bundled model are made from. */
export interface BundledDocumentsOptions {
  readonly encode: Encode;
  readonly tasks: readonly TaskDefinition[];
  /** Optimizer updates of the whole training, which the growth is measured against. */
  readonly totalTrainSteps: number;
}

/**
 * Draws training documents: a task by weight, a difficulty that the training has reached, and a
 * problem of which no prefix is held out.
 *
 * @returns a function for `generatedSource({ documents })`.
 * @throws ConfigError if `tasks` is empty or `totalTrainSteps` is not a positive integer.
 */
export function bundledDocuments(
  options: BundledDocumentsOptions,
): (rng: RandomGenerator, trainStep: number) => TrainingDocument {
  const { encode, tasks, totalTrainSteps } = options;
  checkOptions(options);
  const encodeProblem = problemEncoder(encode);
  return (rng, trainStep) => {
    const task = pickWeighted(tasks, rng);
    const difficulty = drawDifficulty(task, trainStep / totalTrainSteps, rng);
    return encodeProblem(generateTrainingProblem(task, difficulty, rng));
  };
}

/**
 * Longest difficulty of a task at a point of the training: from `firstTrainedDifficulty` to
 * `maxTrainedDifficulty` in equal shares of the first 35 %, the maximum from there on.
 *
 * @param trainedFraction - trainStep / totalTrainSteps.
 */
export function longestDifficulty(task: TaskDefinition, trainedFraction: number): number {
  const { firstTrainedDifficulty: first, maxTrainedDifficulty: max } = task;
  const grown = Math.floor((trainedFraction / GROWTH_FRACTION) * (max - first + 1));
  return Math.min(max, first + grown);
}

function drawDifficulty(
  task: TaskDefinition,
  trainedFraction: number,
  rng: RandomGenerator,
): number {
  const longest = longestDifficulty(task, trainedFraction);
  if (trainedFraction < GROWTH_FRACTION) return uniformInt(rng, 1, longest);
  const choices = Array.from({ length: longest }, (_, index) => ({
    difficulty: index + 1,
    weight: index + 1 > longest / 2 ? LONGER_HALF_WEIGHT : 1,
  }));
  return pickWeighted(choices, rng).difficulty;
}

/**
 * Encoder of problems as training documents. The ids are the problem and its answer. The targets
 * are the running answer at the last token of each clause, `<|endoftext|>` at the
 * answer, and `IGNORED_TARGET` elsewhere. Clauses are encoded once and remembered.
 *
 * @throws ConfigError if an answer or `<|endoftext|>` is not exactly one token; from the encoder,
 * if clauses encoded apart are not the tokens of the whole text.
 */
export function problemEncoder(encode: Encode): (problem: Problem) => TrainingDocument {
  const known = new Map<string, readonly number[]>();
  const lookUp = (text: string): readonly number[] => {
    let ids = known.get(text);
    if (ids === undefined) known.set(text, (ids = encode(text)));
    return ids;
  };
  const endOfTextId = oneToken(END_OF_TEXT, lookUp);
  return (problem) => {
    const clauses = problem.text.match(/[^;]+;/g) ?? [];
    const hasNewClause = clauses.some((clause) => !known.has(clause));
    const pieces = clauses.map(lookUp);
    if (hasNewClause) checkSameTokens(pieces.flat(), encode(problem.text), problem.text);
    return labelledDocument(problem, pieces, endOfTextId, lookUp);
  };
}

function labelledDocument(
  problem: Problem,
  pieces: readonly (readonly number[])[],
  endOfTextId: number,
  encode: Encode,
): TrainingDocument {
  const answerIds = problem.answers.map(({ answer }) => oneToken(answer, encode));
  const finalId = answerIds.at(-1);
  assert(finalId !== undefined, 'a problem has an answer');
  const ids = [...pieces.flat(), finalId];
  const targets = ids.map(() => IGNORED_TARGET);
  targets[ids.length - 1] = endOfTextId;
  let end = 0;
  pieces.forEach((piece, index) => {
    end += piece.length;
    targets[end - 1] = answerIds[index] ?? IGNORED_TARGET; // each clause has its answer
  });
  return { ids, targets };
}

function oneToken(text: string, encode: Encode): number {
  const ids = encode(text);
  const [id] = ids;
  if (id !== undefined && ids.length === 1) return id;
  throw new ConfigError(
    'encode',
    `"${text}" becomes ${ids.length} tokens; it must be exactly 1. Add it to the vocabulary.`,
  );
}

function checkSameTokens(apart: readonly number[], whole: readonly number[], text: string): void {
  if (apart.length === whole.length && apart.every((id, index) => id === whole[index])) return;
  throw new ConfigError(
    'encode',
    `"${text}" becomes other tokens as a whole than clause by clause; both must agree. ` +
      'Use a tokenizer that never joins words.',
  );
}

function checkOptions({ tasks, totalTrainSteps }: BundledDocumentsOptions): void {
  if (tasks.length === 0) {
    throw new ConfigError('tasks', 'tasks has 0 entries; it needs at least 1. Use TASKS.');
  }
  if (!Number.isSafeInteger(totalTrainSteps) || totalTrainSteps < 1) {
    throw new ConfigError(
      'totalTrainSteps',
      `totalTrainSteps is ${totalTrainSteps}; it must be a whole number of at least 1.`,
    );
  }
}
