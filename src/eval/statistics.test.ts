/** Laws of the statistics, checked against definitions and values worked out by hand. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ShapeError } from '../errors.js';
import { mean, meanRows, spearman, wilsonInterval } from './statistics.js';

const FC_SEED = 20260302;
const distinct = fc.uniqueArray(fc.integer({ min: -1000, max: 1000 }), {
  minLength: 2,
  maxLength: 20,
});

describe('rank correlation', () => {
  test('without ties it is 1 - 6 sum d^2 / (n (n^2 - 1))', () => {
    // Ranks of x: 1 2 3 4 5; of y: 2 1 4 3 5; sum of squared differences 4; 1 - 24 / 120.
    expect(spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 99])).toBeCloseTo(0.8, 12);
  });

  test('equal values share the mean of their places', () => {
    // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
    expect(spearman([1, 7, 7, 9], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(22.5), 12);
  });

  test('any rising function of x correlates fully, any falling one inversely', () => {
    fc.assert(
      fc.property(distinct, (xs) => {
        expect(
          spearman(
            xs,
            xs.map((x) => Math.exp(x / 500)),
          ),
        ).toBeCloseTo(1, 12);
        expect(
          spearman(
            xs,
            xs.map((x) => -(x ** 3)),
          ),
        ).toBeCloseTo(-1, 12);
      }),
      { seed: FC_SEED },
    );
  });

  test('it is symmetric and lies between -1 and 1', () => {
    const pairs = fc.array(fc.tuple(fc.integer(), fc.integer()), { minLength: 2, maxLength: 20 });
    fc.assert(
      fc.property(pairs, (list) => {
        const [xs, ys] = [list.map(([x]) => x), list.map(([, y]) => y)];
        const rho = spearman(xs, ys);
        expect(Math.abs(rho)).toBeLessThanOrEqual(1 + 1e-12);
        expect(spearman(ys, xs)).toBeCloseTo(rho, 12);
      }),
      { seed: FC_SEED },
    );
  });

  test('a constant list has no order to agree with', () => {
    expect(spearman([1, 2, 3], [5, 5, 5])).toBe(0);
  });

  test('lists of different or too small length are refused', () => {
    expect(() => spearman([1, 2], [1])).toThrow(ShapeError);
    expect(() => spearman([1], [1])).toThrow(ShapeError);
  });
});

test('the mean of nothing is not a number', () => {
  expect(mean([])).toBeNaN();
  expect(mean([1, 2, 6])).toBe(3);
});

test('rows are averaged entry by entry', () => {
  expect(
    meanRows([
      [1, 2],
      [3, 6],
    ]),
  ).toEqual([2, 4]);
});

describe("Wilson's interval", () => {
  test('agrees with values worked out by hand', () => {
    // (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), z = 1.959964
    const rounded = (successes: number, draws: number) =>
      wilsonInterval(successes, draws).map((bound) => Number(bound.toFixed(4)));
    expect(rounded(0, 10)).toEqual([0, 0.2775]);
    expect(rounded(5, 10)).toEqual([0.2366, 0.7634]);
    expect(rounded(1, 1)).toEqual([0.2065, 1]);
  });

  test('holds the share, is symmetric, and narrows with more draws', () => {
    const counts = fc
      .integer({ min: 1, max: 500 })
      .chain((draws) => fc.tuple(fc.integer({ min: 0, max: draws }), fc.constant(draws)));
    fc.assert(
      fc.property(counts, ([successes, draws]) => {
        const [low, high] = wilsonInterval(successes, draws);
        expect(low).toBeLessThanOrEqual(successes / draws + 1e-12);
        expect(high).toBeGreaterThanOrEqual(successes / draws - 1e-12);
        const [mirrored] = wilsonInterval(draws - successes, draws);
        expect(mirrored).toBeCloseTo(1 - high, 12);
        const [lower, higher] = wilsonInterval(4 * successes, 4 * draws);
        expect(higher - lower).toBeLessThan(high - low);
      }),
      { seed: FC_SEED },
    );
  });

  test('without draws there is none', () => {
    expect(() => wilsonInterval(0, 0)).toThrow(ShapeError);
    expect(() => wilsonInterval(3, 2)).toThrow(ShapeError);
  });
});
