/**
 * Pieces of the tables: markdown, percentages, and right answers with their uncertainty.
 */
import { wilsonInterval } from 'looplm/eval';
import type { Cell } from './figures.js';

export function section(title: string, text: string, body: string): string {
  return `### ${title}\n\n${text}\n\n${body}`;
}

/** A table in markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** A fraction as percent with one decimal. */
export function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)} %`;
}

/** 1 to R. */
export function depths(numLoops: number): number[] {
  return Array.from({ length: numLoops }, (_, loopIndex) => loopIndex + 1);
}

/** Accuracy of a cell at a depth. */
export function at({ accuracyByDepth }: Cell, depth: number): number {
  return accuracyByDepth[depth - 1]!;
}

/** Mean of a figure of difficulties, each as often as it has questions. */
export function meanOverQuestions<One extends { readonly n: number }>(
  cells: readonly One[],
  valueOf: (cell: One) => number,
): number {
  const total = cells.reduce((sum, { n }) => sum + n, 0);
  return cells.reduce((sum, cell) => sum + cell.n * valueOf(cell), 0) / total;
}

/** Right answers of so many, such as `82.1 % (80.4 to 83.7) of 2016`; nothing where there are none. */
export function shareWithInterval(cells: readonly Cell[], depth: number): string {
  if (cells.length === 0) return '';
  const n = cells.reduce((sum, cell) => sum + cell.n, 0);
  const correct = cells.reduce((sum, cell) => sum + Math.round(cell.n * at(cell, depth)), 0);
  const interval = wilsonInterval(correct, n).map((bound) => (100 * bound).toFixed(1));
  return `${percent(correct / n)} (${interval.join(' to ')}) of ${n}`;
}
