import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from './half-float.js';

const formats = [
  { name: 'bfloat16', decode: decodeBfloat16, encode: encodeBfloat16, infinity: 0x7f80 },
  { name: 'float16', decode: decodeFloat16, encode: encodeFloat16, infinity: 0x7c00 },
];

describe.each(formats)('$name', ({ decode, encode, infinity }) => {
  it('every bit pattern that is not a NaN survives decoding and encoding', () => {
    const patterns = Uint16Array.from({ length: 0x10000 }, (_, pattern) => pattern).filter(
      (pattern) => (pattern & 0x7fff) <= infinity,
    );
    expect(Buffer.from(encode(decode(patterns)).buffer).equals(Buffer.from(patterns.buffer))).toBe(
      true,
    );
  });

  it('a NaN stays a NaN', () => {
    const patterns = Uint16Array.of(infinity + 1, 0x7fff, 0xffff);
    expect([...decode(patterns)]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect([...decode(encode(Float32Array.of(Number.NaN)))]).toEqual([Number.NaN]);
  });

  it('no other value of the format is nearer than the one that a value is rounded to', () => {
    // Positive patterns are ordered as their values are, so pattern + 1 is the next value up.
    const below = fc.integer({ min: 0, max: infinity - 2 });
    fc.assert(
      fc.property(below, fc.float({ min: 0, max: 1, noNaN: true }), (pattern, fraction) => {
        const [low, high] = [...decode(Uint16Array.of(pattern, pattern + 1))] as [number, number];
        const value = Math.fround(low + fraction * (high - low));
        const [rounded] = [...decode(encode(Float32Array.of(value)))] as [number];
        expect(Math.abs(value - rounded)).toBe(Math.min(value - low, high - value));
      }),
      { seed: 3, numRuns: 2000 },
    );
  });

  it('ties go to the even neighbour, and beyond the range to infinity', () => {
    const bits = encode(Float32Array.of(1))[0]!;
    const [a, b, c] = [...decode(Uint16Array.of(bits, bits + 1, bits + 2))] as [
      number,
      number,
      number,
    ];
    expect([...encode(Float32Array.of((a + b) / 2, (b + c) / 2))]).toEqual([bits, bits + 2]);
    expect([...decode(encode(Float32Array.of(3.4e38, -3.4e38)))]).toEqual([Infinity, -Infinity]);
  });
});

describe('known values', () => {
  it('are those of the formats', () => {
    expect([...decodeBfloat16(Uint16Array.of(0x3f80, 0xc040, 0x0001))]).toEqual([1, -3, 2 ** -133]);
    expect([...decodeFloat16(Uint16Array.of(0x3c00, 0xc200, 0x0001))]).toEqual([1, -3, 2 ** -24]);
    expect([...decodeFloat16(Uint16Array.of(0x7bff))]).toEqual([65504]);
  });
});
