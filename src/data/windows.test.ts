/** Laws of drawing rows from a list: windows are parts of documents, and every token is reached. */
import { expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { generatorFor } from '../util/random.js';
import type { TrainingDocument } from './batch.js';
import { windowsOf } from './windows.js';

const documentFrom = (first: number, length: number): TrainingDocument => {
  const ids = Array.from({ length }, (_, index) => first + index);
  return { ids, targets: ids.map((id) => id + 1) };
};
const LENGTH = 8;
const documents = [documentFrom(0, 5), documentFrom(100, 8), documentFrom(200, 30)];

test('a short document comes whole, a long one as a window of full length, with its targets', () => {
  const draw = windowsOf(documents, LENGTH);
  const rng = generatorFor(1);
  const starts = new Set<number>();
  for (let i = 0; i < 500; i++) {
    const { ids, targets } = draw(rng);
    const first = ids[0]!;
    const length = first < 100 ? 5 : LENGTH;
    expect([...ids]).toEqual(Array.from({ length }, (_, index) => first + index));
    expect([...targets]).toEqual([...ids].map((id) => id + 1));
    starts.add(first);
  }
  // The long one begins at every place where a window fits.
  expect([...starts].toSorted((a, b) => a - b)).toEqual([
    0,
    100,
    ...Array.from({ length: 30 - LENGTH + 1 }, (_, index) => 200 + index),
  ]);
});

test('a document counts as often as it has rows', () => {
  const draw = windowsOf(documents, LENGTH);
  const rng = generatorFor(2);
  const counts = [0, 0, 0];
  for (let i = 0; i < 6000; i++) counts[Math.floor(draw(rng).ids[0]! / 100)]!++;
  // Shares 1, 1 and 4 of 6; five standard deviations.
  [1000, 1000, 4000].forEach((expected, index) =>
    expect(Math.abs(counts[index]! - expected)).toBeLessThan(5 * Math.sqrt(1400)),
  );
});

test('an empty list is refused', () => {
  expect(() => windowsOf([], LENGTH)).toThrow(ConfigError);
});
