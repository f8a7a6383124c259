import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShapeError } from '../errors.js';
import type { BlockFormat } from './quantize.js';
import { dequantizeBlocks, quantizeBlocks, relativeError, squaredError } from './quantize.js';

const METHODS = ['round-to-nearest', 'scale-search'] as const;
const blocks = (bits: 4 | 8, blockSize: 32 | 64 | 128): BlockFormat => ({
  kind: 'blocks',
  bits,
  blockSize,
});

/** Shapes, formats and values of matrices whose rows need not fill their blocks. */
const matrices = fc
  .record({
    outputs: fc.integer({ min: 1, max: 3 }),
    inputs: fc.integer({ min: 1, max: 150 }),
    bits: fc.constantFrom(4 as const, 8 as const),
    blockSize: fc.constantFrom(32 as const, 64 as const, 128 as const),
    exponent: fc.integer({ min: -140, max: 120 }),
  })
  .chain(({ outputs, inputs, bits, blockSize, exponent }) =>
    fc.record({
      shape: fc.constant({ outputs, inputs, format: blocks(bits, blockSize) }),
      values: fc
        .array(fc.oneof(fc.double({ min: -1, max: 1, noNaN: true }), fc.constant(0)), {
          minLength: outputs * inputs,
          maxLength: outputs * inputs,
        })
        .map((list) => Float32Array.from(list, (value) => value * 2 ** exponent)),
      importance: fc
        .array(fc.oneof(fc.double({ min: 0, max: 100, noNaN: true }), fc.constant(0)), {
          minLength: inputs,
          maxLength: inputs,
        })
        .map((list) => Float32Array.from(list)),
    }),
  );

