/**
 * Random cases of every operation in the table. A case says which inputs an operation takes and how
 * it is built; what must then hold is stated once, in ops.test.ts.
 */
import fc from 'fast-check';
import type { DType, Tensor } from 'looplm/graph';
import * as g from 'looplm/graph';
import { encodeFloat16 } from '../../src/util/half-float.js';
import type { Leaf } from './arbitraries.js';
import {
  anyDims,
  bools,
  broadcastDims,
  dimsOfRank,
  indices,
  leaf,
  nonZero,
  nonZeroInteger,
  positive,
  real,
  reals,
  rowDims,
  size,
  smallInteger,
} from './arbitraries.js';

type Inputs = readonly [Tensor, Tensor, Tensor];

export interface OpSample {
  readonly leaves: readonly Leaf[];
  build(inputs: Inputs): Tensor;
}

export interface OpCase {
  /** Name in the op table; the built tensor is this operation. */
  readonly op: string;
  readonly variant: string;
  readonly samples: fc.Arbitrary<OpSample>;
}

function opCase<P>(
  op: string,
  variant: string,
  parameters: fc.Arbitrary<P>,
  leaves: (parameters: P) => readonly fc.Arbitrary<Leaf>[],
  build: (inputs: Inputs, parameters: P) => Tensor,
): OpCase {
  const samples = parameters.chain((p) =>
    fc.tuple(...leaves(p)).map((values) => ({
      leaves: values,
      build: (inputs: Inputs) => build(inputs, p),
    })),
  );
  return { op, variant, samples };
}

function binary(
  op: string,
  build: (a: Tensor, b: Tensor) => Tensor,
  dtype: DType = 'f32',
  elements: readonly [fc.Arbitrary<number>, fc.Arbitrary<number>] = [real, real],
): OpCase {
  return opCase(
    op,
    `${dtype}, broadcast`,
    broadcastDims(2),
    ([a, b]) => [leaf(dtype, a!, elements[0]), leaf(dtype, b!, elements[1])],
    ([a, b]) => build(a, b),
  );
}

function unary(
  op: string,
  build: (x: Tensor) => Tensor,
  element = real,
  dtype: DType = 'f32',
  dims = anyDims,
): OpCase {
  return opCase(
    op,
    dtype,
    dims,
    (d) => [leaf(dtype, d, element)],
    ([x]) => build(x),
  );
}

const integers = [smallInteger, smallInteger] as const;
const bits = [fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 1 })] as const;
const INTEGER_TYPES = ['i32', 'i64'] as const;

const arithmetic: readonly OpCase[] = [
  binary('add', g.add),
  binary('sub', g.sub),
  binary('mul', g.mul),
  binary('div', g.div, 'f32', [real, nonZero]),
  ...INTEGER_TYPES.flatMap((dtype) => [
    binary('add', g.add, dtype, integers),
    binary('sub', g.sub, dtype, integers),
    binary('mul', g.mul, dtype, integers),
    binary('div', g.div, dtype, [smallInteger, nonZeroInteger]),
    unary('neg', g.neg, smallInteger, dtype),
  ]),
  unary('neg', g.neg),
  unary('exp', g.exp),
  unary('log', g.log, positive),
  unary('sqrt', g.sqrt, positive),
  unary(
    'sigmoid',
    g.sigmoid,
    real.map((x) => 8 * x),
  ),
  unary(
    'softplus',
    g.softplus,
    real.map((x) => 8 * x),
  ),
  unary(
    'silu',
    g.silu,
    real.map((x) => 8 * x),
  ),
];

const comparisons: readonly OpCase[] = [
  ...(['f32', 'i32', 'i64'] as const).flatMap((dtype) => [
    binary('equal', g.equal, dtype, integers),
    binary('less', g.less, dtype, integers),
    binary('greaterOrEqual', g.greaterOrEqual, dtype, integers),
  ]),
  binary('equal', g.equal, 'bool', bits),
  binary('and', g.and, 'bool', bits),
  ...(['f32', 'i32', 'i64', 'u8'] as const).map((dtype) =>
    opCase(
      'where',
      `${dtype}, broadcast`,
      broadcastDims(3),
      ([condition, a, b]) => {
        const element = dtype === 'f32' ? real : smallInteger.map(Math.abs);
        return [bools(condition!), leaf(dtype, a!, element), leaf(dtype, b!, element)];
      },
      ([condition, a, b]) => g.where(condition, a, b),
    ),
  ),
];

