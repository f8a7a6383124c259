/**
 * Which positions of a batch are read out: those whose targets count, and no others.
 *
 * The one idea: a batch comes with a table of those positions, a line for each chunk of logits. Lines end in
 * fillers that count for nothing, so that there are few lengths of them and memory is used again. What is
 * computed row by row is put back to its positions.
 */
import type { Tensor } from '../graph/index.js';
import {
  cast,
  concat,
  gatherRows,
  greaterOrEqual,
  input,
  intScalar,
  mul,
  reshape,
  slice,
  where,
  withGradient,
} from '../graph/index.js';
import type { HostTensor } from '../runtime/index.js';

/** Bytes of the logits of a chunk, at most (unless those of one row are more). */
const CHUNK_BYTES = 2 ** 26;
/** Lengths that a line may have. */
const LENGTHS = 8;
/** The target of a filler. */
const FILLER = -1;

/** Rows of a chunk at most: of `numRows` about equal ones. */
export function chunkRows(numRows: number, vocabSize: number): number {
  const atMost = Math.max(1, Math.floor(CHUNK_BYTES / (4 * vocabSize)));
  return Math.ceil(numRows / Math.ceil(numRows / atMost));
}

/** The position of each row, `[chunks, M]`. */
const ROWS = 'readout:rows';
/** Its target. */
const LABELS = 'readout:labels';
/** The row of each position, `[N]`. */
const PLACES = 'readout:places';

/**
 * The inputs for a batch of `targets`, for chunks of at most `size` rows. The place of a position that does
 * not count is a filler.
 */
export function readoutFeeds(targets: Int32Array, size: number): Record<string, HostTensor> {
  const numRows = targets.length;
  const numChunks = Math.ceil(numRows / size);
  const counted = [...targets.keys()].filter((row) => targets[row]! >= 0);
  const needed = Math.min(numRows, counted.length + 1);
  const step = Math.ceil(size / LENGTHS);
  const width = Math.min(size, step * Math.ceil(needed / numChunks / step));
  const rows = new Int32Array(numChunks * width);
  const labels = new Int32Array(rows.length).fill(FILLER);
  const places = new Int32Array(numRows).fill(rows.length - 1);
  counted.forEach((row, place) => {
    rows[place] = row;
    labels[place] = targets[row]!;
    places[row] = place;
  });
  const dims = [numChunks, width];
  return {
    [ROWS]: { dtype: 'i32', dims, data: rows },
    [LABELS]: { dtype: 'i32', dims, data: labels },
    [PLACES]: { dtype: 'i32', dims: [numRows], data: places },
  };
}

/** Rows that are read out together. */
export interface ReadoutChunk {
  /** i32 `[M]`, each below N. */
  readonly rows: Tensor;
  /** i32 `[M]`; 0 for a filler. */
  readonly labels: Tensor;
  /** f32 `[M]`: 1, and 0 for a filler. */
  readonly counts: Tensor;
  /** Of numbers `[N]` those of the chunk, `[M]`; 0 for a filler. */
  select(values: Tensor): Tensor;
}

export interface ReadoutRows {
  readonly chunks: readonly ReadoutChunk[];
  /** Numbers of each chunk, `[M]`, as those of all positions, `[N]`; any number where no target counts. */
  spread(values: readonly Tensor[]): Tensor;
  /** Vectors of each chunk, `[M, D]`, as `[N, D]`; those of a filler where no target counts. It takes no gradient. */
  spreadVectors(values: readonly Tensor[]): Tensor;
}

/** @param numRows - positions of a batch, N */
export function readoutRows(numRows: number, size: number): ReadoutRows {
  const numChunks = Math.ceil(numRows / size);
  const allRows = input(ROWS, 'i32', [numChunks, 'M']);
  const allLabels = input(LABELS, 'i32', [numChunks, 'M']);
  const places = input(PLACES, 'i32', [numRows]);
  const chunks = Array.from({ length: numChunks }, (_, index): ReadoutChunk => {
    const rows = line(allRows, index);
    const labels = line(allLabels, index);
    const isRow = greaterOrEqual(labels, intScalar(0));
    const counts = cast(isRow, 'f32');
    return {
      rows,
      labels: where(isRow, labels, intScalar(0)),
      counts,
      select: (values) => mul(gatherRows(values, rows), counts),
    };
  });
  return {
    chunks,
    spread: (values) =>
      withGradient(gatherRows(concat(values, 0), places), values, (grad) =>
        chunks.map(({ select }) => select(grad)),
      ),
    spreadVectors: (values) => gatherRows(concat(values, 0), places),
  };
}

const line = (table: Tensor, index: number): Tensor =>
  reshape(slice(table, 0, index, index + 1), ['M']);
