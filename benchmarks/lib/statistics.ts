/** Figures of repeated measurements. None of them has a value where nothing was measured. */
import { z } from 'zod';

/**
 * The value below which a fraction of the values lies, between neighbours linearly.
 * Source: Hyndman and Fan 1996, definition 7.
 *
 * @throws RangeError without values
 */
export function quantile(values: readonly number[], fraction: number): number {
  if (values.length === 0) throw new RangeError('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  const place = fraction * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  return below + (place % 1) * (sorted[Math.ceil(place)]! - below);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** @throws RangeError without values */
export function mean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('nothing was measured');
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export const distributionSchema = z.object({ min: z.number(), p25: z.number(), p50: z.number() });

/** Of times, where the lower ones are what the program takes and the rest is what disturbed it. */
export type Distribution = z.infer<typeof distributionSchema>;

export function distribution(values: readonly number[]): Distribution {
  return { min: quantile(values, 0), p25: quantile(values, 0.25), p50: median(values) };
}

/** Median over rounds of the ratio within a round: robust to a machine whose speed drifts. */
export function medianRatio(numerator: readonly number[], denominator: readonly number[]): number {
  if (numerator.length !== denominator.length) throw new RangeError('rounds are missing');
  return median(numerator.map((value, round) => value / denominator[round]!));
}