const fractions = fc.tuple(smallInteger, real).map(([n, x]) => n + x / 4);
const conversions: readonly OpCase[] = [
  ['f32', 'i32', fractions],
  ['f32', 'i64', fractions],
  ['f32', 'bool', smallInteger],
  ['f32', 'u8', positive.map((x) => 10 * x)],
  ['f32', 'f16', real],
  ['f16', 'f32', real],
  ['i32', 'f32', smallInteger],
  ['i64', 'f32', smallInteger],
  ['i32', 'i64', smallInteger],
  ['i64', 'i32', smallInteger],
  ['i32', 'bool', smallInteger],
  ['bool', 'f32', bits[0]],
  ['bool', 'i32', bits[0]],
  ['u8', 'f32', smallInteger.map(Math.abs)],
].map(([from, to, element]) =>
  opCase(
    'cast',
    `${from as DType} to ${to as DType}`,
    anyDims,
    (dims) => [leaf(from as DType, dims, element as fc.Arbitrary<number>)],
    ([x]) => g.cast(x, to as DType),
  ),
);

/** Cases of operations that move elements, for a float and for an integer type. */
function movement(dtype: DType): readonly OpCase[] {
  const element = dtype === 'f32' ? real : smallInteger;
  const one = (dims: readonly number[]) => [leaf(dtype, dims, element)];
  const dimsAndAxis = rowDims.chain((dims) =>
    fc.record({
      dims: fc.constant(dims),
      axis: fc.integer({ min: -dims.length, max: dims.length - 1 }),
    }),
  );
  return [
    opCase(
      'reshape',
      dtype,
      anyDims.chain((dims) =>
        fc.record({
          dims: fc.constant(dims),
          to: fc.shuffledSubarray([...dims, 1], { minLength: dims.length + 1 }),
        }),
      ),
      ({ dims }) => one(dims),
      ([x], { to }) => g.reshape(x, to),
    ),
    opCase(
      'transpose',
      dtype,
      anyDims.chain((dims) => {
        const axes = dims.map((_, axis) => axis);
        const order = fc.shuffledSubarray(axes, { minLength: axes.length });
        return fc.record({ dims: fc.constant(dims), order });
      }),
      ({ dims }) => one(dims),
      ([x], { order }) => g.transpose(x, order),
    ),
    opCase(
      'expand',
      dtype,
      broadcastDims(1).chain(([from]) =>
        fc.record({
          from: fc.constant(from!),
          target: fc
            .tuple(dimsOfRank(1, 1), size)
            .map(([lead, repeat]) => [...lead, ...from!.map((dim) => (dim === 1 ? repeat : dim))]),
        }),
      ),
      ({ from }) => one(from),
      ([x], { target }) => g.expand(x, target),
    ),
    opCase(
      'reduceSum',
      dtype,
      rowDims.chain((dims) =>
        fc.record({
          dims: fc.constant(dims),
          axes: fc.subarray(
            dims.map((_, axis) => axis),
            { minLength: 1 },
          ),
          keepDims: fc.boolean(),
        }),
      ),
      ({ dims }) => one(dims),
      ([x], { axes, keepDims }) => g.reduceSum(x, axes, keepDims),
    ),
    opCase(
      'concat',
      dtype,
      fc.record({ base: dimsAndAxis, sizes: fc.array(size, { minLength: 2, maxLength: 3 }) }),
      ({ base: { dims, axis }, sizes }) =>
        sizes.map((along) => leaf(dtype, dims.with(axis, along), element)),
      (inputs, { base: { axis } }) => g.concat(inputs, axis),
    ),
    opCase(
      'slice',
      dtype,
      fc.record({ base: dimsAndAxis, start: size, length: size, after: fc.nat(2) }),
      ({ base: { dims, axis }, start, length, after }) =>
        one(dims.with(axis, start + length + after)),
      ([x], { base: { axis }, start, length }) => g.slice(x, axis, start, start + length),
    ),
    opCase(
      'pad',
      dtype,
      fc.record({ base: dimsAndAxis, before: size, after: fc.nat(2) }),
      ({ base: { dims } }) => one(dims),
      ([x], { base: { axis }, before, after }) => g.pad(x, axis, before, after),
    ),
    opCase(
      'gatherRows',
      dtype,
      fc.record({ table: dimsOfRank(1, 3), at: dimsOfRank(0, 2) }),
      ({ table, at }) => [leaf(dtype, table, element), indices(at, table[0]!)],
      ([table, at]) => g.gatherRows(table, at),
    ),
  ];
}

