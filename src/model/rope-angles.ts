/**
 * Rotary angles of token positions, in float64 on the host: `position * theta^(-2j/Dh)`.
 *
 * They depend on the position only and are the same in every loop and layer, so they are computed
 * once per forward pass and fed to the graph.
 */
import type { LoopLMConfig } from './config.js';

/** Cosines and sines, each `[N, 1, Dh/2]` row-major: one row for each position, for all heads. */
export interface RopeAngles {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Angles of N positions. @param positions - token indices, any order, repeats allowed */
export function ropeAngles(
  { headDim, ropeTheta }: Pick<LoopLMConfig, 'headDim' | 'ropeTheta'>,
  positions: ArrayLike<number>,
): RopeAngles {
  const half = headDim / 2;
  const frequencies = Float64Array.from(
    { length: half },
    (_, j) => ropeTheta ** ((-2 * j) / headDim),
  );
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  for (let n = 0; n < positions.length; n++) {
    for (let j = 0; j < half; j++) {
      const angle = positions[n]! * frequencies[j]!;
      cos[n * half + j] = Math.cos(angle);
      sin[n * half + j] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
