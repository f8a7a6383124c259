/**
 * Random orders of any size that take no memory: the place of each number is computed by itself.
 *
 * A Feistel network over the next power of four, walked along until it comes back into the range.
 * Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains".
 */
import { GOLDEN_RATIO_32, mix } from './hash.js';
import { generatorFor } from './random.js';

const ROUNDS = 6;

/**
 * A one-to-one map of 0..size-1 onto itself.
 *
 * @param size - from 1 to 2^52.
 * @param words - integers that choose the order, such as a seed and an epoch.
 */
export function permutation(size: number, ...words: readonly number[]): (index: number) => number {
  const halfBits = Math.max(1, Math.ceil(Math.log2(size) / 2));
  const half = 2 ** halfBits;
  const rng = generatorFor(...words);
  const keys = Array.from({ length: ROUNDS }, () => rng.next());
  const scramble = (index: number): number => {
    let left = Math.floor(index / half);
    let right = index % half;
    for (const key of keys) {
      const noise = mix(Math.imul(right ^ key, GOLDEN_RATIO_32)) >>> (32 - halfBits);
      [left, right] = [right, (left ^ noise) >>> 0];
    }
    return left * half + right;
  };
  return (index) => {
    let place = scramble(index);
    while (place >= size) place = scramble(place);
    return place;
  };
}