const lookups: readonly OpCase[] = [
  opCase(
    'addRows',
    'repeated indices',
    fc.record({ table: dimsOfRank(1, 3), at: dimsOfRank(0, 2) }),
    ({ table, at }) => [indices(at, table[0]!), reals([...at, ...table.slice(1)])],
    ([at, rows], { table }) => g.addRows(table, at, rows),
  ),
  opCase(
    'pick',
    'f32',
    rowDims,
    (dims) => [reals(dims), indices(dims.slice(0, -1), dims.at(-1)!)],
    ([x, at]) => g.pick(x, at),
  ),
  opCase(
    'addAt',
    'f32',
    rowDims,
    (dims) => [reals(dims), indices(dims.slice(0, -1), dims.at(-1)!), reals(dims.slice(0, -1))],
    ([x, at, values]) => g.addAt(x, at, values),
  ),
  unary('rowMax', g.rowMax, smallInteger, 'f32', rowDims),
  opCase(
    'crossEntropy',
    'f32',
    rowDims,
    (dims) => [reals(dims), indices(dims.slice(0, -1), dims.at(-1)!)],
    ([logits, targets]) => g.crossEntropy(logits, targets),
  ),
];

const rows: readonly OpCase[] = [
  unary('softmax', g.softmax, real, 'f32', rowDims),
  unary('logSoftmax', g.logSoftmax, real, 'f32', rowDims),
  unary('sumSquares', g.sumSquares, real, 'f32', rowDims),
  opCase(
    'rmsNorm',
    'f32',
    fc.record({ dims: rowDims, epsilon: fc.constantFrom(1e-6, 1e-5, 0.25) }),
    ({ dims }) => [leaf('f32', dims, nonZero), reals(dims.slice(-1))],
    ([x, weight], { epsilon }) => g.rmsNorm(x, weight, epsilon),
  ),
  opCase(
    'inverseRms',
    'f32',
    fc.record({ dims: rowDims, epsilon: fc.constantFrom(1e-6, 1e-5, 0.25) }),
    ({ dims }) => [leaf('f32', dims, nonZero), reals(dims.slice(-1))],
    ([x, weight], { epsilon }) => g.inverseRms(x, weight, epsilon),
  ),
  opCase(
    'rope',
    'angles broadcast',
    fc.record({ dims: rowDims, shrunk: fc.nat(3), left: fc.nat(3) }),
    ({ dims, shrunk, left }) => {
      const lead = dims.slice(0, -1);
      const angles = lead.map((dim, axis) => (axis === shrunk ? 1 : dim)).slice(left);
      const half = dims.at(-1)!;
      return [reals([...lead, 2 * half]), reals([...angles, half]), reals([...angles, half])];
    },
    ([x, cos, sin]) => g.rope(x, cos, sin),
  ),
  opCase(
    'rope',
    'heads of a row share an angle',
    fc.tuple(size, size, size),
    ([numRows, heads, half]) => [
      reals([numRows, heads, 2 * half]),
      reals([numRows, 1, half]),
      reals([numRows, 1, half]),
    ],
    ([x, cos, sin]) => g.rope(x, cos, sin),
  ),
];

const passing: readonly OpCase[] = [
  unary('stopGradient', g.stopGradient),
  unary('recompute', (x) => g.recompute(([y]) => g.exp(y!), [x])),
  unary('withGradient', (x) =>
    g.withGradient(g.mul(x, x), [x], (grad) => [g.mul(grad, g.add(x, x))]),
  ),
  opCase(
    'barrier',
    'any shapes',
    fc.tuple(anyDims, anyDims, anyDims),
    (dims) => dims.map(reals),
    ([x, first, second]) => g.barrier(x, first, second),
  ),
];

const products: readonly OpCase[] = [false, true].flatMap((transposeA) =>
  [false, true].map((transposeB) =>
    opCase(
      'matmul',
      `${transposeA ? 'a^T' : 'a'} @ ${transposeB ? 'b^T' : 'b'}, batches broadcast`,
      fc.record({
        batches: broadcastDims(2).map((shapes) => shapes.map((dims) => dims.slice(-2))),
        sizes: fc.tuple(size, size, size),
        alpha: fc.constantFrom(1, -0.5, 2),
      }),
      ({ batches: [a, b], sizes: [m, k, n] }) => [
        reals([...a!, ...(transposeA ? [k, m] : [m, k])]),
        reals([...b!, ...(transposeB ? [n, k] : [k, n])]),
      ],
      ([a, b], { alpha }) => g.matmul(a, b, { transposeA, transposeB, alpha }),
    ),
  ),
);

