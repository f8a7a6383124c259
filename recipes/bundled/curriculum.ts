/**
 * Which problems a training draws, as far as it has come.
 *
 * The one idea: a task's next lesson opens when the model has learnt the one before, whenever that is.
 * What the run has learnt is what it has measured of itself (`progressOf`), which its metrics keep: so
 * a batch is a function of its train step and of the measurements before it, and a resumed run draws
 * what it would have drawn.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { isHeldOut } from 'looplm/data';
import type { EvaluationRecord } from 'looplm/train';
import type { Lesson, Problem, TaskDefinition, Wording } from './problem.js';
import { conversationOf } from './problem.js';
import { chance, pickWeighted, within } from './random.js';

/** Part of the problems of a task that are of the newest lesson; the others of any that is open. */
const NEWEST_FRACTION = 0.7;
/** One problem in so many is held out of training. */
const HELD_OUT_FRACTION = 1 / 16;

export interface CurriculumOptions {
  readonly tasks: readonly TaskDefinition[];
  /** A task that begins alone: the others wait for this lesson of it, until this train step at most. */
  readonly first?: { readonly task: string; readonly lesson: number; readonly latest: number };
  /** Share of right answers at which a lesson counts as learnt. */
  readonly learnt: number;
  /** Train step from which a chat may go from one problem to another. */
  readonly mixedFrom: number;
}

/** Number of open lessons of each task, by its name; 0 where it has not begun. */
export type OpenLessons = Readonly<Record<string, number>>;

/** Name in metrics of the accuracy of a task on the hardest problems of its newest lesson. */
export const newestName = (task: string): string => `newest.${task}`;
/** Name in metrics of a task's accuracy at each depth on problems of every trained difficulty. */
export const uniformName = (task: string): string => `uniform.${task}`;

/**
 * Lessons that are open for the batch of a train step.
 *
 * @param records - measurements of the run; those at this train step or later do not count, since the
 *   batch is drawn while the update before it runs.
 */
export function openLessons(
  { tasks, first, learnt }: CurriculumOptions,
  records: readonly EvaluationRecord[],
  trainStep: number,
): OpenLessons {
  const open: Record<string, number> = Object.fromEntries(
    tasks.map(({ name }) => [name, first === undefined || first.task === name ? 1 : 0]),
  );
  for (const record of records) {
    if (record.trainStep >= trainStep) break;
    for (const { name, lessons } of tasks) {
      const accuracy = record.evaluation[newestName(name)];
      const isLearnt = typeof accuracy === 'number' && accuracy >= learnt;
      if (open[name]! > 0 && isLearnt) open[name] = Math.min(lessons.length, open[name]! + 1);
    }
    if (first && (open[first.task]! >= first.lesson || record.trainStep >= first.latest)) {
      for (const { name } of tasks) open[name] = Math.max(1, open[name]!);
    }
  }
  return open;
}

/** What is drawn at a train step. */
export interface Syllabus {
  readonly open: OpenLessons;
  /** Share of each task, relative to the others, by its name. */
  readonly weights: Readonly<Record<string, number>>;
  /** Whether a chat may go from one problem to another. */
  readonly isMixed: boolean;
}

/** Measurements of the newest lesson that a task's weight looks back at. */
const LOOKED_BACK = 3;
/** Share that a task keeps when it is right everywhere. */
const LEAST_NEED = 0.3;

/** The lessons that are open for the batch of a train step; what is not yet known gets more of it. */
export function syllabusAt(
  options: CurriculumOptions,
  records: readonly EvaluationRecord[],
  trainStep: number,
): Syllabus {
  const open = openLessons(options, records, trainStep);
  const before = records.filter((record) => record.trainStep < trainStep);
  const weights = options.tasks.map(({ name, weight }) => {
    const need = Math.min(1, LEAST_NEED + 2 * (1 - knownOf(name, before)));
    return [name, open[name]! > 0 ? weight * need : 0] as const;
  });
  const isMixed = trainStep >= options.mixedFrom;
  return { open, weights: Object.fromEntries(weights), isMixed };
}

/** Accuracy of a task lately: the newest lesson counts, and all difficulties where they are known less. */
function knownOf(task: string, records: readonly EvaluationRecord[]): number {
  const newest = records
    .slice(-LOOKED_BACK)
    .map(({ evaluation }) => evaluation[newestName(task)])
    .filter((accuracy) => typeof accuracy === 'number');
  const mean = newest.reduce((sum, accuracy) => sum + accuracy, 0) / Math.max(1, newest.length);
  const uniform = records
    .map(({ evaluation }) => evaluation[uniformName(task)])
    .findLast((byDepth) => Array.isArray(byDepth)) as readonly number[] | undefined;
  return Math.min(mean, uniform?.at(-1) ?? 1);
}

/** Everything is open, and of each task as much as it weighs. */
export const everything = (tasks: readonly TaskDefinition[]): Syllabus => ({
  open: Object.fromEntries(tasks.map(({ name, lessons }) => [name, lessons.length])),
  weights: Object.fromEntries(tasks.map(({ name, weight }) => [name, weight])),
  isMixed: true,
});

/** Part of the conversations that go from one problem to another, and how many follow the first. */
const MIXED_FRACTION = 0.25;
const MORE_PROBLEMS = [1, 2] as const;

/** Draws what a document is made of: a problem, or several in one chat. */
export function drawForTraining(
  rng: RandomGenerator,
  tasks: readonly TaskDefinition[],
  syllabus: Syllabus,
): Problem {
  const problem = drawProblem(rng, tasks, syllabus);
  if (!syllabus.isMixed || !chance(rng, MIXED_FRACTION)) return problem;
  const others = Array.from({ length: within(rng, MORE_PROBLEMS) }, () =>
    drawProblem(rng, tasks, syllabus),
  );
  return conversationOf([problem, ...others]);
}

/** Draws a problem of an open lesson, in which nothing is held out. */
function drawProblem(
  rng: RandomGenerator,
  tasks: readonly TaskDefinition[],
  { open, weights }: Omit<Syllabus, 'isMixed'>,
): Problem {
  const task = pickWeighted(rng, tasks, ({ name }) => weights[name]!);
  const lesson = lessonOf(rng, task, open[task.name]!);
  for (;;) {
    const problem = task.draw(rng, lesson, 'trained');
    if (!problem.keys.some(isHeldOutProblem)) return problem;
  }
}

export const isHeldOutProblem = (key: string): boolean => isHeldOut(key, HELD_OUT_FRACTION);

function lessonOf(rng: RandomGenerator, { lessons }: TaskDefinition, open: number): Lesson {
  const newest = lessons[open - 1]!;
  if (chance(rng, NEWEST_FRACTION)) return newest;
  // Forms are left behind: answers to the first ones are no sentences.
  const known = lessons.slice(0, open).filter(({ form }) => form === newest.form);
  return pickWeighted(rng, known, () => 1);
}

/** Problems of the greatest difficulty of a lesson, or of another one, drawn without regard to what is held out. */
export function drawAt(
  rng: RandomGenerator,
  task: TaskDefinition,
  lesson: Lesson,
  difficulty: number = lesson.difficulty[1],
  wording: Wording = 'trained',
): Problem {
  return task.draw(rng, { ...lesson, difficulty: [difficulty, difficulty] }, wording);
}

/** From the easiest to the hardest difficulty that is trained. */
export function trainedDifficulties({ lessons }: TaskDefinition): number[] {
  const [easiest, hardest] = lessons.at(-1)!.difficulty;
  return Array.from({ length: hardest - easiest + 1 }, (_, index) => easiest + index);
}
