/**
 * The reasoning language of the bundled model: small problems that a person reads at a glance.
 *
 * The one idea: a problem is an opening and a chain of moves, and every prefix that ends at a move
 * is a complete problem with its own answer. A task is one entry of `TASKS`; a fourth is one more.
 * One problem in eight is held out by a hash of its text; training never sees one, not even as a
 * prefix. Does not know tokens, batches or the model.
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { assert, ConfigError } from 'looplm/errors';

/** Where a problem stands: the clause that led here, and everything needed to answer or go on. */
export interface Stage {
  /** What this stage adds to the text (the opening may be several clauses). Ends with `;`. */
  readonly clause: string;
  /** The answer if the problem ended here, with its leading space. */
  readonly answer: string;
  /** What may come next, with relative probabilities. */
  moves(): readonly Move[];
}

/** A possible next stage and how often it is drawn, relative to its alternatives. */
export interface Move {
  readonly weight: number;
  readonly stage: Stage;
}

/** One kind of problem. Difficulty is the number of moves. */
export interface TaskDefinition {
  readonly name: string;
  /** One line for a reader who has never seen the task. */
  readonly description: string;
  /** Share of the training documents, relative to the other tasks. */
  readonly weight: number;
  /** Longest difficulty at the start of training; it grows from here. */
  readonly firstTrainedDifficulty: number;
  /** Longest difficulty ever trained. */
  readonly maxTrainedDifficulty: number;
  /** Draws the opening of a problem. */
  begin(rng: RandomGenerator): Stage;
  /** Every opening there is, for tasks that have few. */
  readonly openings?: readonly Stage[];
  /** Rewrites clauses of this task whose order means nothing to one form; leaves others alone. */
  canonical?(text: string): string;
}

/** The answer to one prefix of a problem. */
export interface PrefixAnswer {
  readonly prefixText: string;
  /** With its leading space, as generated: prefix + answer is the full text. */
  readonly answer: string;
  /** Moves of the prefix; 0 for the opening alone. */
  readonly difficulty: number;
}

/** A problem, with the answers of all its prefixes in order; the last one is its own. */
export interface Problem {
  readonly task: string;
  readonly difficulty: number;
  readonly text: string;
  readonly answers: readonly PrefixAnswer[];
}

const CUPS = [1, 2, 3, 4, 5];
const SWAPS = CUPS.flatMap((from) => CUPS.filter((to) => to !== from).map((to) => ({ from, to })));
/** Probability that a swap moves the ball: high, so that every swap counts as difficulty. */
const BALL_SWAP_FRACTION = 0.75;
const NUM_BALL_SWAPS = 2 * (CUPS.length - 1);

function cupStage(clause: string, ball: number): Stage {
  return { clause, answer: ` ${ball}`, moves: () => cupMoves(ball) };
}

const cupMoves = remembered((ball) =>
  SWAPS.map(({ from, to }) => {
    const isBallSwap = from === ball || to === ball;
    const weight = isBallSwap
      ? BALL_SWAP_FRACTION / NUM_BALL_SWAPS
      : (1 - BALL_SWAP_FRACTION) / (SWAPS.length - NUM_BALL_SWAPS);
    const next = isBallSwap ? from + to - ball : ball;
    return { weight, stage: cupStage(`swap ${from} ${to};`, next) };
  }),
);

const cupOpenings = CUPS.map((cup) => cupStage(`cup ${cup};`, cup));

const DIGITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
/** Each kind of operation is drawn equally often; `weight` is divided among its operands. */
const OPERATIONS = [
  ...DIGITS.slice(1).map((n) => ({ word: 'plus', operand: n, weight: 1 / 9 })),
  ...DIGITS.slice(1).map((n) => ({ word: 'minus', operand: n, weight: 1 / 9 })),
  // 3, 7 and 9 permute the ten digits; even factors merge them, so they are drawn less often.
  ...[3, 7, 9].map((n) => ({ word: 'times', operand: n, weight: 3 / 13 })),
  ...[2, 4, 6, 8].map((n) => ({ word: 'times', operand: n, weight: 1 / 13 })),
];