/** Rows whose largest element is 127 in every block of 32: ONNX Runtime rounds them to int8 exactly. */
const int8Rows = (dims: readonly [number, number]) =>
  leaf('f32', dims, fc.integer({ min: -127, max: 127 })).map((drawn) => ({
    ...drawn,
    data: drawn.data.map((x, index) => (index % 32 === 0 ? 127 : x)),
  }));

const quantized: readonly OpCase[] = ([4, 8] as const).map((width) =>
  opCase(
    'blockLinear',
    `${width} bits`,
    fc.record({ numRows: size, outputs: size, numBlocks: size }).chain((sizes) => {
      const bytes = sizes.outputs * sizes.numBlocks * 4 * width;
      const scales = sizes.outputs * sizes.numBlocks;
      return fc.record({
        sizes: fc.constant(sizes),
        weight: fc.uint8Array({ minLength: bytes, maxLength: bytes }),
        scales: fc.array(nonZero, { minLength: scales, maxLength: scales }),
      });
    }),
    ({ sizes: { numRows, numBlocks } }) => [int8Rows([numRows, 32 * numBlocks])],
    ([x], { sizes: { outputs, numBlocks }, weight, scales }) =>
      g.blockLinear(
        x,
        g.constant(weight, [outputs, numBlocks, 4 * width], 'u8'),
        g.constant(Float32Array.from(scales), [outputs, numBlocks]),
        { bits: width, blockSize: 32 },
      ),
  ),
);

/** A matrix in pieces of rows; the columns need not fill the last block. */
const storedMatrices: readonly OpCase[] = [
  ...([4, 8] as const).map((width) =>
    opCase(
      'storedProduct',
      `${width} bits`,
      fc
        .record({
          numRows: size,
          pieces: fc.array(size, { minLength: 1, maxLength: 3 }),
          columns: fc.integer({ min: 1, max: 70 }),
        })
        .chain((sizes) => {
          const numBlocks = Math.ceil(sizes.columns / 32);
          const bytesOf = (count: number) => count * numBlocks * 4 * width;
          const piecesOf = fc.tuple(
            ...sizes.pieces.map((height) =>
              fc.record({
                height: fc.constant(height),
                values: fc.uint8Array({ minLength: bytesOf(height), maxLength: bytesOf(height) }),
                scales: fc.array(nonZero, {
                  minLength: height * numBlocks,
                  maxLength: height * numBlocks,
                }),
              }),
            ),
          );
          return fc.record({
            sizes: fc.constant({ ...sizes, numBlocks }),
            pieces: piecesOf,
          });
        }),
      ({ sizes: { numRows, columns } }) => [reals([numRows, columns])],
      ([x], { sizes: { columns, numBlocks }, pieces }) =>
        g.storedLinear(x, {
          columns,
          blocks: { bits: width, blockSize: 32 },
          pieces: pieces.map(({ height, values, scales }) => ({
            values: g.constant(values, [height, numBlocks, 4 * width], 'u8'),
            scales: g.constant(Float32Array.from(scales), [height, numBlocks]),
          })),
        }),
    ),
  ),
  ...(['f32', 'f16'] as const).map((dtype) =>
    opCase(
      'storedProduct',
      dtype,
      fc
        .record({
          numRows: size,
          columns: size,
          pieces: fc.array(size, { minLength: 1, maxLength: 3 }),
        })
        .chain((sizes) =>
          fc.record({
            sizes: fc.constant(sizes),
            pieces: fc.tuple(
              ...sizes.pieces.map((height) =>
                fc.array(smallInteger, {
                  minLength: height * sizes.columns,
                  maxLength: height * sizes.columns,
                }),
              ),
            ),
          }),
        ),
      ({ sizes: { numRows, columns } }) => [reals([numRows, columns])],
      ([x], { sizes, pieces }) =>
        g.storedLinear(x, {
          columns: sizes.columns,
          pieces: pieces.map((elements, index) => {
            const values = Float32Array.from(elements);
            const shape = [sizes.pieces[index]!, sizes.columns];
            return {
              values: g.constant(dtype === 'f16' ? encodeFloat16(values) : values, shape, dtype),
            };
          }),
        }),
    ),
  ),
];

export const OP_CASES: readonly OpCase[] = [
  ...arithmetic,
  ...comparisons,
  ...conversions,
  ...movement('f32'),
  ...movement('i32'),
  ...lookups,
  ...rows,
  ...passing,
  ...products,
  ...quantized,
  ...storedMatrices,
];
