/**
 * Operations that read or write by index: rows of a table (embeddings) and one element per row
 * (labels); and the largest of a row.
 */
import { ShapeError } from '../../errors.js';
import { defineOp } from '../op.js';
import type { Shape, Tensor } from '../tensor.js';
import { sameShape, scalar, showShape, staticShape } from '../tensor.js';
import { expand } from './layout.js';

function checkIndices(name: string, indices: Tensor): void {
  if (indices.dtype !== 'i32') {
    throw new ShapeError(`${name}: indices are ${indices.dtype}; they must be i32.`);
  }
}

function checkShape(name: string, what: string, actual: Shape, expected: Shape): void {
  if (!sameShape(actual, expected)) {
    throw new ShapeError(
      `${name}: got ${what} of shape ${showShape(actual)}; it must be ${showShape(expected)}.`,
    );
  }
}

const gatherRowsOp = defineOp({
  name: 'gatherRows',
  infer(inputs) {
    const [table, indices] = inputs as [Tensor, Tensor];
    checkIndices('gatherRows', indices);
    return { dtype: table.dtype, shape: [...indices.shape, ...table.shape.slice(1)] };
  },
  gradient(node, grad) {
    const [table, indices] = node.inputs as [Tensor, Tensor];
    return [addRows(staticShape(table), indices, grad), undefined];
  },
  lower: (_, inputs, context) => context.emit('Gather', inputs, { axis: 0 }),
});

/** Rows of a table. @param table - `[V, ...]` @param indices - i32 `[...]`, each in 0..V-1 */
export function gatherRows(table: Tensor, indices: Tensor): Tensor {
  return gatherRowsOp([table, indices]);
}

const addRowsOp = defineOp({
  name: 'addRows',
  infer(inputs, { shape }) {
    const [indices, rows] = inputs as [Tensor, Tensor];
    checkIndices('addRows', indices);
    const table = shape as readonly number[];
    checkShape('addRows', 'rows', rows.shape, [...indices.shape, ...table.slice(1)]);
    return { dtype: rows.dtype, shape: table };
  },
  gradient: (node, grad) => [undefined, gatherRows(grad, node.inputs[0]!)],
  lower(node, [indices, rows], context) {
    // Not ScatterND: its CPU kernel adds rows of equal index from several threads without a lock.
    const [height, ...tail] = staticShape(node) as [number, ...number[]];
    const width = tail.reduce((product, dim) => product * dim, 1);
    const column = context.emit('Reshape', [indices!, context.int64([-1, 1])]);
    const sums = context.emit(
      'ScatterElements',
      [
        context.emit('Expand', [context.float(0), context.int64([height, width])]),
        context.emit('Expand', [column, context.int64([1, width])]),
        context.emit('Reshape', [rows!, context.int64([-1, width])]),
      ],
      { axis: 0, reduction: 'add' },
    );
    return context.emit('Reshape', [sums, context.int64([height, ...tail])]);
  },
});

/** A zero table of `shape` to which each row is added at its index; rows of equal index add up. */
export function addRows(shape: readonly number[], indices: Tensor, rows: Tensor): Tensor {
  return addRowsOp([indices, rows], { shape });
}

const pickOp = defineOp({
  name: 'pick',
  infer(inputs) {
    const [x, indices] = inputs as [Tensor, Tensor];
    checkIndices('pick', indices);
    checkShape('pick', 'indices', indices.shape, x.shape.slice(0, -1));
    return { dtype: x.dtype, shape: indices.shape };
  },
  gradient(node, grad) {
    const [x, indices] = node.inputs as [Tensor, Tensor];
    return [addAt(expand(scalar(0), x.shape), indices, grad), undefined];
  },
  lower(node, [x, indices], context) {
    const axis = context.int64([node.shape.length]);
    const column = context.emit('Unsqueeze', [indices!, axis]);
    const picked = context.emit('GatherElements', [x!, column], { axis: node.shape.length });
    return context.emit('Squeeze', [picked, axis]);
  },
});

/** One element of each row. @param x - `[..., V]` @param indices - i32 `[...]` */
export function pick(x: Tensor, indices: Tensor): Tensor {
  return pickOp([x, indices]);
}

const addAtOp = defineOp({
  name: 'addAt',
  infer(inputs) {
    const [x, indices, values] = inputs as [Tensor, Tensor, Tensor];
    checkIndices('addAt', indices);
    checkShape('addAt', 'indices', indices.shape, x.shape.slice(0, -1));
    checkShape('addAt', 'values', values.shape, indices.shape);
    return { dtype: x.dtype, shape: x.shape };
  },
  gradient: (node, grad) => [grad, undefined, pick(grad, node.inputs[1]!)],
  lower(node, [x, indices, values], context) {
    const last = node.shape.length - 1;
    const axis = context.int64([last]);
    return context.emit(
      'ScatterElements',
      [x!, context.emit('Unsqueeze', [indices!, axis]), context.emit('Unsqueeze', [values!, axis])],
      { axis: last, reduction: 'add' },
    );
  },
});

/** `x` with a value added to one element of each row. @param values - shape of `indices` */
export function addAt(x: Tensor, indices: Tensor, values: Tensor): Tensor {
  return addAtOp([x, indices, values]);
}

const rowMaxOp = defineOp({
  name: 'rowMax',
  infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape.slice(0, -1) }),
  lower: (node, [x], context) =>
    context.emit('ReduceMax', [x!, context.int64([node.shape.length])], { keepdims: 0 }),
});

/** The largest element of each row, `[..., V]` to `[...]`. It takes no gradient. */
export const rowMax = (x: Tensor): Tensor => rowMaxOp([x]);
