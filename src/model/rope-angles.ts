/**
 * Rotary angles of token positions, in float64 on the host: `position * theta^(-2j/Dh)`.
 *
 * They depend on the position only and are the same in every loop and layer, so they are computed
 * once per forward pass and fed to the graph.
 */
import type { LoopLMConfig } from './config.js';

/**
 * Angles of N positions, as a graph is fed with them: cosines and sines, each `[N, 1, Dh/2]`, one row
 * for each position, for all heads.
 *
 * @param positions - token indices, any order, repeats allowed
 */
export function ropeFeeds(
  { headDim, ropeTheta }: Pick<LoopLMConfig, 'headDim' | 'ropeTheta'>,
  positions: ArrayLike<number>,
) {
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
  const dims = [positions.length, 1, half];
  return {
    cos: { dtype: 'f32', dims, data: cos },
    sin: { dtype: 'f32', dims, data: sin },
  } as const;
}
