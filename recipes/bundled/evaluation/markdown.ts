/**
 * Pieces of the tables: markdown, percentages, and right answers with their uncertainty.
 */
import { wilsonInterval } from 'looplm/eval';
import { TASKS } from '../tasks.js';
import type { Cell } from './figures.js';
import type { TaskName } from './problem-sets.js';
import { isTrainedLength } from './problem-sets.js';

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

/** Mean of a figure of difficulties, each as often as it has problems. */
export function meanOverProblems<One extends { readonly n: number }>(
  cells: readonly One[],
  valueOf: (cell: One) => number,
): number {
  const total = cells.reduce((sum, { n }) => sum + n, 0);
  return cells.reduce((sum, cell) => sum + cell.n * valueOf(cell), 0) / total;
}

/** Right answers of so many. */
export interface Tally {
  readonly n: number;
  readonly correct: number;
}

export function tallyAt(cells: readonly Cell[], depth: number): Tally {
  return addTallies(
    cells.map((cell) => ({ n: cell.n, correct: Math.round(cell.n * at(cell, depth)) })),
  );
}

export function addTallies(tallies: readonly Tally[]): Tally {
  return tallies.reduce(
    (sum, { n, correct }) => ({ n: sum.n + n, correct: sum.correct + correct }),
    { n: 0, correct: 0 },
  );
}

export function subtract(whole: Tally, part: Tally): Tally {
  return { n: whole.n - part.n, correct: whole.correct - part.correct };
}

/** Such as `82.1 % (80.4 to 83.7) of 2016`. */
export function shareWithInterval(tally: Tally): string {
  return `${percent(tally.correct / tally.n)} (${intervalText(tally)}) of ${tally.n}`;
}

export function intervalText({ n, correct }: Tally): string {
  return wilsonInterval(correct, n)
    .map((bound) => (100 * bound).toFixed(1))
    .join(' to ');
}

/** The cells of a task that training reached. */
export function trainedLengths<One extends Cell>(
  cells: readonly One[],
  name: TaskName,
): readonly One[] {
  return cells.filter((cell) => cell.task === name && isTrainedLength(cell));
}

/** Its lengths, such as `1 to 8`. */
export function trainedRange(task: TaskName): string {
  return `1 to ${TASKS[task].maxTrainedDifficulty}`;
}
