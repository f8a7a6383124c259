/**
 * Conversion between float32 and the two 16-bit floats, on whole arrays.
 *
 * bfloat16 is the upper half of a float32; both are encoded by bit work, since models have billions of
 * values. float16 is decoded through a table of all 65,536 that @petamoriken/float16 fills once. Encoding rounds to nearest, ties to even;
 * a value beyond the format's range becomes an infinity, which is for the caller to notice.
 */
import { getFloat16 } from '@petamoriken/float16';

/** bfloat16 bit patterns as float32; exact. */
export function decodeBfloat16(bits: Uint16Array): Float32Array {
  const wide = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = bits[i]! << 16;
  return new Float32Array(wide.buffer);
}

/** float32 as bfloat16 bit patterns. */
export function encodeBfloat16(values: Float32Array): Uint16Array {
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = wide[i]!;
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    // Adding just under half a unit, plus the last kept bit, rounds ties to even.
    bits[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return bits;
}

let float16Table: Float32Array | undefined;

/** float16 bit patterns as float32; exact. */
export function decodeFloat16(bits: Uint16Array): Float32Array {
  const table = (float16Table ??= makeFloat16Table());
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = table[bits[i]!]!;
  return values;
}

const FLOAT16_OVERFLOW = 0x47800000; // bits of 65536
const FLOAT16_SMALLEST_NORMAL = 0x38800000; // bits of 2^-14
const EXPONENT_DIFFERENCE = (127 - 15) << 23;

/** Adding and subtracting it rounds a double to an integer, ties to even. */
const ROUNDING = 1.5 * 2 ** 52;

/** float32 as float16 bit patterns. */
export function encodeFloat16(values: Float32Array): Uint16Array {
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = wide[i]!;
    const magnitude = word & 0x7fffffff;
    let half;
    if (magnitude >= FLOAT16_OVERFLOW) {
      half = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00; // NaN or infinity
    } else if (magnitude < FLOAT16_SMALLEST_NORMAL) {
      half = Math.abs(values[i]!) * 2 ** 24 + ROUNDING - ROUNDING; // subnormal
    } else {
      // As for bfloat16; a carry moves on into the exponent, and from the largest to infinity.
      half = (magnitude - EXPONENT_DIFFERENCE + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
    }
    bits[i] = half | ((word >>> 16) & 0x8000);
  }
  return bits;
}

function makeFloat16Table(): Float32Array {
  const view = new DataView(new ArrayBuffer(2));
  return Float32Array.from({ length: 0x10000 }, (_, pattern) => {
    view.setUint16(0, pattern);
    return getFloat16(view, 0);
  });
}
