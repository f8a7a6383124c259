/** Laws of `buildGraph`: what is merged, dropped and kept apart. */
import { describe, expect, test } from 'vitest';
import type { Tensor } from 'looplm/graph';
import {
  add,
  buildGraph,
  concat,
  constant,
  exp,
  input,
  mul,
  neg,
  parameter,
  recompute,
  reduceSum,
  reshape,
  scalar,
  slice,
  stopGradient,
} from 'looplm/graph';
import { evaluateGraph, value } from './interpreter.js';

const x = input('x', 'f32', [4]);
const y = input('y', 'f32', [4]);

/** Names of the operations of a graph, without its leaves. */
const operations = (out: Tensor) =>
  buildGraph({ out })
    .nodes.filter(({ inputs }) => inputs.length > 0)
    .map(({ op }) => op);

test('concat of the parts that one tensor was cut into is that tensor, of one part the part, of any others it is new', () => {
  const rows = input('rows', 'f32', ['N', 6]);
  const cut = (...bounds: readonly (readonly [number, number])[]) =>
    concat(
      bounds.map(([start, end]) => slice(rows, 1, start, end)),
      1,
    );
  expect(cut([0, 2], [2, 3], [3, 6])).toBe(rows);
  const part = exp(rows);
  expect(concat([part], 1)).toBe(part);
  for (const other of [
    cut([0, 2], [3, 6]),
    cut([0, 2], [2, 5]),
    cut([2, 6], [0, 2]),
    concat([slice(rows, 1, 0, 3), slice(exp(rows), 1, 3, 6)], 1),
    concat([slice(rows, 1, 0, 3), slice(rows, 1, 3, 6)], 0),
  ]) {
    expect(other.op).toBe('concat');
  }
});

describe('buildGraph merges', () => {
  test('equal computations, also through equal constants', () => {
    const square = () => mul(add(x, 2), add(x, 2));
    expect(operations(add(square(), square()))).toEqual(['add', 'mul', 'add']);
  });

  test('computations that become equal by merging', () => {
    expect(operations(add(exp(neg(x)), mul(exp(neg(x)), y)))).toEqual(['neg', 'exp', 'mul', 'add']);
  });

  test('what stopGradient and recompute pass on', () => {
    expect(operations(add(exp(stopGradient(x)), exp(x)))).toEqual(['exp', 'add']);
    expect(
      operations(
        add(
          recompute(([h]) => exp(h!), [x]),
          exp(x),
        ),
      ),
    ).toEqual(['exp', 'add']);
  });

  test('only operations with the same attributes and shape', () => {
    const parts = add(slice(x, 0, 0, 2), slice(x, 0, 2, 4));
    expect(operations(parts)).toEqual(['slice', 'slice', 'add']);
    const sums = add(reduceSum(x, [0], true), reduceSum(x, [0], false));
    expect(operations(sums)).toEqual(['reduceSum', 'reduceSum', 'add']);
    const views = add(reshape(x, [2, 2]), reshape(reshape(x, [1, 4]), [2, 2]));
    expect(operations(views)).toHaveLength(4);
  });

  test('not in another order of operands', () => {
    expect(operations(add(mul(x, y), mul(y, x)))).toEqual(['mul', 'mul', 'add']);
  });

  test('several outputs into one tensor', () => {
    const { outputs } = buildGraph({ first: exp(x), second: exp(x) });
    expect(outputs['first']).toBe(outputs['second']);
  });
});

describe('buildGraph keeps apart', () => {
  const constantsOf = (...tensors: readonly Tensor[]) => {
    const { nodes } = buildGraph(Object.fromEntries(tensors.map((t, i) => [`out${i}`, t])));
    return nodes.filter(({ op }) => op === 'constant').length;
  };

  test('constants with other elements: 0 and -0, NaN, infinities, neighbours in float32', () => {
    expect(constantsOf(scalar(0), scalar(-0))).toBe(2);
    expect(constantsOf(scalar(Number.NaN), scalar(0))).toBe(2);
    expect(constantsOf(scalar(Infinity), scalar(-Infinity), scalar(Number.NaN))).toBe(3);
    expect(constantsOf(scalar(1), scalar(1 + 2 ** -23))).toBe(2);
    expect(constantsOf(scalar(0.1), scalar(0.1))).toBe(1);
  });

  test('constants of another shape or element type', () => {
    const bits = Int32Array.of(1, 2);
    expect(constantsOf(constant(bits, [2], 'i32'), constant(bits, [1, 2], 'i32'))).toBe(2);
    expect(constantsOf(scalar(1), constant(Int32Array.of(1), [], 'i32'))).toBe(2);
    const large = BigInt64Array.of(2n ** 53n);
    const larger = BigInt64Array.of(2n ** 53n + 1n);
    expect(constantsOf(constant(large, [1], 'i64'), constant(larger, [1], 'i64'))).toBe(2);
  });

  test('minus zero through the sign of infinity', () => {
    const graph = buildGraph({ out: add(mul(x, 0), mul(x, -0)) });
    expect(graph.nodes.filter(({ op }) => op === 'mul')).toHaveLength(2);
  });

  test('parameters with equal elements', () => {
    const data = new Float32Array(4);
    const out = add(parameter('a', 'f32', [4], data), parameter('b', 'f32', [4], data));
    expect(buildGraph({ out }).parameters.map(({ attributes }) => attributes['name'])).toEqual([
      'a',
      'b',
    ]);
  });
});

describe('buildGraph', () => {
  test('drops what no output needs, inputs included', () => {
    const unused = mul(x, y);
    const graph = buildGraph({ out: exp(x) });
    expect(graph.nodes).not.toContain(unused);
    expect(graph.inputs).toEqual([x]);
  });

  test('drops inputs of a region that its body does not use', () => {
    const graph = buildGraph({ out: recompute(([h]) => exp(h!), [x, mul(y, 2)]) });
    expect(graph.inputs).toEqual([x]);
  });

  test('lists inputs of an operation before the operation', () => {
    const { nodes } = buildGraph({ out: add(mul(stopGradient(x), y), exp(mul(x, y))) });
    const position = new Map(nodes.map((node, index) => [node, index]));
    for (const [index, node] of nodes.entries()) {
      for (const source of node.inputs) expect(position.get(source)).toBeLessThan(index);
    }
  });

  test('gives an output that is an input or a constant', () => {
    const graph = buildGraph({ same: x, two: scalar(2) });
    const outputs = evaluateGraph(graph, { x: value([4], [1, 2, 3, 4]) });
    expect([...outputs['same']!.data, ...outputs['two']!.data]).toEqual([1, 2, 3, 4, 2]);
  });

  test('refuses a name that is used twice', () => {
    const other = input('x', 'f32', [4]);
    const weight = parameter('y', 'f32', [4], new Float32Array(4));
    expect(() => buildGraph({ out: add(x, other) })).toThrow(/"x" is used twice/);
    expect(() => buildGraph({ out: add(y, weight) })).toThrow(/"y" is used twice/);
    expect(() => buildGraph({ x: exp(x) })).toThrow(/"x" is used twice/);
  });
});
