/**
 * Random generators that depend on nothing but a few integers.
 *
 * The one idea: hash (seed, trainStep, microBatch, ...) into the full state of a generator, so that
 * any batch can be drawn again at any time, in any order, without a saved reader state.
 * Deliberately does not know what is drawn.
 */
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { GOLDEN_RATIO_32, mix } from './hash.js';

/**
 * Independent generator for a tuple of integers: equal tuples give equal streams, and tuples that
 * differ anywhere (also in length) give unrelated ones.
 *
 * @param words - integers of at most 32 bits, for example seed, trainStep and microBatch.
 */
export function generatorFor(...words: readonly number[]): RandomGenerator {
  return xoroshiro128plusFromState([0, 1, 2, 3].map((lane) => hashWords(lane, words)));
}

function hashWords(lane: number, words: readonly number[]): number {
  return words.reduce(
    (hash, word) => mix(Math.imul(hash ^ word, GOLDEN_RATIO_32) + lane),
    mix(words.length + Math.imul(lane + 1, GOLDEN_RATIO_32)),
  );
}
