/**
 * Rows of text as columns: texts to the left, numbers to the right.
 */
import { printable } from '../util/quote.js';

export interface TableOptions {
  readonly indent?: string;
  /** Columns of text. Default: the first one. */
  readonly textColumns?: readonly number[];
}

/** Aligned lines; every row has as many cells as the first, which is the heading. */
export function table(
  rows: readonly (readonly string[])[],
  { indent = '  ', textColumns = [0] }: TableOptions = {},
): string[] {
  const shown = rows.map((row) => row.map(printable)); // cells may be names in a stranger's file
  const widths = (shown[0] ?? []).map((_, column) =>
    shown.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  return shown.map((row) => {
    const cells = row.map((cell, column) =>
      textColumns.includes(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
    );
    return `${indent}${cells.join('  ')}`.trimEnd();
  });
}

const UNITS = ['', ' k', ' M', ' G', ' T'] as const;

/** A count with a decimal unit and three digits, such as `2.94 M`. */
export function short(value: number): string {
  const scaled = Number(value.toPrecision(3)); // 999.6 k is 1.00 M
  const power = Math.min(
    UNITS.length - 1,
    Math.max(0, Math.floor(Math.log10(Math.max(1, scaled)) / 3)),
  );
  return power === 0 ? String(value) : `${(value / 1000 ** power).toPrecision(3)}${UNITS[power]}`;
}

/** A size, such as `2.94 MB` or `12 B`. */
export function shortBytes(value: number): string {
  const text = short(value);
  return `${text}${text.includes(' ') ? '' : ' '}B`;
}
