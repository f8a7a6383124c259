/** Means and deviations over seeds, against numbers worked out by hand. */
import { expect, test } from 'vitest';
import { binned, earlyMean, lateMean, lineOf, spreadOf, spreadText } from './spread.js';

test('the deviation is that of the sample, and 0 of a single value', () => {
  expect(spreadOf([1, 2, 3])).toEqual({ mean: 2, deviation: 1 });
  expect(spreadOf([5])).toEqual({ mean: 5, deviation: 0 });
  expect(spreadText([1, 2, 3], 1)).toBe('2.0 ± 1.0');
  expect(spreadText([5])).toBe('5.000');
});

test('a line runs through the mean of the runs, its band one deviation to both sides', () => {
  const { points, band } = lineOf('a', [
    [
      [0, 1],
      [10, 4],
    ],
    [
      [0, 3],
      [20, 4],
    ],
  ]);
  expect(points).toEqual([
    [0, 2],
    [15, 4],
  ]);
  const [first, second] = band!;
  expect(first![1]).toBeCloseTo(2 - Math.SQRT2);
  expect(first![2]).toBeCloseTo(2 + Math.SQRT2);
  expect(second).toEqual([15, 4, 4]);
});

test('a single run has no band', () => {
  expect(lineOf('a', [[[1, 2]]])).toEqual({ name: 'a', points: [[1, 2]] });
});

test('bins stand at the middle of their updates, the last one of fewer', () => {
  expect(binned([1, 3, 5, 7, 9], 2)).toEqual([
    [1.5, 2],
    [3.5, 6],
    [5, 9],
  ]);
});

test('a run goes from the mean of its first quarter to that of its last', () => {
  const values = [5, 7, 0, 0, 0, 0, 1, 3];
  expect(earlyMean(values)).toBe(6);
  expect(lateMean(values)).toBe(2);
  expect([earlyMean([4]), lateMean([4])]).toEqual([4, 4]);
});
