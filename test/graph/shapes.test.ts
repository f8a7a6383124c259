/** Named sizes, and what is said where shapes do not fit. */
import * as ort from '../../src/runtime/ort-node.js';
import { describe, expect, test } from 'vitest';
import type { Tensor } from 'looplm/graph';
import {
  add,
  addAt,
  addRows,
  and,
  barrier,
  buildGraph,
  cast,
  concat,
  constant,
  crossEntropy,
  div,
  expand,
  gatherRows,
  gradients,
  input,
  linear,
  matmul,
  mul,
  parameter,
  pick,
  reduceSum,
  reshape,
  rmsNorm,
  rope,
  rowMax,
  silu,
  slice,
  softmax,
  staticShape,
  transpose,
  where,
  writeOnnx,
} from 'looplm/graph';
import { ShapeError } from 'looplm/errors';
import type { Value } from './interpreter.js';
import { evaluateGraph, value } from './interpreter.js';
import { expectClose, runSession, SESSION_OPTIONS } from './support.js';

/** Deterministic elements between -1 and 1. */
function wave(dims: readonly number[], phase: number): Value {
  const length = dims.reduce((product, dim) => product * dim, 1);
  return value(
    dims,
    Float32Array.from({ length }, (_, index) => Math.sin(phase + index)),
  );
}

function weight(name: string, dims: readonly number[]): Tensor {
  return parameter(name, 'f32', dims, Float32Array.from(wave(dims, name.length).data));
}

describe('a graph with named sizes', () => {
  const [H, Dh, V] = [2, 4, 7];
  const D = H * Dh;

  /** One attention block over `S` cached and `N` new positions. */
  function attentionGraph() {
    const table = weight('table', [V, D]);
    const ids = input('ids', 'i32', ['N']);
    const angles = ['N', 1, Dh / 2];
    const turn = (q: Tensor) => rope(q, input('cos', 'f32', angles), input('sin', 'f32', angles));
    const x = rmsNorm(gatherRows(table, ids), weight('norm', [D]), 1e-6);
    const q = transpose(turn(reshape(linear(x, weight('q', [D, D])), ['N', H, Dh])), [1, 0, 2]);
    const k = transpose(reshape(linear(x, weight('kk', [D, D])), ['N', H, Dh]), [1, 0, 2]);
    const keys = concat([input('cache', 'f32', [H, 'S', Dh]), k], 1);
    const scores = matmul(q, keys, { transposeB: true, alpha: Dh ** -0.5 });
    const mixed = matmul(softmax(scores), keys);
    const rows = reshape(transpose(mixed, [1, 0, 2]), ['N', D]);
    const logits = linear(silu(add(rows, x)), table);
    const losses = crossEntropy(logits, ids);
    return buildGraph({
      keys,
      logits,
      best: rowMax(logits),
      chosen: pick(logits, ids),
      total: reduceSum(losses),
      firsts: slice(logits, 1, 0, 2),
    });
  }

  test('is compiled once and computes any number of rows', async () => {
    const graph = attentionGraph();
    expect(graph.outputs['keys']!.shape).toEqual([H, 'S+N', Dh]);
    const program = await ort.InferenceSession.create(writeOnnx(graph).bytes, SESSION_OPTIONS);
    for (const [N, S] of [
      [1, 0],
      [1, 5],
      [5, 3],
      [64, 1],
    ] as const) {
      const feeds = {
        ids: value(
          [N],
          Int32Array.from({ length: N }, (_, index) => (index * index) % V),
        ),
        cache: wave([H, S, Dh], 3),
        cos: wave([N, 1, Dh / 2], 1),
        sin: wave([N, 1, Dh / 2], 2),
      };
      const results = await runSession(program, graph, feeds);
      for (const [name, expected] of Object.entries(evaluateGraph(graph, feeds))) {
        expectClose(results[name]!, expected, graph.outputs[name]!.dtype);
      }
    }
    await program.release();
  });

  test('gives the gradient of a weight over any number of rows', async () => {
    const w = input('w', 'f32', [3, 2]);
    const out = silu(matmul(input('x', 'f32', ['N', 3]), w)); // [N, 2]
    const energy = matmul(out, out, { transposeA: true }); // [2, 2]
    const loss = reduceSum(energy);
    const graph = buildGraph({ loss, grad: gradients(loss, [w])[0]! });
    const program = await ort.InferenceSession.create(writeOnnx(graph).bytes, SESSION_OPTIONS);
    for (const N of [1, 5, 64]) {
      const feeds = { x: wave([N, 3], 1), w: wave([3, 2], 2) };
      const results = await runSession(program, graph, feeds);
      expectClose(results['grad']!, evaluateGraph(graph, feeds)['grad']!);
    }
    await program.release();
  });

  test('says which operation needs a number instead', () => {
    const x = input('x', 'f32', ['N', 4]);
    expect(() => staticShape(x)).toThrow(/input has shape \[N, 4\]/);
    const graph = buildGraph({ out: expand(input('row', 'f32', [1, 4]), ['N', 4]) });
    expect(() => writeOnnx(graph)).toThrow(/expand has shape \[N, 4\]/);
  });
});

