/**
 * Random shapes and elements for the graph tests. Real numbers are multiples of 1/512, so they are
 * the same in float16, float32 and float64.
 */
import fc from 'fast-check';
import type { DType } from 'looplm/graph';

/** An input of a random case. */
export interface Leaf {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: readonly number[];
}

const grid = (min: number, max: number) =>
  fc.integer({ min: min * 512, max: max * 512 }).map((n) => n / 512);

export const real = grid(-2, 2);
export const positive = grid(1, 4).map((x) => x / 2);
export const nonZero = fc
  .tuple(positive, fc.boolean())
  .map(([x, isNegative]) => (isNegative ? -x : x));
export const smallInteger = fc.integer({ min: -4, max: 4 });
export const nonZeroInteger = smallInteger.map((n) => (n < 0 ? n : n + 1));
const bit = fc.integer({ min: 0, max: 1 });
const indexBelow = (size: number) => fc.integer({ min: 0, max: size - 1 });

export const size = fc.integer({ min: 1, max: 3 });

/** Sizes of a tensor; every rank is equally likely. */
export const dimsOfRank = (minRank: number, maxRank: number) =>
  fc
    .integer({ min: minRank, max: maxRank })
    .chain((rank) => fc.array(size, { minLength: rank, maxLength: rank }));

export const anyDims = dimsOfRank(0, 4);
/** At least one row. */
export const rowDims = dimsOfRank(1, 4);

/** Several shapes that broadcast to one: axes shrunk to 1, leading axes left out. */
export function broadcastDims(numShapes: number): fc.Arbitrary<readonly (readonly number[])[]> {
  const shape = (dims: readonly number[]) =>
    fc
      .tuple(
        fc.array(fc.boolean(), { minLength: dims.length, maxLength: dims.length }),
        fc.oneof(fc.constant(0), fc.integer({ min: 0, max: dims.length })),
      )
      .map(([kept, left]) => dims.map((dim, axis) => (kept[axis] ? dim : 1)).slice(left));
  return anyDims.chain((dims) =>
    fc
      .array(fc.oneof(fc.constant(dims), shape(dims)), {
        minLength: numShapes,
        maxLength: numShapes,
      })
      .map((shapes): readonly (readonly number[])[] => shapes),
  );
}

const count = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1);

/** A tensor of given sizes. */
export function leaf(
  dtype: DType,
  dims: readonly number[],
  element: fc.Arbitrary<number>,
): fc.Arbitrary<Leaf> {
  const length = count(dims);
  return fc
    .array(element, { minLength: length, maxLength: length })
    .map((data) => ({ dtype, dims, data }));
}

export const reals = (dims: readonly number[]) => leaf('f32', dims, real);
export const bools = (dims: readonly number[]) => leaf('bool', dims, bit);
export const indices = (dims: readonly number[], below: number) =>
  leaf('i32', dims, indexBelow(below));
