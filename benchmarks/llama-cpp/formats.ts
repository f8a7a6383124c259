/**
 * Random numbers in ggml's formats: F32, Q8_0 and Q4_0.
 *
 * Blocks of 32 numbers share one f16 scale: Q8_0 holds it times signed bytes, Q4_0 times nibbles less 8.
 * Here all blocks of a matrix have the same scale, and bytes come from a cipher in counter mode: numbers
 * are uniform, no two blocks are alike, and a billion weights take a second.
 * Source: ggml-org/llama.cpp, ggml/src/ggml-common.h, block_q4_0 and block_q8_0.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { encodeFloat16 } from '../../src/util/half-float.js';

export const BLOCK_SIZE = 32;
const SCALE_BYTES = 2;

interface Format {
  /** Number of the type in ggml's enumeration. */
  readonly type: number;
  readonly bytesPerBlock: number;
  /** Different values that a number has before it is scaled. */
  readonly numLevels: number;
}

export const FORMATS = {
  q4_0: { type: 2, bytesPerBlock: SCALE_BYTES + BLOCK_SIZE / 2, numLevels: 2 ** 4 },
  q8_0: { type: 8, bytesPerBlock: SCALE_BYTES + BLOCK_SIZE, numLevels: 2 ** 8 },
} as const satisfies Readonly<Record<string, Format>>;

/** Number of float32 in ggml's enumeration. */
export const F32_TYPE = 0;

const BLOCKS_PER_PIECE = 2 ** 15;

/** Blocks of uniform numbers of the given deviation; the same seed gives the same bytes. */
export function* randomBlocks(
  { bytesPerBlock, numLevels }: Format,
  { numBlocks, seed, deviation }: { numBlocks: number; seed: number; deviation: number },
): Iterable<Uint8Array> {
  const spread = Math.sqrt((numLevels ** 2 - 1) / 12); // of uniform whole numbers
  const [scale] = encodeFloat16(Float32Array.of(deviation / spread));
  const key = createHash('sha256').update(`${seed}`).digest().subarray(0, 16);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  for (let first = 0; first < numBlocks; first += BLOCKS_PER_PIECE) {
    const count = Math.min(BLOCKS_PER_PIECE, numBlocks - first);
    const piece = cipher.update(Buffer.alloc(count * bytesPerBlock));
    for (let at = 0; at < piece.length; at += bytesPerBlock) piece.writeUInt16LE(scale!, at);
    yield piece;
  }
}
