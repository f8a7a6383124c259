/** Runs that differ in their seed as one line with a band, or one number with its deviation. */
import { mean } from 'looplm/eval';
import type { Line } from 'looplm/charts';

export interface Spread {
  readonly mean: number;
  /** Standard deviation of the sample; 0 of a single value. */
  readonly deviation: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const center = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return { mean: center, deviation: Math.sqrt(squares / Math.max(1, values.length - 1)) };
}

/** "0.612 ± 0.021" */
export function spreadText(values: readonly number[], digits = 3): string {
  const { mean: center, deviation } = spreadOf(values);
  const text = center.toFixed(digits);
  return values.length > 1 ? `${text} ± ${deviation.toFixed(digits)}` : text;
}

export type Series = readonly (readonly [x: number, y: number])[];

/** The mean of series that have the same places, within one deviation to both sides. */
export function lineOf(name: string, runs: readonly Series[]): Line {
  const [first = []] = runs;
  const all = first.map((_, index) => {
    const x = mean(runs.map((run) => run[index]![0]));
    return { x, ...spreadOf(runs.map((run) => run[index]![1])) };
  });
  return {
    name,
    points: all.map(({ x, mean: y }) => [x, y]),
    ...(runs.length > 1 && {
      band: all.map(({ x, mean: y, deviation }) => [x, y - deviation, y + deviation]),
    }),
  };
}

/** Means of so many updates at a time, each at the middle of them, counted from 1. */
export function binned(values: readonly number[], size: number): Series {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, bin) => {
    const part = values.slice(bin * size, (bin + 1) * size);
    return [bin * size + (part.length + 1) / 2, mean(part)];
  });
}

/** Mean over the first quarter of the updates. */
export const earlyMean = (values: readonly number[]): number =>
  mean(values.slice(0, Math.max(1, Math.ceil(values.length / 4))));

/** Mean over the last quarter of the updates. */
export const lateMean = (values: readonly number[]): number =>
  mean(values.slice(Math.floor((3 * values.length) / 4)));
