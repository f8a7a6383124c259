/**
 * Problems to test the bundled model with.
 *
 * The one idea: two draws of the same language. *Held-out* problems are drawn as in training, and
 * training has seen none of them; there three swaps in four move the ball. *Uniform* ones are drawn
 * as somebody types them: every problem of a difficulty is as likely as any other, and nothing is
 * filtered. Where there are few problems, all are taken instead of drawn.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { generatorFor } from 'looplm/data';
import type { Problem, Stage, TaskDefinition } from './tasks.js';
import {
  checkDifficulty,
  generateProblem,
  generateUniformProblem,
  isHeldOut,
  problemOf,
} from './tasks.js';

/** Up to this many texts are listed instead of drawn. */
const MAX_LISTED_TEXTS = 10_000;
/** Draws for each problem asked for before a space counts as exhausted; one in eight is expected. */
const MAX_DRAWS_PER_PROBLEM = 400;

/**
 * How a problem begins: with moves that training may contain (`trained`), or with at least one
 * prefix that is held out as well (`held-out`), so that training never showed its beginning.
 */
export type ProblemStart = 'trained' | 'held-out';

export function startOf({ answers }: Problem): ProblemStart {
  const hasHeldOutPrefix = answers.slice(0, -1).some(({ prefixText }) => isHeldOut(prefixText));
  return hasHeldOutPrefix ? 'held-out' : 'trained';
}

/**
 * Distinct held-out problems of one difficulty, drawn as in training. Where the space is small and
 * holds no more than `count`, all of them.
 *
 * @param count - how many are wanted; fewer come back where there are not as many.
 * @param seed - equal seeds give equal problems.
 * @param start - default `trained`. Problems of one move have no other.
 * @throws ConfigError if `difficulty` is not a positive integer.
 */
export function heldOutProblems(
  task: TaskDefinition,
  difficulty: number,
  count: number,
  seed: number,
  start: ProblemStart = 'trained',
): Problem[] {
  return distinctProblems(task, difficulty, count, seed, {
    draw: generateProblem,
    isWanted: (problem) => isHeldOut(problem.text) && startOf(problem) === start,
  });
}

/**
 * Distinct problems of one difficulty, each as likely as any other, whether or not training has seen
 * them. Where there are no more than `count`, all of them.
 *
 * @throws ConfigError if `difficulty` is not a positive integer.
 */
export function uniformProblems(
  task: TaskDefinition,
  difficulty: number,
  count: number,
  seed: number,
): Problem[] {
  return distinctProblems(task, difficulty, count, seed, {
    draw: generateUniformProblem,
    isWanted: () => true,
  });
}

interface Draw {
  readonly draw: (task: TaskDefinition, difficulty: number, rng: RandomGenerator) => Problem;
  readonly isWanted: (problem: Problem) => boolean;
}

function distinctProblems(
  task: TaskDefinition,
  difficulty: number,
  count: number,
  seed: number,
  { draw, isWanted }: Draw,
): Problem[] {
  checkDifficulty(difficulty);
  const listed = listProblems(task, difficulty)?.filter(isWanted);
  if (listed !== undefined && listed.length <= count) return listed;
  const rng = generatorFor(seed, difficulty);
  const found = new Map<string, Problem>();
  for (let draws = 0; found.size < count && draws < count * MAX_DRAWS_PER_PROBLEM; draws++) {
    const problem = draw(task, difficulty, rng);
    if (isWanted(problem)) found.set(problem.text, problem);
  }
  return [...found.values()];
}

/** How many problems of a difficulty there are, of a task with listed openings; else Infinity. */
export function countProblems({ openings }: TaskDefinition, difficulty: number): number {
  return openings ? openings.length * openings[0]!.moves().length ** difficulty : Infinity;
}

/** Every problem of one difficulty, or undefined where there are too many to list. */
function listProblems(task: TaskDefinition, difficulty: number): Problem[] | undefined {
  if (countProblems(task, difficulty) > MAX_LISTED_TEXTS) return undefined;
  let chains = task.openings!.map((opening): Stage[] => [opening]);
  for (let moves = 0; moves < difficulty; moves++) {
    chains = chains.flatMap((chain) =>
      (chain.at(-1)?.moves() ?? []).map(({ stage }) => [...chain, stage]),
    );
  }
  return chains.map((chain) => problemOf(task, chain));
}
