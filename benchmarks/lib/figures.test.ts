/** Laws of what benchmarks make of their rounds: statistics, goals, result files. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { goal, goalSchema, goalTable, isMet } from './goals.js';
import { resultText } from './harness.js';
import { distribution, median, medianRatio, quantile } from './statistics.js';

const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1 });

describe('statistics', () => {
  test('of a list counted by hand', () => {
    const values = [40, 10, 30, 20, 50];
    expect(distribution(values)).toEqual({ min: 10, p25: 20, p50: 30 });
    expect(quantile([1, 2], 0.25)).toBe(1.25);
    expect(median([1, 2, 3, 10])).toBe(2.5);
    expect(values).toEqual([40, 10, 30, 20, 50]);
  });

  test('levels rise, lie within the values, and do not depend on their order', () => {
    fc.assert(
      fc.property(numbers, fc.nat(), (values, seed) => {
        const { min, p25, p50 } = distribution(values);
        expect([min, p25, p50]).toEqual([min, p25, p50].toSorted((a, b) => a - b));
        expect(min).toBe(Math.min(...values));
        expect(p50).toBeLessThanOrEqual(Math.max(...values));
        const rotated = [
          ...values.slice(seed % values.length),
          ...values.slice(0, seed % values.length),
        ];
        expect(distribution(rotated)).toEqual({ min, p25, p50 });
      }),
      { seed: 1 },
    );
  });

  test('a ratio is taken within rounds, so a machine that slows down does not show', () => {
    const drift = [1, 2, 4, 8];
    expect(
      medianRatio(
        drift.map((slow) => 3 * slow),
        drift,
      ),
    ).toBe(3);
    expect(() => medianRatio([1, 2], [1])).toThrow('rounds are missing');
  });

  test('nothing measured has no figure', () => {
    expect(() => median([])).toThrow('nothing was measured');
    expect(() => distribution([])).toThrow('nothing was measured');
    expect(() => medianRatio([], [])).toThrow('nothing was measured');
  });
});

describe('goals', () => {
  test('the worst of several figures counts', () => {
    expect(goal('fast', { atLeast: 1 }, [3, 0.5, 2]).value).toBe(0.5);
    expect(goal('small', { atMost: 1 }, [3, 0.5, 2]).value).toBe(3);
  });

  test('are met at their bounds and missed beyond them', () => {
    const bounds = { atLeast: 0.9, atMost: 1.1 };
    const met = [0.9, 1, 1.1].map((value) => isMet({ name: 'a', ...bounds, value }));
    const missed = [0.89, 1.11].map((value) => isMet({ name: 'a', ...bounds, value }));
    expect([met, missed]).toEqual([
      [true, true, true],
      [false, false],
    ]);
    expect(goalTable([goal('a goal', { atLeast: 1 }, [1.5])])).toContain(
      '| a goal | 1.00 |  | 1.500 | met |',
    );
  });

  test.each([[[]], [[Number.NaN]], [[1, Infinity / Infinity]]])(
    'without a figure are errors: %s',
    (values) => {
      expect(() => goal('a goal', { atLeast: 1 }, values)).toThrow(
        'Nothing was measured for the goal "a goal".',
      );
      expect(() => goal('a goal', { atMost: 1 }, values)).toThrow('a goal');
    },
  );

  test('cannot be read from a file without their figure', () => {
    const written: unknown = JSON.parse(JSON.stringify({ name: 'a', atLeast: 1, value: Infinity }));
    expect(goalSchema.safeParse(written).success).toBe(false);
  });
});

describe('result files', () => {
  test('hold what was measured, numbers in a line', () => {
    fc.assert(
      fc.property(
        fc.record({ name: fc.string(), raw: numbers, deep: fc.array(numbers) }),
        (result) => {
          expect(JSON.parse(resultText(result))).toEqual(JSON.parse(JSON.stringify(result)));
        },
      ),
      { seed: 1 },
    );
    expect(resultText({ raw: [1, -2.5, 3e-7] })).toBe('{\n  "raw": [1, -2.5, 3e-7]\n}');
  });

  test('are refused with a figure that is none', () => {
    const result = { entries: [{ name: 'a', speed: Infinity }] };
    expect(() => resultText(result)).toThrow('The figure "speed" is Infinity');
  });
});
