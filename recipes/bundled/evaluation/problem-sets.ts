/**
 * The problems that the bundled model is measured on, as documents with one label each.
 *
 * The one idea: only the answer of a whole held-out problem counts. Its prefixes are not labelled,
 * since a prefix of a held-out problem may have been a training problem.
 */
import { IGNORED_TARGET } from 'looplm/data';
import { ConfigError } from 'looplm/errors';
import type { Encode } from '../curriculum.js';
import type { Problem, ProblemStart, TaskDefinition } from '../tasks.js';
import { heldOutProblems, TASKS } from '../tasks.js';

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
}

/** Problems of one task and difficulty. */
export interface ProblemSet {
  readonly task: TaskName;
  readonly difficulty: number;
  readonly documents: readonly ProblemDocument[];
}

/**
 * Held-out problems of every trained difficulty whose beginning training may contain; at most
 * `count` of each, fewer if there are fewer.
 */
export function trainedSets(encode: Encode, count: number): ProblemSet[] {
  return TASK_NAMES.flatMap((task) =>
    range(1, TASKS[task].maxTrainedDifficulty).map((difficulty) =>
      problemSet(encode, task, difficulty, count),
    ),
  );
}

/** As `trainedSets`, of problems that begin with a problem which is held out as well. */
export function unseenStartSets(encode: Encode, count: number): ProblemSet[] {
  return TASK_NAMES.flatMap((task) =>
    range(2, TASKS[task].maxTrainedDifficulty).map((difficulty) =>
      problemSet(encode, task, difficulty, count, 'held-out'),
    ),
  );
}

/** Problems that are longer than any that was trained. */
export function longerSets(encode: Encode, count: number): ProblemSet[] {
  return TASK_NAMES.flatMap((task) =>
    range(TASKS[task].maxTrainedDifficulty + 1, LONGEST_TRIED[task]).map((difficulty) =>
      problemSet(encode, task, difficulty, count),
    ),
  );
}

function problemSet(
  encode: Encode,
  task: TaskName,
  difficulty: number,
  count: number,
  start: ProblemStart = 'trained',
): ProblemSet {
  const definition: TaskDefinition = TASKS[task];
  const problems = heldOutProblems(definition, difficulty, count, EVALUATION_SEED, start);
  return { task, difficulty, documents: problems.map((problem) => toDocument(problem, encode)) };
}

function toDocument({ text, answers }: Problem, encode: Encode): ProblemDocument {
  const ids = encode(text);
  const { answer } = answers.at(-1)!;
  const [answerId, ...more] = encode(answer);
  if (answerId === undefined || more.length > 0) {
    throw new ConfigError(
      'encode',
      `"${answer}" is not one token of this tokenizer; evaluate with the tokenizer of the model.`,
    );
  }
  const targets = ids.map((_, position) =>
    position === ids.length - 1 ? answerId : IGNORED_TARGET,
  );
  return { ids, targets, promptLength: encode(text.slice(0, text.indexOf(';') + 1)).length };
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
