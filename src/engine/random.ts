/**
 * Reproducible random numbers, addressed instead of drawn in a row.
 *
 * The one idea: the draw of token n is a pure function of (seed, n, purpose). There is no generator
 * to carry along, so batching, aborting or replaying a request cannot change what it draws, and the
 * draw that picks a depth never shifts the draw that picks a token.
 * Source: xoroshiro128+ of pure-rand; the finalizer that mixes its state is MurmurHash3's.
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';

/** What a draw is used for; each purpose has its own independent numbers. */
export type DrawPurpose = 'token' | 'exit';

const PURPOSE_IDS = { token: 1, exit: 2 } as const satisfies Record<DrawPurpose, number>;

/** A bijection of 32-bit words in which every input bit reaches every output bit. */
function mix(word: number): number {
  let hash = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/**
 * Uniform number in [0, 1) with 53 random bits, the same for the same arguments on every machine.
 *
 * @param seed - whole number, 0 to 2^53 - 1.
 * @param tokenIndex - index of the generated token, from 0.
 */
export function drawUniform(seed: number, tokenIndex: number, purpose: DrawPurpose): number {
  // chained, so that different (seed, tokenIndex, purpose) always give different states
  const low = mix(seed ^ 0x9e3779b9);
  const high = mix(Math.floor(seed / 2 ** 32) ^ low);
  const token = mix(tokenIndex ^ high);
  const state = [low, high, token, mix(PURPOSE_IDS[purpose] ^ token)];
  return uniformFloat64(xoroshiro128plusFromState(state));
}
