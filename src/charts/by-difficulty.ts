/** What a looped model does with problems of rising difficulty: accuracy, depths, exits. */
import type { Scale } from './scale.js';
import { lineChart } from './line-chart.js';
import { depthNames, fraction } from './names.js';
import { shareChart } from './share-chart.js';

/** What is known of one kind of problem, by difficulty. */
export interface DifficultySeries<Value> {
  readonly name: string;
  readonly points: readonly { readonly difficulty: number; readonly value: Value }[];
}

const DIFFICULTY = 'difficulty (steps)';

/** Accuracy against difficulty with a line for each depth, a panel for each kind. Values `[R]`. */
export function accuracyByDepthChart(
  kinds: readonly DifficultySeries<readonly number[]>[],
): string {
  return accuracyChart(
    'Accuracy by difficulty at each depth',
    depthNames(mostLoops(kinds)),
    kinds,
    {
      isOrdered: true,
    },
  );
}

/** Accuracy against difficulty with a line for each model, a panel for each kind. Values in the order of `models`. */
export function accuracyByModelChart(
  models: readonly string[],
  kinds: readonly DifficultySeries<readonly number[]>[],
): string {
  return accuracyChart('Accuracy by difficulty of each model', models, kinds);
}

function accuracyChart(
  title: string,
  names: readonly string[],
  kinds: readonly DifficultySeries<readonly number[]>[],
  options: { readonly isOrdered?: boolean } = {},
): string {
  return lineChart({
    title,
    ...options,
    panels: kinds.map(({ name: kind, points }) => ({
      name: kind,
      x: difficultyScale(points),
      y: { ...fraction, name: 'accuracy', min: 0, max: 1 },
      lines: names.map((name, index) => ({
        name,
        points: points.map(({ difficulty, value }) => [difficulty, value[index]!]),
      })),
    })),
  });
}

/** Mean exit depth against difficulty, a line for each kind. */
export function exitDepthByDifficulty(
  kinds: readonly DifficultySeries<number>[],
  numLoops: number,
): string {
  return lineChart({
    title: 'Harder problems take more loops',
    panels: [
      {
        x: difficultyScale(kinds.flatMap(({ points }) => points)),
        y: {
          name: 'mean exit depth (loops)',
          min: 1,
          max: numLoops,
          ticks: Array.from({ length: numLoops }, (_, loopIndex) => loopIndex + 1),
        },
        lines: kinds.map(({ name, points }) => ({
          name,
          points: points.map(({ difficulty, value }) => [difficulty, value]),
        })),
      },
    ],
  });
}

/** Share of problems that exit at each depth, by difficulty; values `[R]`, fractions. */
export function exitDepthHeatmap(kinds: readonly DifficultySeries<readonly number[]>[]): string {
  const rows = Array.from({ length: mostLoops(kinds) }, (_, loopIndex) => String(loopIndex + 1));
  return shareChart({
    title: 'Share of problems that exit at each depth, in %',
    xName: DIFFICULTY,
    yName: 'exit depth (loops)',
    panels: kinds.map(({ name, points }) => ({
      name,
      rows,
      columns: points.map(({ difficulty }) => String(difficulty)),
      shares: points.map(({ value }) => value),
    })),
  });
}

function mostLoops(kinds: readonly DifficultySeries<readonly number[]>[]): number {
  return Math.max(...kinds.flatMap(({ points }) => points.map(({ value }) => value.length)));
}

/** Every difficulty of the points is labelled; half a step of room on both sides. */
function difficultyScale(points: readonly { readonly difficulty: number }[]): Scale {
  const ticks = [...new Set(points.map(({ difficulty }) => difficulty))].toSorted((a, b) => a - b);
  return { name: DIFFICULTY, ticks, min: ticks[0]! - 0.5, max: ticks.at(-1)! + 0.5 };
}
