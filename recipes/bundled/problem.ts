/**
 * What a problem is, whatever it is about.
 *
 * The one idea: a problem is a conversation in pieces of text, and wherever something can be said
 * before the end (where the ball is after each swap) the piece says it. Those running answers are what
 * a model learns from; the reply is what a person reads.
 * Does not know tokens, templates or the model.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/** A stretch of text. The pieces of a turn in a row are its text, spaces included. */
export interface Piece {
  readonly text: string;
  /** The answer as it stands at the end of the piece: one word, its space before it. */
  readonly running?: string | undefined;
}

/** A short sentence in which one word, the answer, says it all. */
export interface Reply {
  /** What stands before the answer; may be empty. */
  readonly before: string;
  /** One word; with its space before it, unless the reply begins with it. */
  readonly answer: string;
  readonly after: string;
}

export interface Turn {
  readonly asked: readonly Piece[];
  readonly reply: Reply;
  /** How hard the question is; counted from 1. */
  readonly difficulty: number;
}

export interface Problem {
  readonly task: string;
  readonly turns: readonly Turn[];
  /**
   * The problems that it poses, its beginnings included, each in a form that does not depend on the
   * phrasing. Single steps, which are the building blocks of others, are not listed; of sums a single one is.
   */
  readonly keys: readonly string[];
  /** It is to be written as plain text. */
  readonly isPlain?: boolean | undefined;
  /** It only makes sense as a chat. */
  readonly isChat?: boolean | undefined;
}

/** Whole numbers from the first to the last, both included. */
export type Range = readonly [from: number, to: number];

/** How large problems are. */
export interface Lesson {
  /** Steps, hops, comparisons: what a task counts as difficulty. */
  readonly difficulty: Range;
  /** Facts or people of a problem, numbers that occur in it, places of a move: what a task counts as size. */
  readonly size: Range;
  /**
   * For what is hard to begin with: many questions to a text, answered by a word alone, all said in one
   * way (`plain`) or in every way (`worded`). By default as people type, answered in sentences.
   */
  readonly form?: 'plain' | 'worded';
}

/** Phrasings that training uses, and those that it never shows. */
export type Wording = 'trained' | 'held-out';

export interface TaskDefinition {
  readonly name: string;
  /** One line for a reader who has never seen the task. */
  readonly description: string;
  /** Share of the documents, relative to the other tasks. */
  readonly weight: number;
  /** From easy to all that is trained; a lesson follows when the one before it is learnt. */
  readonly lessons: readonly Lesson[];
  /** Draws a problem. All its randomness comes from `rng`. */
  draw(rng: RandomGenerator, lesson: Lesson, wording: Wording): Problem;
  /** All words of its texts, as they stand in them. Words of `COMMON` need not be named. */
  readonly words: readonly string[];
}

/** The reply to whatever cannot be known. */
export const UNKNOWN: Reply = { before: '', answer: 'I', after: " don't know." };
/** The running answer where nothing can be known. */
export const RUNNING_UNKNOWN = ' I';

/** "It's Ann." */
export function itIs(answer: string, { before = "It's", after = '.' } = {}): Reply {
  return { before, answer: ` ${answer}`, after };
}

/** A question whose answer is known before its last sign. */
export const question = (text: string, answer: string): readonly Piece[] => [
  { text: text.slice(0, -1), running: ` ${answer}` },
  { text: text.slice(-1) },
];

/** One problem after the other in a single conversation. */
export const conversationOf = (problems: readonly Problem[]): Problem => ({
  task: problems.at(-1)!.task,
  turns: problems.flatMap(({ turns }) => turns),
  keys: problems.flatMap(({ keys }) => keys),
  isChat: true,
});

/** The text of some pieces. */
export const textOf = (pieces: readonly Piece[]): string => pieces.map(({ text }) => text).join('');
export const replyText = ({ before, answer, after }: Reply): string => before + answer + after;