describe('quantizeBlocks', () => {
  it('of 4 bits lets the extreme be -8 and packs the first of two values low', () => {
    const values = new Float32Array(33);
    values.set([-8, 7, 1, 0.4]);
    values[32] = 4; // a block of its own
    const shape = { outputs: 1, inputs: 33, format: blocks(4, 32) };
    const { packed, scales } = quantizeBlocks(values, { ...shape, method: 'round-to-nearest' });
    expect([...scales]).toEqual([1, -0.5]);
    expect(packed.slice(0, 3)).toEqual(Uint8Array.of(0xf0, 0x89, 0x88));
    expect(packed.slice(16, 18)).toEqual(Uint8Array.of(0x80, 0x88));
    expect(packed.length).toBe(32);
  });

  it('of 8 bits lets the extreme be 127 and stands above 128', () => {
    const values = new Float32Array(32);
    values.set([-127, 64, 1, -0.6]);
    const shape = { outputs: 1, inputs: 32, format: blocks(8, 32) };
    const { packed, scales } = quantizeBlocks(values, { ...shape, method: 'round-to-nearest' });
    expect([...scales]).toEqual([1]);
    expect(packed.slice(0, 5)).toEqual(Uint8Array.of(1, 192, 129, 127, 128));
  });

  it.each(METHODS)('by %s gives back matrices that are integers times a power of two', (method) => {
    for (const bits of [4, 8] as const) {
      const extreme = bits === 4 ? -8 : 127;
      const values = Float32Array.from({ length: 128 }, (_, i) => ((i % 8) - 4) * 0.25);
      values[5] = values[70] = extreme * 0.25;
      const shape = { outputs: 2, inputs: 64, format: blocks(bits, 64) };
      const found = dequantizeBlocks(quantizeBlocks(values, { ...shape, method }), shape);
      expect(found).toEqual(values);
    }
  });

  it('by round-to-nearest leaves no error above one scale', () => {
    const method = METHODS[0];
    fc.assert(
      fc.property(matrices, ({ shape, values }) => {
        const quantized = quantizeBlocks(values, { ...shape, method });
        const found = dequantizeBlocks(quantized, shape);
        const { inputs, format } = shape;
        const numBlocks = Math.ceil(inputs / format.blockSize);
        for (let i = 0; i < values.length; i++) {
          const block = Math.floor((i % inputs) / format.blockSize);
          const scale = Math.abs(quantized.scales[Math.floor(i / inputs) * numBlocks + block]!);
          const bound = scale * (1 + 1e-6) + 2 ** -142; // there the scale itself is rounded to 0
          expect(Math.abs(found[i]! - values[i]!)).toBeLessThanOrEqual(bound);
        }
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('gives finite scales, whatever the sizes of the values', () => {
    fc.assert(
      fc.property(
        matrices,
        fc.constantFrom(...METHODS),
        ({ shape, values, importance }, method) => {
          const { scales } = quantizeBlocks(values, { ...shape, method, importance });
          expect(scales.every((scale) => Number.isFinite(scale))).toBe(true);
        },
      ),
      { seed: 3, numRuns: 300 },
    );
  });

  it('by scale-search never leaves more weighted error than by round-to-nearest', () => {
    fc.assert(
      fc.property(matrices, fc.boolean(), ({ shape, values, importance }, isWeighted) => {
        const weights = isWeighted ? importance : new Float32Array(shape.inputs).fill(1);
        const [nearest, search] = METHODS.map((method) => {
          const options = { ...shape, method, ...(isWeighted && { importance }) };
          const found = dequantizeBlocks(quantizeBlocks(values, options), shape);
          return found.reduce(
            (sum, value, i) => sum + weights[i % shape.inputs]! * (value - values[i]!) ** 2,
            0,
          );
        }) as [number, number];
        const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const rounding = 1e-10 * largest ** 2 * weights.reduce((a, b) => a + b, 0) * shape.outputs;
        // Scales of the smallest numbers have few bits: the best one may not exist.
        if (largest < 2 ** -120) return;
        expect(search).toBeLessThanOrEqual(nearest + rounding);
      }),
      { seed: 2, numRuns: 1000 },
    );
  });

  it('by scale-search lowers the error of normal weights, most where it matters', () => {
    const values = Float32Array.from({ length: 4096 }, (_, i) => normalQuantile(i, 4096));
    const shape = { outputs: 32, inputs: 128, format: blocks(4, 64) };
    const importance = new Float32Array(128).fill(1);
    importance[7] = 1000;
    const errorsOf = (options: object) => {
      const method = METHODS[1];
      const found = dequantizeBlocks(
        quantizeBlocks(values, { ...shape, method, ...options }),
        shape,
      );
      const at7 = (_: number, i: number) => i % 128 === 7;
      return {
        all: relativeError([squaredError(values, found)]),
        at7: relativeError([squaredError(values.filter(at7), found.filter(at7))]),
      };
    };
    const nearest = errorsOf({ method: 'round-to-nearest' });
    const search = errorsOf({});
    const weighted = errorsOf({ importance });
    expect(search.all).toBeLessThan(0.97 * nearest.all);
    expect(weighted.at7).toBeLessThan(0.5 * search.at7);
  });

  it('gives a block of zeros the scale 0', () => {
    const shape = { outputs: 1, inputs: 40, format: blocks(4, 32) };
    for (const method of METHODS) {
      const { packed, scales } = quantizeBlocks(new Float32Array(40), { ...shape, method });
      expect([...scales]).toEqual([0, 0]);
      expect(packed.every((byte) => byte === 0x88)).toBe(true);
    }
  });

  it('refuses lengths that do not fit', () => {
    const options = { outputs: 2, inputs: 3, format: blocks(4, 32), method: METHODS[0] };
    expect(() => quantizeBlocks(new Float32Array(5), options)).toThrow(ShapeError);
    const importance = new Float32Array(2);
    expect(() => quantizeBlocks(new Float32Array(6), { ...options, importance })).toThrow(
      /importance .* 2 elements; .* 3/,
    );
    const quantized = quantizeBlocks(new Float32Array(6), options);
    expect(() => dequantizeBlocks(quantized, { ...options, inputs: 33 })).toThrow(ShapeError);
  });
});

describe('relativeError', () => {
  it('is that of the whole, from sums of its parts', () => {
    const parts = [
      squaredError(Float32Array.of(3, 0), Float32Array.of(3, 1)),
      squaredError(Float32Array.of(4), Float32Array.of(2)),
    ];
    expect(relativeError(parts)).toBeCloseTo(Math.sqrt(5 / 25), 12);
    expect(relativeError([squaredError(new Float32Array(2), new Float32Array(2))])).toBe(0);
  });
});

/** Something like normal numbers, in an order that mixes them. */
function normalQuantile(i: number, count: number): number {
  const p = (((i * 1597) % count) + 0.5) / count;
  return Math.log(p / (1 - p)) * 0.55; // logistic, of nearly the same shape
}
