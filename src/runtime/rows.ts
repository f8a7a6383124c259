/**
 * Copies rows along one axis between row-major tensors.
 *
 * A tensor seen along an axis is `outer` slabs of `rows` rows of `rowBytes` bytes. Neighbouring rows
 * that stay neighbours move together, so a prefill is one copy per slab.
 * Knows bytes only: neither element types nor devices.
 */
import { ShapeError } from '../errors.js';

/** One side of a copy: its bytes and how many rows each slab has. */
export interface RowSpace {
  readonly bytes: Uint8Array;
  readonly numRows: number;
}

export interface RowLayout {
  /** Product of the sizes before the axis. */
  readonly outer: number;
  /** Bytes of one row: product of the sizes after the axis, times the element size. */
  readonly rowBytes: number;
}

/**
 * Copies row `fromRows[i]` to row `toRows[i]` in every slab. If both sides share memory, every row is
 * read before any is written. The row numbers must be in range (`checkRows`).
 */
export function copyRows(
  from: RowSpace,
  to: RowSpace,
  layout: RowLayout,
  fromRows: readonly number[],
  toRows: readonly number[],
): void {
  const { outer, rowBytes } = layout;
  if (from.bytes.buffer === to.bytes.buffer) {
    const numRows = fromRows.length;
    const between = { bytes: new Uint8Array(outer * numRows * rowBytes), numRows };
    const betweenRows = fromRows.map((_, index) => index);
    copyRows(from, between, layout, fromRows, betweenRows);
    return copyRows(between, to, layout, betweenRows, toRows);
  }
  const runs = consecutiveRuns(fromRows, toRows);
  for (let slab = 0; slab < outer; slab++) {
    for (const run of runs) {
      const start = (slab * from.numRows + run.from) * rowBytes;
      const target = (slab * to.numRows + run.to) * rowBytes;
      to.bytes.set(from.bytes.subarray(start, start + run.length * rowBytes), target);
    }
  }
}

/** Stretches of row pairs in which both row numbers grow by one. */
function consecutiveRuns(
  fromRows: readonly number[],
  toRows: readonly number[],
): readonly { from: number; to: number; length: number }[] {
  const runs: { from: number; to: number; length: number }[] = [];
  for (const [index, from] of fromRows.entries()) {
    const to = toRows[index]!;
    const last = runs.at(-1);
    if (last && from === last.from + last.length && to === last.to + last.length) last.length++;
    else runs.push({ from, to, length: 1 });
  }
  return runs;
}

/** @throws ShapeError if a row number is not an integer of `0..numRows-1` */
export function checkRows(what: string, rows: readonly number[], numRows: number): void {
  for (const row of rows) {
    if (Number.isInteger(row) && row >= 0 && row < numRows) continue;
    throw new ShapeError(
      `${what} names row ${row}; there are ${numRows} rows, counted from 0. Pass rows that exist.`,
    );
  }
}

/** How rows along `axis` lie in a tensor. @throws ShapeError if the axis does not exist */
export function rowLayout(
  what: string,
  dims: readonly number[],
  axis: number,
  elementBytes: number,
): RowLayout {
  if (!Number.isInteger(axis) || axis < 0 || axis >= dims.length) {
    throw new ShapeError(
      `${what} has axis ${axis}; [${dims.join(', ')}] has axes 0 to ${dims.length - 1}. Pass one of them.`,
    );
  }
  const product = (sizes: readonly number[]) => sizes.reduce((size, dim) => size * dim, 1);
  return {
    outer: product(dims.slice(0, axis)),
    rowBytes: product(dims.slice(axis + 1)) * elementBytes,
  };
}

/** @throws ShapeError unless both shapes agree everywhere but on `axis` */
export function checkOtherAxes(
  what: string,
  from: readonly number[],
  to: readonly number[],
  axis: number,
): void {
  const agrees = from.length === to.length && from.every((dim, i) => i === axis || dim === to[i]);
  if (agrees) return;
  throw new ShapeError(
    `${what} copies rows of [${from.join(', ')}] into [${to.join(', ')}]; every axis but ${axis} must agree. Use a buffer of that shape.`,
  );
}
