/** How cached keys and values are stored, and what that takes: runtime stores them, model plans them. */

/**
 * f32, f16, or i8: integers of -127 to 127 with an f32 scale for every 32 dimensions of a position.
 */
export type KvDtype = 'f32' | 'f16' | 'i8';
export const KV_DTYPES = ['f32', 'f16', 'i8'] as const satisfies readonly KvDtype[];

/** Dimensions that share a scale in i8. */
const KV_BLOCK_DIMS = 32;

const ELEMENT_BYTES: Readonly<Record<KvDtype, number>> = { f32: 4, f16: 2, i8: 1 };

export const kvElementBytes = (dtype: KvDtype): number => ELEMENT_BYTES[dtype];

/** Numbers that one key takes, with padding: a multiple of 8, in i8 of 32. */
export function kvStride(headDim: number, dtype: KvDtype): number {
  const unit = dtype === 'i8' ? KV_BLOCK_DIMS : 8;
  return Math.ceil(headDim / unit) * unit;
}

/** The heads of a layer that have keys and values, and how these are stored. */
interface StoredHeads {
  /** K. */
  readonly numKvHeads: number;
  /** Dh. */
  readonly headDim: number;
  readonly dtype: KvDtype;
}

/** Bytes of the keys and values of one position in one layer. */
export function kvPositionBytes({ numKvHeads, headDim, dtype }: StoredHeads): number {
  return 2 * numKvHeads * rowBytes(headDim, dtype);
}

/** Bytes of one key, or one value, of one head. */
function rowBytes(headDim: number, dtype: KvDtype): number {
  const stride = kvStride(headDim, dtype);
  const scaleBytes = dtype === 'i8' ? (4 * stride) / KV_BLOCK_DIMS : 0;
  return stride * ELEMENT_BYTES[dtype] + scaleBytes;
}
