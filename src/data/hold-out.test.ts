/** Laws of holding out: the text alone decides, and both sides never share one. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { holdOut } from './hold-out.js';

const SEED = { seed: 20261128 };
const texts = fc.array(fc.string(), { minLength: 1, maxLength: 40 });
const fractions = fc.double({ min: 0.01, max: 0.5, noNaN: true });
const chosenOf = (list: readonly string[], fraction: number) => {
  const isHeldOut = holdOut(list, fraction);
  return new Set(list.filter((_, index) => isHeldOut[index]));
};

test('equal texts are on one side', () => {
  fc.assert(
    fc.property(texts, fractions, (list, fraction) => {
      const chosen = chosenOf([...list, ...list], fraction);
      const isHeldOut = holdOut([...list, ...list], fraction);
      [...list, ...list].forEach((text, i) => expect(isHeldOut[i]).toBe(chosen.has(text)));
    }),
    SEED,
  );
});

test('a larger fraction holds out more, and nothing is moved back', () => {
  fc.assert(
    fc.property(texts, fractions, fractions, (list, a, b) => {
      const many = [...list, ...Array.from({ length: 300 }, (_, i) => `text ${i}`)];
      const small = chosenOf(many, Math.min(a, b));
      const large = chosenOf(many, Math.max(a, b));
      for (const text of small) expect(large.has(text)).toBe(true);
    }),
    SEED,
  );
});

test('with more texts around it, a text stays on its side', () => {
  const many = Array.from({ length: 500 }, (_, i) => `text ${i}`);
  const alone = holdOut(many, 0.1);
  const among = holdOut([...many.map((text) => `x${text}`), ...many], 0.1);
  expect(among.slice(500)).toEqual(alone);
});

test('about the fraction of many texts is held out', () => {
  const many = Array.from({ length: 20_000 }, (_, i) => `text ${i}`);
  for (const fraction of [0.01, 0.05, 0.5]) {
    const rate = holdOut(many, fraction).filter(Boolean).length / many.length;
    // Five standard deviations of a binomial count.
    expect(Math.abs(rate - fraction)).toBeLessThan(
      5 * Math.sqrt((fraction * (1 - fraction)) / many.length),
    );
  }
});

test('of a few texts one is held out, but not if nothing else were left', () => {
  for (let first = 0; first < 20; first++) {
    const few = Array.from({ length: 3 }, (_, i) => `text ${first + i}`);
    expect(chosenOf(few, 1e-9).size).toBe(1);
  }
  expect(holdOut(['a'], 1e-9)).toEqual([false]);
  expect(holdOut(['a', 'a'], 1e-9)).toEqual([false, false]);
  expect(holdOut([], 0.1)).toEqual([]);
});

test('a fraction of 0 holds out nothing', () => {
  expect(holdOut(['a', 'b'], 0)).toEqual([false, false]);
});
