/**
 * From what a layer's projections give to what attention takes: queries and keys turned by the angles
 * of their positions. Done here and not in a program, where the dozen small operators that it takes
 * cost as much as attention itself when there is one row.
 * Source: Su et al. 2021 (arXiv 2104.09864), rotate-half layout of the released checkpoints.
 */
import type { KvMemorySpec } from './kv-memory.js';

/** Cosines and sines of N rows, `[N, Dh/2]` each, for all heads. */
export interface RowAngles {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Rows one after the other. */
export interface AttentionRows {
  readonly q: Float32Array; // [N, H * Dh], rotated
  readonly k: Float32Array; // [N, K * Dh], rotated
  readonly v: Float32Array; // [N, K * Dh]
}

/**
 * Cuts joined rows into queries, keys and values and rotates pairs (j, j + Dh/2) of the first two:
 * `out[j] = a cos - b sin`, `out[j + Dh/2] = b cos + a sin`.
 *
 * @param qkv - `[N, (H + 2K) * Dh]`
 * @param last - what an earlier call returned and nobody reads any more: reused if it has the size,
 *   since a prompt would otherwise leave many megabytes to the garbage collector
 */
export function rotatedRows(
  qkv: Float32Array,
  { numHeads, numKvHeads, headDim }: Pick<KvMemorySpec, 'numHeads' | 'numKvHeads' | 'headDim'>,
  angles: RowAngles,
  last?: AttentionRows,
): AttentionRows {
  const [queryWidth, keyWidth] = [numHeads * headDim, numKvHeads * headDim];
  const width = queryWidth + 2 * keyWidth;
  const numRows = qkv.length / width;
  const rows =
    last?.q.length === numRows * queryWidth
      ? last
      : {
          q: new Float32Array(numRows * queryWidth),
          k: new Float32Array(numRows * keyWidth),
          v: new Float32Array(numRows * keyWidth),
        };
  const { q, k, v } = rows;
  for (let row = 0; row < numRows; row++) {
    const from = row * width;
    const keys = from + queryWidth;
    const angle = (row * headDim) / 2;
    rotate(qkv, from, q, row * queryWidth, numHeads, headDim, angles, angle);
    rotate(qkv, keys, k, row * keyWidth, numKvHeads, headDim, angles, angle);
    v.set(qkv.subarray(keys + keyWidth, from + width), row * keyWidth);
  }
  return rows;
}

/** The heads of one row. */
function rotate(
  rows: Float32Array,
  from: number,
  out: Float32Array,
  to: number,
  numHeads: number,
  headDim: number,
  { cos, sin }: RowAngles,
  angle: number,
): void {
  const half = headDim / 2;
  for (let head = 0; head < numHeads; head++) {
    for (let j = 0; j < half; j++) {
      const at = head * headDim + j;
      const a = rows[from + at]!;
      const b = rows[from + at + half]!;
      const c = cos[angle + j]!;
      const s = sin[angle + j]!;
      out[to + at] = a * c - b * s;
      out[to + at + half] = b * c + a * s;
    }
  }
}
