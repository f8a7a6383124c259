import { describe, expect, test } from 'vitest';
import { drawUniform } from './random.js';

const SIDE = 120;
const draws = (draw: (row: number, column: number) => number) =>
  Array.from({ length: SIDE * SIDE }, (_, n) => draw(Math.floor(n / SIDE), n % SIDE));

const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;

/** Correlation of neighbours along the rows of the grid, times the root of their number (a z value). */
function neighbourZ(values: readonly number[]): number {
  const products = values.slice(1).map((value, n) => 12 * (value - 0.5) * (values[n]! - 0.5));
  return mean(products) * Math.sqrt(products.length);
}

describe('addressed draws', () => {
  const bySeedAndToken = draws((seed, token) => drawUniform(seed, token, 'token'));
  const byTokenAndSeed = draws((token, seed) => drawUniform(seed, token, 'token'));

  test('are uniform over neighbouring seeds and tokens', () => {
    const counts = Array.from({ length: 20 }, () => 0);
    for (const u of bySeedAndToken) counts[Math.floor(u * 20)]! += 1;
    const expected = bySeedAndToken.length / 20;
    const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 0.1 % point of chi-square with 19 degrees of freedom
    expect(statistic).toBeLessThan(43.82);
  });

  test('of neighbouring tokens, seeds and purposes are uncorrelated', () => {
    expect(Math.abs(neighbourZ(bySeedAndToken))).toBeLessThan(3.3);
    expect(Math.abs(neighbourZ(byTokenAndSeed))).toBeLessThan(3.3);
    const purposes = draws((seed, token) =>
      drawUniform(seed, token >> 1, token & 1 ? 'exit' : 'token'),
    );
    expect(Math.abs(neighbourZ(purposes))).toBeLessThan(3.3);
  });

  test('are all different, also for seeds beyond 32 bits', () => {
    const large = [0, 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 33, Number.MAX_SAFE_INTEGER];
    const all = [...bySeedAndToken, ...large.slice(2).map((seed) => drawUniform(seed, 0, 'token'))];
    expect(new Set(all).size).toBe(all.length);
  });
});
