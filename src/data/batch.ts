/**
 * The shapes of training data: one document, and one packed batch.
 *
 * The one idea: inputs and targets are separate, so a label may stand at any position and need not
 * be the next token. A batch is a rectangle in which several documents may share a row; `segments`
 * keeps them from seeing each other. Does not know where tokens come from or what a loss is.
 */

/** Target of a position that no loss counts. */
export const IGNORED_TARGET = -100;

/** One training example. `ids` and `targets` have equal, non-zero length. */
export interface TrainingDocument {
  /** Input token ids. */
  readonly ids: readonly number[] | Int32Array;
  /** What each position should predict; `IGNORED_TARGET` where nothing is counted. */
  readonly targets: readonly number[] | Int32Array;
  /** What an objective of its own reads, one number for each position, by name. */
  readonly extra?: Readonly<Record<string, Float32Array | Int32Array>>;
  /** Of continuations that share a beginning. Default: one text. */
  readonly branches?: Branches;
}

/**
 * Continuations of one beginning in a row: each lies after the others, as if it followed the beginning, and
 * sees no other one.
 */
export interface Branches {
  /** Position of each token in its text, from 0. */
  readonly positions: Int32Array;
  /** Index in the document from which on each token is not seen any more. */
  readonly seenUntil: Int32Array;
}

/** A rectangle of `rows` x `length` positions, row-major; every array has `rows * length` items. */
export interface TrainingBatch {
  /** Number of rows, B. */
  readonly rows: number;
  /** Positions of a row, T. */
  readonly length: number;
  /** `[B * T]` input token ids; the padding id where `segments` is 0. */
  readonly ids: Int32Array;
  /** `[B * T]` target ids, `IGNORED_TARGET` where not counted. */
  readonly targets: Int32Array;
  /** `[B * T]` number of the document within its row, from 1; 0 marks padding. */
  readonly segments: Int32Array;
  /** `[B * T]` position within the document, from 0; 0 at padding. */
  readonly positions: Int32Array;
  /**
   * `[B * T]` position of its row from which on each is not seen any more. Default: the end of its
   * document.
   */
  readonly seenUntil?: Int32Array;
  /** `[B * T]` each: what an objective of its own reads beside tokens and targets, by name. */
  readonly extra?: Readonly<Record<string, Float32Array | Int32Array>>;
}

/** Where a trainer gets its batches. */
export interface BatchSource {
  /** Rows of every batch, B. */
  readonly rows: number;
  /** Positions of every row, T. */
  readonly length: number;
  /**
   * The batch of one micro-step. A pure function of the source's settings and the two indices, so
   * a resumed run goes on with exactly the batches it would have seen.
   *
   * @param trainStep - optimizer update, from 0.
   * @param microBatch - index within the update's accumulated batches, from 0.
   * @param index - micro-batches of the stage before this one, for sources that count them. After a loss
   *   spike some are left out.
   * @returns a new batch, which the caller owns.
   */
  batchAt(trainStep: number, microBatch: number, index?: number): TrainingBatch;
}
