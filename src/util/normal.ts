/**
 * Seeded samples of the normal distribution.
 *
 * The uniform source is pure-rand's Mersenne Twister, whose first values differ well between small
 * seeds; pairs of uniforms become pairs of normals by the Box-Muller transform. One seed gives one
 * sequence on every run.
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { mersenne } from 'pure-rand/generator/mersenne';

/**
 * A function that returns the next sample of N(0, 1) at each call.
 *
 * @param seed - a 32-bit integer; equal seeds give equal sequences.
 */
export function normalSampler(seed: number): () => number {
  const rng = mersenne(seed);
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniformFloat64(rng))); // 1 - u is never 0
    const angle = 2 * Math.PI * uniformFloat64(rng);
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}
