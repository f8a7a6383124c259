/**
 * Next-token batches from a flat array of tokens.
 *
 * The one idea: each row is a window at a random place, drawn anew from the seed and the two
 * indices; the end-of-text token closes a document, and nothing is predicted across it.
 * Does not know where the tokens come from: the caller reads the file.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { ConfigError } from '../errors.js';
import type { BatchSource, TrainingBatch } from './batch.js';
import { IGNORED_TARGET } from './batch.js';
import { checkBatchSize } from './packing.js';
import { generatorFor } from '../util/random.js';

/** What to cut windows from. */
export interface TokenShardSourceOptions {
  /** All tokens, documents one after the other, each closed by `endOfTextId`. Borrowed. */
  readonly tokens: Uint16Array | Uint32Array;
  /** The token that closes a document and belongs to it. */
  readonly endOfTextId: number;
  /** Rows of a batch, B. */
  readonly rows: number;
  /** Positions of a row, T. */
  readonly length: number;
  readonly seed: number;
}

/**
 * Source of random windows of a token array. Targets are the ids shifted by one; at the token that
 * closes a document nothing is counted. A document that began before the window counts its
 * positions from the window's start. Rows have no padding.
 *
 * @throws ConfigError if `rows` or `length` is not a positive integer, or if there are not at
 * least `length + 1` tokens.
 */
export function tokenShardSource(options: TokenShardSourceOptions): BatchSource {
  const { tokens, endOfTextId, rows, length, seed } = options;
  checkBatchSize(rows, length);
  const lastStart = tokens.length - length - 1;
  if (lastStart < 0) {
    throw new ConfigError(
      'tokens',
      `The shard has ${tokens.length} tokens; rows of ${length} need at least ${length + 1}. ` +
        'Use shorter rows or more text.',
    );
  }
  return {
    rows,
    length,
    batchAt(trainStep: number, microBatch: number): TrainingBatch {
      const rng = generatorFor(seed, trainStep, microBatch);
      const batch = emptyBatch(rows, length);
      for (let row = 0; row < rows; row++) {
        const start = uniformInt(rng, 0, lastStart);
        fillRow(batch, row, tokens.subarray(start, start + length + 1), endOfTextId);
      }
      return batch;
    },
  };
}

/** @param window - `length + 1` tokens: the row's ids and the target of its last position. */
function fillRow(
  { ids, targets, segments, positions, length }: TrainingBatch,
  row: number,
  window: Uint16Array | Uint32Array,
  endOfTextId: number,
): void {
  const offset = row * length;
  ids.set(window.subarray(0, length), offset);
  targets.set(window.subarray(1), offset);
  let segment = 1;
  let position = 0;
  for (let index = offset; index < offset + length; index++) {
    segments[index] = segment;
    positions[index] = position++;
    if (ids[index] !== endOfTextId) continue;
    targets[index] = IGNORED_TARGET;
    segment++;
    position = 0;
  }
}

function emptyBatch(rows: number, length: number): TrainingBatch {
  const zeros = () => new Int32Array(rows * length);
  const [ids, targets, segments, positions] = [zeros(), zeros(), zeros(), zeros()];
  return { rows, length, ids, targets, segments, positions };
}
