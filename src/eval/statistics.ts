/**
 * The few statistics that evaluation reports: means, means of groups, rank correlation, and the
 * uncertainty of a proportion.
 *
 * Knows no model. Ties in a ranking share the mean of their places.
 */
import { ShapeError } from '../errors.js';

/** Arithmetic mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Entry-wise mean of rows of equal length; a row for each group weighs every group the same. */
export function meanRows(rows: readonly (readonly number[])[]): number[] {
  return (rows[0] ?? []).map((_, column) => mean(rows.map((row) => row[column]!)));
}

/**
 * Spearman's rank correlation, -1 to 1: Pearson's correlation of the ranks. 0 if either list is
 * constant, since it then has no order to agree with.
 *
 * @throws ShapeError if the lists differ in length or have fewer than 2 entries.
 */
export function spearman(xs: readonly number[], ys: readonly number[]): number {
  if (xs.length !== ys.length || xs.length < 2) {
    throw new ShapeError(
      `spearman got lists of ${xs.length} and ${ys.length} values; they must have the same length, ` +
        'at least 2. Give one y for each x.',
    );
  }
  const [a, b] = [deviations(ranks(xs)), deviations(ranks(ys))];
  const scale = Math.sqrt(dot(a, a) * dot(b, b));
  return scale === 0 ? 0 : dot(a, b) / scale;
}

/** Quantile of the normal distribution that leaves 2.5 % on each side. */
const NORMAL_95 = 1.959964;

/**
 * 95 % interval of a proportion from independent draws, by Wilson's score; within [0, 1] also where none
 * or all succeed.
 *
 * Source: E. B. Wilson, Probable inference, J. Am. Stat. Assoc. 22 (1927).
 *
 * @throws ShapeError if there are no draws or more successes than draws.
 */
export function wilsonInterval(successes: number, draws: number): [low: number, high: number] {
  if (!(draws >= 1 && successes >= 0 && successes <= draws)) {
    throw new ShapeError(
      `wilsonInterval got ${successes} successes of ${draws} draws; it needs at least 1 draw, and no more successes than draws.`,
    );
  }
  const share = successes / draws;
  const z2 = NORMAL_95 ** 2 / draws;
  const center = (share + z2 / 2) / (1 + z2);
  const half = Math.sqrt((share * (1 - share) + z2 / 4) * z2) / (1 + z2);
  return [Math.max(0, center - half), Math.min(1, center + half)];
}

/** Place of each value in the sorted list, from 1; equal values share the mean of their places. */
function ranks(values: readonly number[]): number[] {
  return values.map((value) => {
    const below = values.filter((other) => other < value).length;
    const equal = values.filter((other) => other === value).length;
    return below + (equal + 1) / 2;
  });
}

function deviations(values: readonly number[]): number[] {
  const center = mean(values);
  return values.map((value) => value - center);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * b[index]!, 0);
}
