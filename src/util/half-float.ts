/**
 * Conversion between float32 and the two 16-bit floats, on whole arrays.
 *
 * bfloat16 is the upper half of a float32, so it is bit work; float16 is decoded through a table of
 * all 65,536 values that @petamoriken/float16 fills once. Encoding rounds to nearest, ties to even;
 * a value beyond the format's range becomes an infinity, which is for the caller to notice.
 */
import { getFloat16, setFloat16 } from '@petamoriken/float16';

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
  float16Table ??= makeFloat16Table();
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = float16Table[bits[i]!]!;
  return values;
}

/** float32 as float16 bit patterns. */
export function encodeFloat16(values: Float32Array): Uint16Array {
  const bits = new Uint16Array(values.length);
  const view = new DataView(bits.buffer);
  for (let i = 0; i < values.length; i++) setFloat16(view, 2 * i, values[i]!, true);
  return bits;
}

function makeFloat16Table(): Float32Array {
  const view = new DataView(new ArrayBuffer(2));
  return Float32Array.from({ length: 0x10000 }, (_, pattern) => {
    view.setUint16(0, pattern);
    return getFloat16(view, 0);
  });
}
