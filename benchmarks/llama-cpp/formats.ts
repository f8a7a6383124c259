/**
 * Gaussian numbers in ggml's formats: F32, Q8_0 and Q4_0.
 *
 * Blocks of 32 numbers share one f16 scale. Q8_0: the largest magnitude over 127. Q4_0: the number
 * of largest magnitude, with its sign, over -8, so that it falls on the end of the range.
 * Numbers come from a table of normal quantiles: a billion weights take seconds.
 * Source: ggml-org/llama.cpp, ggml/src/ggml-quants.c, quantize_row_q4_0_ref and quantize_row_q8_0_ref.
 */
import { generatorFor } from 'looplm/data';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { encodeFloat16 } from '../../src/util/half-float.js';
import { normalSampler } from '../../src/util/normal.js';

export const BLOCK_SIZE = 32;

export interface Format {
  /** Number of the type in ggml's enumeration. */
  readonly type: number;
  readonly bytesPerBlock: number;
  /** Writes the blocks of `values`, whose length is a multiple of the block size. */
  encode(values: Float32Array, out: Uint8Array): void;
}

/** The element of largest magnitude, with its sign. */
function extreme(values: Float32Array, start: number): number {
  let found = 0;
  for (let i = start; i < start + BLOCK_SIZE; i++) {
    if (Math.abs(values[i]!) > Math.abs(found)) found = values[i]!;
  }
  return found;
}

/** Scales of all blocks, as numbers and as f16 bits. */
function scalesOf(values: Float32Array, divisor: number) {
  const scales = new Float32Array(values.length / BLOCK_SIZE);
  for (let block = 0; block < scales.length; block++) {
    scales[block] = extreme(values, block * BLOCK_SIZE) / divisor;
  }
  return { scales, bits: encodeFloat16(scales) };
}

export const FORMATS = {
  f32: {
    type: 0,
    bytesPerBlock: 4 * BLOCK_SIZE,
    encode: (values, out) =>
      out.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
  },
  q4_0: {
    type: 2,
    bytesPerBlock: 2 + BLOCK_SIZE / 2,
    encode(values, out) {
      const { scales, bits } = scalesOf(values, -8);
      for (let block = 0, at = 0; block < scales.length; block++) {
        const inverse = scales[block] === 0 ? 0 : 1 / scales[block]!;
        out[at++] = bits[block]! & 0xff;
        out[at++] = bits[block]! >> 8;
        const start = block * BLOCK_SIZE;
        for (let i = start; i < start + BLOCK_SIZE / 2; i++) {
          const low = Math.min(15, (values[i]! * inverse + 8.5) | 0);
          const high = Math.min(15, (values[i + BLOCK_SIZE / 2]! * inverse + 8.5) | 0);
          out[at++] = low | (high << 4);
        }
      }
    },
  },
  q8_0: {
    type: 8,
    bytesPerBlock: 2 + BLOCK_SIZE,
    encode(values, out) {
      const { scales, bits } = scalesOf(values, 127);
      for (let block = 0, at = 0; block < scales.length; block++) {
        const inverse = scales[block] === 0 ? 0 : 1 / scales[block]!;
        out[at++] = bits[block]! & 0xff;
        out[at++] = bits[block]! >> 8;
        const start = block * BLOCK_SIZE;
        for (let i = start; i < start + BLOCK_SIZE; i++) {
          out[at++] = Math.round(values[i]! * inverse);
        }
      }
    },
  },
} as const satisfies Readonly<Record<string, Format>>;

const TABLE_BITS = 16;
const table = new Float32Array(2 ** TABLE_BITS);
const sample = normalSampler(0);
for (let i = 0; i < table.length; i++) table[i] = sample();

/** Fills `values` with normal numbers of the given deviation; the same seed gives the same numbers. */
export function gaussian(seed: number, deviation: number): (values: Float32Array) => void {
  // xorshift32: its sixteen upper bits pick an entry of the table.
  let state = uniformInt(generatorFor(seed), 1, 2 ** 31 - 1);
  return (values) => {
    let word = state;
    for (let i = 0; i < values.length; i++) {
      word ^= word << 13;
      word ^= word >>> 17;
      word ^= word << 5;
      values[i] = table[word >>> TABLE_BITS]! * deviation;
    }
    state = word;
  };
}