describe('shapes that do not fit are a ShapeError that names them', () => {
  const f = (...shape: (number | string)[]) => input('f', 'f32', shape);
  const i = (...shape: (number | string)[]) => input('i', 'i32', shape);
  const b = (...shape: (number | string)[]) => input('b', 'bool', shape);

  const cases: readonly (readonly [name: string, build: () => unknown, ...said: string[]])[] = [
    ['add', () => add(f(2, 3), f(4)), '[2, 3]', '[4]'],
    ['add of named sizes', () => add(f('N', 3), f('S', 3)), '[N, 3]', '[S, 3]'],
    ['mul of two types', () => mul(f(2), i(2)), 'f32', 'i32'],
    ['div', () => div(f(2, 2), f(3, 2)), '[2, 2]', '[3, 2]'],
    ['and', () => and(f(2), f(2)), 'f32', 'bool'],
    ['where with a number as condition', () => where(f(2), f(2), f(2)), 'f32', 'bool'],
    ['where', () => where(b(2), f(3), f(3)), '[2]', '[3]'],
    ['barrier', () => barrier(f(2), i(3)), 'i32', '[3]'],
    ['matmul', () => matmul(f(2, 3), f(4, 5)), '[2, 3]', '[4, 5]'],
    ['matmul, transposed', () => matmul(f(2, 3), f(3, 5), { transposeA: true }), '[2, 3]^T'],
    ['matmul of vectors', () => matmul(f(3), f(3, 2)), '[3]', '[3, 2]'],
    ['matmul of batches', () => matmul(f(2, 4, 4), f(3, 4, 4)), '[2]', '[3]'],
    ['linear', () => linear(f(2, 3), f(5, 4)), '[2, 3]', '[5, 4]'],
    ['reshape', () => reshape(f(2, 3), [7]), '[2, 3]', '[7]'],
    ['reshape of a named size', () => reshape(f('N', 3), ['S', 3]), '[N, 3]', '[S, 3]'],
    ['transpose', () => transpose(f(2, 3), [0, 0]), '[0, 0]'],
    ['transpose of another rank', () => transpose(f(2, 3), [0, 1, 2]), '[2, 3]'],
    ['expand', () => expand(f(2, 3), [2, 4]), '[2, 3]', '[2, 4]'],
    ['expand to fewer', () => expand(f(2, 3), [1, 3]), '[2, 3]', '[1, 3]'],
    ['reduceSum', () => reduceSum(f(2, 3), [2]), 'axis 2', 'rank 2'],
    ['concat', () => concat([f(2, 3), f(3, 2)], 0), '[2, 3]', '[3, 2]'],
    ['concat of nothing', () => concat([], 0), 'at least one'],
    ['slice', () => slice(f(2, 3), 1, 1, 5), '[1, 5)', 'size 3'],
    ['gatherRows', () => gatherRows(f(4, 2), f(3)), 'f32', 'i32'],
    ['addRows', () => addRows([4, 2], i(3), f(3, 5)), '[3, 5]', '[3, 2]'],
    ['pick', () => pick(f(2, 3), i(3)), '[3]', '[2]'],
    ['addAt', () => addAt(f(2, 3), i(2), f(3)), '[3]', '[2]'],
    ['addAt, indices', () => addAt(f(2, 3), i(3), f(3)), '[3]', '[2]'],
    ['crossEntropy', () => crossEntropy(f(2, 3), i(3)), '[2, 3]', '[3]', '[2]'],
    ['rmsNorm', () => rmsNorm(f(2, 3), f(2), 1e-6), '[2, 3]', '[3]', '[2]'],
    ['rope', () => rope(f(2, 6), f(2, 2), f(2, 2)), '[2, 6]', '[2, 2]'],
    ['rope of an odd width', () => rope(f(2, 3), f(2, 1), f(2, 1)), '[2, 3]'],
    ['rope of other rows', () => rope(f(2, 4), f(3, 2), f(3, 2)), '[2]', '[3]'],
    ['constant', () => constant(new Float32Array(3), [2, 2]), '3 elements', '[2, 2]'],
    ['parameter', () => parameter('w', 'f32', [4], new Float32Array(3)), 'w has 3', '[4]'],
    ['gradients', () => gradients(f(2), []), '[2]'],
  ];

  for (const [name, build, ...said] of cases) {
    test(name, () => {
      expect(build).toThrow(ShapeError);
      for (const part of said) expect(build).toThrow(part);
    });
  }
});

describe('operations that change nothing return their input', () => {
  const x = input('x', 'f32', [2, 3]);
  test.each([
    ['reshape', reshape(x, [2, 3])],
    ['expand', expand(x, [2, 3])],
    ['slice', slice(x, 1, 0, 3)],
    ['cast', cast(x, 'f32')],
    ['reduceSum over no axis', reduceSum(x, [])],
    ['barrier without signals', barrier(x)],
  ])('%s', (_, result) => {
    expect(result).toBe(x);
  });
});
