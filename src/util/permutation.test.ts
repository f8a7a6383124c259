/** A permutation gives every number once, and other words give another order. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { permutation } from './permutation.js';

const SEED = { seed: 20261129 };
const listOf = (size: number, ...words: number[]) =>
  Array.from({ length: size }, (_, index) => index).map(permutation(size, ...words));

test('every number once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer(), (size, word) => {
      const sorted = listOf(size, word).toSorted((a, b) => a - b);
      expect(sorted).toEqual(Array.from({ length: size }, (_, index) => index));
    }),
    SEED,
  );
});

test('equal words give the same order, others another one', () => {
  expect(listOf(100, 1, 2)).toEqual(listOf(100, 1, 2));
  expect(listOf(100, 1, 2)).not.toEqual(listOf(100, 1, 3));
  expect(listOf(100, 1, 2)).not.toEqual(listOf(100, 1, 2, 0));
});

test('numbers go everywhere alike, and neighbours do not stay together', () => {
  const size = 50;
  const counts = Array.from({ length: size }, () => new Array<number>(size).fill(0));
  let together = 0;
  const orders = 4000;
  for (let word = 0; word < orders; word++) {
    const list = listOf(size, word);
    list.forEach((place, index) => counts[index]![place]!++);
    together += list.filter(
      (place, index) => Math.abs(place - (list[index - 1] ?? -9)) === 1,
    ).length;
  }
  const expected = orders / size;
  const chiSquare = counts
    .flat()
    .reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  // (size - 1)^2 degrees of freedom: mean 2401, standard deviation 69; six of them.
  expect(Math.abs(chiSquare - 2401)).toBeLessThan(6 * 69);
  // 49 pairs of neighbours, each together with probability 2 / 50.
  expect(Math.abs(together / orders - 1.96)).toBeLessThan(0.2);
});

test('sizes beyond 32 bits', () => {
  const place = permutation(2 ** 40, 7);
  const places = new Set(Array.from({ length: 1000 }, (_, index) => place(index * 2 ** 30)));
  expect(places.size).toBe(1000);
  for (const each of places) expect(each >= 0 && each < 2 ** 40).toBe(true);
});
