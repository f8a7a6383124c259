/** The interpreter itself, against cases worked out by hand. */
import { describe, expect, test } from 'vitest';
import type { Tensor } from 'looplm/graph';
import * as g from 'looplm/graph';
import { evaluate, value } from './interpreter.js';

const zeros = (count: number): number[] => new Array<number>(count).fill(0);
const numbers = (data: readonly number[], dims: readonly number[]) =>
  g.constant(Float32Array.from(data), dims);
const integers = (data: readonly number[], dims: readonly number[]) =>
  g.constant(Int32Array.from(data), dims, 'i32');
const bools = (data: readonly number[]) => g.constant(Uint8Array.from(data), [data.length], 'bool');

/** Evaluates a tensor of constants. */
function run(tensor: Tensor) {
  const [{ dims, data }] = evaluate([tensor], {}) as [ReturnType<typeof value>];
  return { dims, data: [...data] };
}

const a = numbers([1, 2, 3, 4, 5, 6], [2, 3]);
const b = numbers([1, 0, -1], [3]);
const ln = Math.log;

describe('by hand', () => {
  const cases: Readonly<Record<string, readonly [Tensor, number[], number[]]>> = {
    add: [g.add(a, b), [2, 3], [2, 2, 2, 5, 5, 5]],
    sub: [g.sub(b, numbers([1, 2], [2, 1])), [2, 3], [0, -1, -2, -1, -2, -3]],
    mul: [g.mul(a, b), [2, 3], [1, 0, -3, 4, 0, -6]],
    div: [g.div(a, 2), [2, 3], [0.5, 1, 1.5, 2, 2.5, 3]],
    'div of integers': [g.div(integers([7, -7], [2]), integers([2, 2], [2])), [2], [3, -3]],
    neg: [g.neg(b), [3], [-1, -0, 1]],
    exp: [g.exp(numbers([0], [1])), [1], [1]],
    log: [g.log(numbers([1], [1])), [1], [0]],
    sqrt: [g.sqrt(numbers([9], [1])), [1], [3]],
    sigmoid: [g.sigmoid(numbers([0], [1])), [1], [0.5]],
    softplus: [g.softplus(numbers([0, 100, -800], [3])), [3], [ln(2), 100, 0]],
    logSigmoid: [g.logSigmoid(numbers([0, -100, 800], [3])), [3], [-ln(2), -100, -0]],
    silu: [g.silu(numbers([0, 100], [2])), [2], [0, 100]],
    equal: [g.equal(a, numbers([1, 5, 6], [3])), [2, 3], [1, 0, 0, 0, 1, 1]],
    less: [g.less(b, g.scalar(0)), [3], [0, 0, 1]],
    greaterOrEqual: [g.greaterOrEqual(b, g.scalar(0)), [3], [1, 1, 0]],
    and: [g.and(bools([0, 0, 1, 1]), bools([0, 1, 0, 1])), [4], [0, 0, 0, 1]],
    where: [g.where(bools([1, 0, 1]), a, b), [2, 3], [1, 0, 3, 4, 0, 6]],
    cast: [g.cast(numbers([1.9, -1.9], [2]), 'i32'), [2], [1, -1]],
    'cast to bool': [g.cast(b, 'bool'), [3], [1, 0, 1]],
    stopGradient: [g.stopGradient(b), [3], [1, 0, -1]],
    barrier: [g.barrier(b, a), [3], [1, 0, -1]],
    withGradient: [g.withGradient(b, [b], (grad) => [grad]), [3], [1, 0, -1]],
    recompute: [g.recompute(([x]) => g.add(x!, 1), [b]), [3], [2, 1, 0]],
    reshape: [g.reshape(a, [3, 2]), [3, 2], [1, 2, 3, 4, 5, 6]],
    transpose: [g.transpose(a, [1, 0]), [3, 2], [1, 4, 2, 5, 3, 6]],
    'transpose of three axes': [
      g.transpose(g.reshape(a, [1, 2, 3]), [2, 0, 1]),
      [3, 1, 2],
      [1, 4, 2, 5, 3, 6],
    ],
    expand: [g.expand(b, [2, 3]), [2, 3], [1, 0, -1, 1, 0, -1]],
    reduceSum: [g.reduceSum(a), [], [21]],
    'reduceSum over rows': [g.reduceSum(a, [0]), [3], [5, 7, 9]],
    'reduceSum, axis kept': [g.reduceSum(a, [-1], true), [2, 1], [6, 15]],
    concat: [g.concat([a, numbers([8, 9], [2, 1])], 1), [2, 4], [1, 2, 3, 8, 4, 5, 6, 9]],
    slice: [g.slice(a, 1, 1, 3), [2, 2], [2, 3, 5, 6]],
    pad: [g.pad(b, 0, 1, 2), [6], [0, 1, 0, -1, 0, 0]],
    matmul: [g.matmul(a, numbers([1, 0, 0, 1, 1, 1], [3, 2])), [2, 2], [4, 5, 10, 11]],
    'matmul, transposed and scaled': [
      g.matmul(a, a, { transposeB: true, alpha: 0.5 }),
      [2, 2],
      [7, 16, 16, 38.5],
    ],
    linear: [g.linear(a, g.reshape(b, [1, 3])), [2, 1], [-2, -2]],
    'storedLinear by rows of floats in two pieces': [
      g.storedLinear(a, {
        columns: 3,
        pieces: [
          { values: numbers([1, 0, -1, 2, 1, 0], [2, 3]) },
          { values: numbers([0, 1, 1], [1, 3]) },
        ],
      }),
      [2, 3],
      [-2, 4, 5, -2, 13, 11],
    ],
    'storedLinear by a row of bytes, less 128, times a half': [
      g.storedLinear(a, {
        columns: 3,
        blocks: { bits: 8, blockSize: 32 },
        pieces: [
          {
            values: g.constant(Uint8Array.from([130, 128, 126, ...zeros(29)]), [1, 1, 32], 'u8'),
            scales: numbers([0.5], [1, 1]),
          },
        ],
      }),
      [2, 1],
      [-2, -2],
    ],
    'blockLinear, low half of a byte first': [
      g.blockLinear(
        numbers([1, 2, ...zeros(30)], [1, 32]),
        g.constant(Uint8Array.of(0x9a, ...zeros(15)), [1, 1, 16], 'u8'), // 10 - 8 and 9 - 8
        numbers([0.5], [1, 1]),
        { bits: 4, blockSize: 32 },
      ),
      [1, 1],
      [2],
    ],
    gatherRows: [g.gatherRows(a, integers([1, 0, 1], [3])), [3, 3], [4, 5, 6, 1, 2, 3, 4, 5, 6]],
    addRows: [g.addRows([3, 3], integers([2, 2], [2]), a), [3, 3], [0, 0, 0, 0, 0, 0, 5, 7, 9]],
    pick: [g.pick(a, integers([2, 0], [2])), [2], [3, 4]],
    addAt: [
      g.addAt(a, integers([2, 0], [2]), numbers([10, 20], [2])),
      [2, 3],
      [1, 2, 13, 24, 5, 6],
    ],
    rowMax: [g.rowMax(numbers([1, 3, 3, 0, -1, -2], [2, 3])), [2], [3, 0]],
    softmax: [g.softmax(numbers([0, ln(3)], [2])), [2], [0.25, 0.75]],
    logSoftmax: [g.logSoftmax(numbers([5, 5], [2])), [2], [-ln(2), -ln(2)]],
    crossEntropy: [
      g.crossEntropy(numbers([0, ln(3)], [1, 2]), integers([1], [1])),
      [1],
      [ln(4 / 3)],
    ],
    sumSquares: [g.sumSquares(numbers([1, 2, 3, 0, -1, -2], [2, 3])), [2], [14, 5]],
    inverseRms: [
      g.inverseRms(numbers([3, 4], [2]), numbers([1, 2], [2]), 0),
      [1],
      [Math.sqrt(2) / 5],
    ],
    rmsNorm: [
      g.rmsNorm(numbers([3, 4], [2]), numbers([1, 2], [2]), 0),
      [2],
      [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)],
    ],
    'rope by a quarter turn': [
      g.rope(numbers([1, 2, 3, 4], [4]), numbers([0, 1], [2]), numbers([1, 0], [2])),
      [4],
      [-3, 2, 1, 4],
    ],
  };

  test.each(Object.entries(cases))('%s', (_, [tensor, dims, data]) => {
    const result = run(tensor);
    expect(result.dims).toEqual(dims);
    result.data.forEach((x, index) => expect(x).toBeCloseTo(data[index]!, 6));
    expect(result.data).toHaveLength(data.length);
  });

  test('every operation is among the cases', () => {
    const seen = new Set(Object.values(cases).map(([tensor]) => tensor.op));
    expect(g.opNames().filter((name) => !seen.has(name))).toEqual([]);
  });
});

describe('feeds', () => {
  const rows = g.input('rows', 'f32', ['N', 2]);

  test('bind named sizes, also in sums of sizes', () => {
    const both = g.concat([rows, g.input('more', 'f32', ['S', 2])], 0);
    const feeds = { rows: value([1, 2], [1, 2]), more: value([2, 2], [3, 4, 5, 6]) };
    expect(evaluate([both], feeds)[0]).toEqual(value([3, 2], [1, 2, 3, 4, 5, 6]));
  });

  test('are refused where a name would have two sizes or an axis another size', () => {
    const pair = g.add(rows, g.input('other', 'f32', ['N', 2]));
    const feeds = { rows: value([1, 2], [1, 2]), other: value([2, 2], [1, 2, 3, 4]) };
    expect(() => evaluate([pair], feeds)).toThrow(/axis 0 is 1, not 2|axis 0 is 2, not 1/);
    expect(() => evaluate([rows], { rows: value([1, 3], [1, 2, 3]) })).toThrow(
      /axis 1 is 3, not 2/,
    );
    expect(() => evaluate([rows], {})).toThrow(/rows is not fed/);
  });
});