function lastDigit(value: number, word: string, operand: number): number {
  if (word === 'plus') return (value + operand) % 10;
  if (word === 'minus') return (value + 10 - operand) % 10;
  return (value * operand) % 10;
}

function sumStage(clause: string, value: number): Stage {
  return { clause, answer: ` ${value}`, moves: () => sumMoves(value) };
}

const sumMoves = remembered((value) =>
  OPERATIONS.map(({ word, operand, weight }) => ({
    weight,
    stage: sumStage(`${word} ${operand};`, lastDigit(value, word, operand)),
  })),
);

const sumOpenings = DIGITS.map((digit) => sumStage(`take ${digit};`, digit));

/** The tasks of the bundled model, by name. */
export const TASKS: Readonly<Record<'cups' | 'sums', TaskDefinition>> = {
  cups: {
    name: 'cups',
    description: 'A ball lies under one of five cups; say where it is after the swaps.',
    weight: 1,
    firstTrainedDifficulty: 2,
    maxTrainedDifficulty: 12,
    openings: cupOpenings,
    begin: (rng) => pick(cupOpenings, rng),
    canonical: (text) =>
      text.replace(/swap (\d) (\d);/g, (swap, a: string, b: string) =>
        a < b ? swap : `swap ${b} ${a};`,
      ),
  },
  sums: {
    name: 'sums',
    description: 'Operations from left to right; say the last digit of the value.',
    weight: 1,
    firstTrainedDifficulty: 2,
    maxTrainedDifficulty: 8,
    openings: sumOpenings,
    begin: (rng) => pick(sumOpenings, rng),
  },
};

const ALL_TASKS: readonly TaskDefinition[] = Object.values(TASKS);

/** One problem in this many is held out; a power of two. */
const HELD_OUT_ONE_IN = 8;
/** Which of the eight: one with problems of a single move for every opening of cups and sums. */
const HELD_OUT_REMAINDER = 4;

/**
 * Whether a problem belongs to the test set: one in eight does, by a hash of its text that never
 * changes. Problems that differ only in an order without meaning (`swap 1 3` and `swap 3 1`) fall on
 * the same side. An opening without a move is no problem: never.
 *
 * @param promptText - a complete problem, ending with `;`, without its answer.
 */
export function isHeldOut(promptText: string): boolean {
  if (promptText.indexOf(';') === promptText.length - 1) return false;
  const form = ALL_TASKS.reduce((text, task) => task.canonical?.(text) ?? text, promptText);
  return (stableHash(form) & (HELD_OUT_ONE_IN - 1)) === HELD_OUT_REMAINDER;
}

/**
 * FNV-1a over the characters, then MurmurHash3's finaliser. It decides what is held out: a change
 * makes every trained model's test set invalid.
 */
function stableHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/**
 * Draws a problem, held out or not, with moves as likely as in training.
 *
 * @param difficulty - number of moves, at least 1; may exceed what is trained.
 * @throws ConfigError if `difficulty` is not a positive integer.
 */
export function generateProblem(
  task: TaskDefinition,
  difficulty: number,
  rng: RandomGenerator,
): Problem {
  return drawProblem(task, difficulty, rng, { pickMove: pickWeighted });
}

/**
 * Draws a problem as somebody types one who knows nothing of the training: every opening and every
 * move is as likely as any other, so that every problem of the difficulty is.
 *
 * @throws ConfigError if `difficulty` is not a positive integer.
 */
export function generateUniformProblem(
  task: TaskDefinition,
  difficulty: number,
  rng: RandomGenerator,
): Problem {
  return drawProblem(task, difficulty, rng, { pickMove: pick });
}

