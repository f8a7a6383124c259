/**
 * The problems that the bundled model is measured on, as documents with one label each.
 *
 * The one idea: only the answer of a whole held-out problem counts. Its prefixes are not labelled,
 * since a prefix of a held-out problem may have been a training problem.
 */
import { IGNORED_TARGET } from 'looplm/data';
import { ConfigError } from 'looplm/errors';
import { mean } from 'looplm/eval';
import type { Encode } from '../curriculum.js';
import type { Problem } from '../tasks.js';
import { TASKS } from '../tasks.js';
import type { ProblemStart } from '../test-problems.js';
import { heldOutProblems, startOf, uniformProblems } from '../test-problems.js';

export const EVALUATION_SEED = 11;

export type TaskName = keyof typeof TASKS;
export const TASK_NAMES = Object.keys(TASKS) as readonly TaskName[];

/** Longest difficulties that are tried beyond the trained ones. */
const LONGEST_TRIED: Readonly<Record<TaskName, number>> = { cups: 18, sums: 12 };

/** A problem as tokens: the label is the answer, at the last token of the problem. */
export interface ProblemDocument {
  readonly ids: readonly number[];
  readonly targets: readonly number[];
  /** Tokens of the first clause. */
  readonly promptLength: number;
  /** Whether training may contain its beginning. */
  readonly start: ProblemStart;
}

/** Problems of one task and difficulty. */
export interface ProblemSet {
  readonly task: TaskName;
  readonly difficulty: number;
  readonly documents: readonly ProblemDocument[];
}

/**
 * Held-out problems of every trained difficulty whose beginning training may contain; at most
 * `count` of each, fewer if there are fewer. Drawn as in training.
 */
export function trainedSets(encode: Encode, count: number): ProblemSet[] {
  return [...drawTrainedSets(encode, count)];
}

/** As `trainedSets`, each drawn when it is asked for: large ones take seconds. */
export function drawTrainedSets(encode: Encode, count: number): Generator<ProblemSet> {
  return setsOf(encode, trainedDifficulties, (task, difficulty) =>
    heldOutProblems(TASKS[task], difficulty, count, EVALUATION_SEED),
  );
}

/** As `trainedSets`, of problems that begin with a problem which is held out as well. */
export function unseenStartSets(encode: Encode, count: number): ProblemSet[] {
  const difficulties = (task: TaskName) => trainedDifficulties(task).slice(1);
  const draw: Draw = (task, difficulty) =>
    heldOutProblems(TASKS[task], difficulty, count, EVALUATION_SEED, 'held-out');
  return [...setsOf(encode, difficulties, draw)];
}

/** As `trainedSets`, of problems that are longer than any that was trained. */
export function longerSets(encode: Encode, count: number): ProblemSet[] {
  const draw: Draw = (task, difficulty) =>
    heldOutProblems(TASKS[task], difficulty, count, EVALUATION_SEED);
  return [...setsOf(encode, longerDifficulties, draw)];
}

/**
 * Problems as somebody types them: of every difficulty that is tried, trained or longer, all equally
 * likely, with any beginning, whether or not training has seen them.
 */
export function uniformSets(encode: Encode, count: number): ProblemSet[] {
  return [...drawUniformSets(encode, count)];
}

/** As `uniformSets`, each drawn when it is asked for. */
export function drawUniformSets(encode: Encode, count: number): Generator<ProblemSet> {
  const difficulties = (task: TaskName) => [
    ...trainedDifficulties(task),
    ...longerDifficulties(task),
  ];
  return setsOf(encode, difficulties, (task, difficulty) =>
    uniformProblems(TASKS[task], difficulty, count, EVALUATION_SEED),
  );
}

/** Whether training reached problems as long as these. */
export function isTrainedLength({ task, difficulty }: Pick<ProblemSet, 'task' | 'difficulty'>) {
  return difficulty <= TASKS[task].maxTrainedDifficulty;
}

function trainedDifficulties(task: TaskName): number[] {
  return range(1, TASKS[task].maxTrainedDifficulty);
}

function longerDifficulties(task: TaskName): number[] {
  return range(TASKS[task].maxTrainedDifficulty + 1, LONGEST_TRIED[task]);
}

type Draw = (task: TaskName, difficulty: number) => readonly Problem[];

function* setsOf(
  encode: Encode,
  difficultiesOf: (task: TaskName) => readonly number[],
  draw: Draw,
): Generator<ProblemSet> {
  for (const task of TASK_NAMES) {
    for (const difficulty of difficultiesOf(task)) {
      const problems = draw(task, difficulty);
      yield { task, difficulty, documents: problems.map((problem) => toDocument(problem, encode)) };
    }
  }
}

function toDocument(problem: Problem, encode: Encode): ProblemDocument {
  const { text, answers } = problem;
  const ids = encode(text);
  const { answer } = answers.at(-1)!;
  const [answerId, ...more] = encode(answer);
  if (answerId === undefined || more.length > 0) {
    throw new ConfigError(
      'encode',
      `"${answer}" is not one token of this tokenizer, so the problems of the bundled model cannot be asked. Measure on documents of your own.`,
    );
  }
  const targets = ids.map((_, position) =>
    position === ids.length - 1 ? answerId : IGNORED_TARGET,
  );
  const promptLength = encode(text.slice(0, text.indexOf(';') + 1)).length;
  return { ids, targets, promptLength, start: startOf(problem) };
}

/** Mean of a figure over problems, of which each task's count as much as the other's. */
export function meanOverTasks<One extends { readonly task: TaskName }>(
  problems: readonly One[],
  valueOf: (problem: One) => number,
): number {
  return mean(
    TASK_NAMES.map((name) => mean(problems.filter(({ task }) => task === name).map(valueOf))),
  );
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
