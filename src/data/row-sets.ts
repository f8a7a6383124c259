/**
 * Rows to train on, by number: of documents in memory, and of shards of tokens.
 */
import { ConfigError } from '../errors.js';
import type { TrainingDocument } from './batch.js';
import { planRows } from './row-plan.js';
import type { Shard } from './shards/reader.js';

/** Rows of packed documents; together they hold every document once. */
export interface RowSet {
  /** What to call it in messages. */
  readonly name: string;
  readonly numRows: number;
  /** The documents of a row; together they are at most as long as a row. */
  documentsOf(row: number): readonly TrainingDocument[];
}

/**
 * Documents in memory. One that is longer than a row is cut into several.
 *
 * @param length - positions of a row.
 */
export function documentRows(
  name: string,
  documents: readonly TrainingDocument[],
  length: number,
): RowSet {
  const lengths = documents.map(({ ids }) => ids.length);
  const { numRows, piecesOf } = planRows(lengths, length);
  return {
    name,
    numRows,
    documentsOf: (row) =>
      piecesOf(row).map(({ document, first, positions }) => {
        const { ids, targets } = documents[document]!;
        const end = first + positions;
        return { ids: ids.slice(first, end), targets: targets.slice(first, end) };
      }),
  };
}

/**
 * The tokens of shards, each of which predicts the next one of its document.
 *
 * @param length - positions of a row.
 * @throws ConfigError if there is nothing to predict in them.
 */
export function shardRows(name: string, shards: readonly Shard[], length: number): RowSet {
  const plans = shards.map((shard) => {
    const positions = new Uint32Array(shard.numDocuments);
    for (let i = 0; i < positions.length; i++) positions[i] = shard.lengthOf(i) - 1;
    return planRows(positions, length);
  });
  const firstRows: number[] = [];
  let numRows = 0;
  for (const plan of plans) {
    firstRows.push(numRows);
    numRows += plan.numRows;
  }
  if (numRows === 0) {
    throw new ConfigError('data', `${name} holds nothing to train on. Give more text.`);
  }
  return {
    name,
    numRows,
    documentsOf(row) {
      const index = lastAtMost(firstRows, row);
      const shard = shards[index]!;
      return plans[index]!.piecesOf(row - firstRows[index]!).map(({ document, first, positions }) =>
        shard.nextTokenDocument(document, first, positions),
      );
    },
  };
}

/** Index of the last of rising numbers that is not above a value. */
function lastAtMost(rising: readonly number[], value: number): number {
  let low = 0;
  let high = rising.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rising[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
