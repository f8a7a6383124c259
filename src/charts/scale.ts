/** From values to places along a side of a panel, and the round numbers to label. By d3-scale. */
import { scaleLinear, scaleLog } from 'd3-scale';
import type { Axis } from './frame.js';

/** A quantity along one side of a panel. Without bounds it spans the data, widened to round numbers. */
export interface Scale {
  readonly name: string;
  /** Default linear. A logarithmic one shows values above 0 only. */
  readonly kind?: 'linear' | 'log';
  readonly min?: number;
  readonly max?: number;
  /** Places that are labelled, instead of round numbers. */
  readonly ticks?: readonly number[];
  /** Text of a tick; plain numbers without it. */
  format?(value: number): string;
}

export interface Placed {
  readonly axis: Axis;
  /** Where a value lies, 0 to 1 between the bounds; not finite for one that cannot be shown. */
  place(value: number): number;
}

/** Fits a scale to the values that it shall show; about `numTicks` are labelled. */
export function fitScale(scale: Scale, values: readonly number[], numTicks: number): Placed {
  const isLog = scale.kind === 'log';
  const shown = values.filter((value) => Number.isFinite(value) && (!isLog || value > 0));
  const [lowest, highest] = shown.length > 0 ? [Math.min(...shown), Math.max(...shown)] : [1, 1];
  const { min = lowest, max = highest, name, format = String } = scale;
  const place = (isLog ? scaleLog : scaleLinear)([min, max], [0, 1]);
  if (scale.min === undefined || scale.max === undefined) {
    const [low, high] = place.copy().nice().domain() as [number, number];
    place.domain([scale.min ?? low, scale.max ?? high]);
  }
  const round = isLog ? powersOfTen(place.ticks()) : place.ticks(numTicks);
  const ticks = (scale.ticks ?? round).map((value) => ({ at: place(value), text: format(value) }));
  return { axis: { name, ticks, hasGrid: true }, place: (value) => place(value) };
}

/** The powers of ten among ticks, or all where there are not two of them. */
function powersOfTen(ticks: readonly number[]): readonly number[] {
  const powers = ticks.filter((value) => Math.abs(Math.log10(value) % 1) < 1e-9);
  return powers.length > 1 ? powers : ticks;
}
