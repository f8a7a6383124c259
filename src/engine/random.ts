/**
 * Reproducible random numbers, addressed instead of drawn in a row.
 *
 * The one idea: the draw of token n is a pure function of (seed, n, purpose). There is no generator
 * to carry along, so batching, aborting or replaying a request cannot change what it draws, and the
 * draw that picks a depth never shifts the draw that picks a token.
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { generatorFor } from '../util/random.js';

/** What a draw is used for; each purpose has its own independent numbers. */
export type DrawPurpose = 'token' | 'exit';

const PURPOSE_IDS = { token: 1, exit: 2 } as const satisfies Record<DrawPurpose, number>;

/**
 * Uniform number in [0, 1) with 53 random bits, the same for the same arguments on every machine.
 *
 * @param seed - whole number, 0 to 2^53 - 1.
 * @param tokenIndex - index of the generated token, from 0.
 */
export function drawUniform(seed: number, tokenIndex: number, purpose: DrawPurpose): number {
  const high = Math.floor(seed / 2 ** 32);
  return uniformFloat64(generatorFor(seed % 2 ** 32, high, tokenIndex, PURPOSE_IDS[purpose]));
}
