import { expect, it } from 'vitest';
import { generatorFor } from './random.js';
import { fillNormal } from './ziggurat.js';

const COUNT = 1_000_000;

function samples(mean: number, std: number, seed: number): Float32Array {
  const values = new Float32Array(COUNT);
  fillNormal(values, mean, std, generatorFor(seed));
  return values;
}

/** Share of the samples for which something holds. */
const share = (values: Float32Array, holds: (value: number) => boolean) =>
  values.reduce((count, value) => count + Number(holds(value)), 0) / values.length;

it('samples lie below each bound as often as the normal distribution says, tails included', () => {
  const values = samples(0, 1, 5);
  // The distribution function at some points (tables).
  const table = [
    [-3.5, 0.000232629],
    [-2, 0.022750132],
    [-1, 0.158655254],
    [-0.1, 0.460172163],
    [0.5, 0.691462461],
    [1.5, 0.933192799],
    [3, 0.998650102],
    [3.7, 0.9998922],
  ] as const;
  for (const [bound, probability] of table) {
    const deviation = Math.sqrt((probability * (1 - probability)) / COUNT);
    const found = share(values, (value) => value < bound);
    expect(Math.abs(found - probability)).toBeLessThan(4 * deviation);
  }
});

it('mean and spread are those asked for', () => {
  const values = samples(1, 0.1, 6);
  const mean = values.reduce((sum, value) => sum + value, 0) / COUNT;
  const variance = values.reduce((sum, value) => sum + (value - 1) ** 2, 0) / COUNT;
  expect(Math.abs(mean - 1)).toBeLessThan(4e-4);
  expect(Math.abs(variance - 0.01)).toBeLessThan(6e-5);
});

it('one seed gives one sequence, another seed another', () => {
  expect(samples(0, 1, 1)).toEqual(samples(0, 1, 1));
  const [a, b] = [samples(0, 1, 1), samples(0, 1, 2)];
  const product = a.reduce((sum, value, i) => sum + value * b[i]!, 0) / COUNT;
  expect(Math.abs(product)).toBeLessThan(4 / Math.sqrt(COUNT));
});