/**
 * Draws a problem for training: neither it nor any of its prefixes is held out. Only the move that
 * would make a held-out prefix is drawn again, so the rest keeps its distribution.
 *
 * @param difficulty - number of moves, at least 1.
 * @throws ConfigError if `difficulty` is not a positive integer.
 */
export function generateTrainingProblem(
  task: TaskDefinition,
  difficulty: number,
  rng: RandomGenerator,
): Problem {
  return drawProblem(task, difficulty, rng, {
    pickMove: pickWeighted,
    isAllowed: (prefixText) => !isHeldOut(prefixText),
  });
}

/** Draws of one move before the problem is started anew. */
const MAX_MOVE_DRAWS = 8;
const MAX_RESTARTS = 1000;

interface DrawRules {
  readonly pickMove: (moves: readonly Move[], rng: RandomGenerator) => Move;
  /** Default: every prefix is. */
  readonly isAllowed?: (prefixText: string) => boolean;
}

function drawProblem(
  task: TaskDefinition,
  difficulty: number,
  rng: RandomGenerator,
  rules: DrawRules,
): Problem {
  checkDifficulty(difficulty);
  for (let restart = 0; restart < MAX_RESTARTS; restart++) {
    const stages = drawStages(task, difficulty, rng, rules);
    if (stages !== undefined) return problemOf(task, stages);
  }
  assert(false, `no ${task.name} problem of difficulty ${difficulty} is allowed`);
}

function drawStages(
  task: TaskDefinition,
  difficulty: number,
  rng: RandomGenerator,
  { pickMove, isAllowed = () => true }: DrawRules,
): Stage[] | undefined {
  let stage = task.begin(rng);
  let text = stage.clause;
  const stages = [stage];
  while (stages.length <= difficulty) {
    const moves = stage.moves();
    let draws = 0;
    do {
      if (draws++ === MAX_MOVE_DRAWS) return undefined;
      stage = pickMove(moves, rng).stage;
    } while (!isAllowed(`${text} ${stage.clause}`));
    text += ` ${stage.clause}`;
    stages.push(stage);
  }
  return stages;
}

/** The problem that a chain of stages makes, from its opening on. */
export function problemOf(task: TaskDefinition, stages: readonly Stage[]): Problem {
  let text = '';
  const answers = stages.map(({ clause, answer }, difficulty) => {
    text = difficulty === 0 ? clause : `${text} ${clause}`;
    return { prefixText: text, answer, difficulty };
  });
  return {
    task: task.name,
    difficulty: stages.length - 1,
    text,
    answers,
  };
}

/** @throws ConfigError if `difficulty` is not a positive integer */
export function checkDifficulty(difficulty: number): void {
  if (Number.isSafeInteger(difficulty) && difficulty >= 1) return;
  throw new ConfigError(
    'difficulty',
    `difficulty is ${difficulty}; it must be a whole number of moves of at least 1.`,
  );
}

function pick<Item>(items: readonly Item[], rng: RandomGenerator): Item {
  const item = items[uniformInt(rng, 0, items.length - 1)];
  assert(item !== undefined, 'picked from an empty list');
  return item;
}

/** Draws an item in proportion to its weight. */
export function pickWeighted<Item extends { readonly weight: number }>(
  items: readonly Item[],
  rng: RandomGenerator,
): Item {
  let rest = uniformFloat64(rng) * items.reduce((sum, { weight }) => sum + weight, 0);
  const item = items.find(({ weight }) => (rest -= weight) < 0) ?? items.at(-1);
  assert(item !== undefined, 'picked from an empty list');
  return item;
}

/** The same moves for the same value, made once: a training draws millions. */
function remembered(movesOf: (value: number) => readonly Move[]): typeof movesOf {
  const known = new Map<number, readonly Move[]>();
  return (value) => {
    const moves = known.get(value) ?? movesOf(value);
    known.set(value, moves);
    return moves;
  };
}
