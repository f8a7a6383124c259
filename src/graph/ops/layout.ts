/**
 * Operations that move, repeat or add up elements: reshape, transpose, expand, reduceSum, concat,
 * slice, pad. They are each other's gradients, so they live together.
 */
import { ShapeError, UnsupportedError } from '../../errors.js';
import { attribute, defineOp } from '../op.js';
import type { Dim, Shape, Tensor } from '../tensor.js';
import {
  addDims,
  broadcastShapes,
  resolveAxis,
  sameShape,
  showShape,
  staticShape,
} from '../tensor.js';

const reshapeOp = defineOp({
  name: 'reshape',
  infer: ([x], { shape }) => ({ dtype: x!.dtype, shape: shape as Shape }),
  gradient: (node, grad) => [reshape(grad, node.inputs[0]!.shape)],
  lower(node, [x], context) {
    return context.emit('Reshape', [
      x!,
      context.int64(onnxReshape(node.inputs[0]!.shape, node.shape)),
    ]);
  },
});

/** The same elements in another shape. At most one named size may move to another axis. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const product = (dims: Shape) =>
    dims.reduce<number>((total, dim) => (typeof dim === 'number' ? total * dim : total), 1);
  const names = (dims: Shape) =>
    dims
      .filter((dim) => typeof dim === 'string')
      .toSorted()
      .join();
  if (product(x.shape) !== product(shape) || names(x.shape) !== names(shape)) {
    throw new ShapeError(`reshape: ${showShape(x.shape)} does not fit ${showShape(shape)}.`);
  }
  return reshapeOp([x], { shape });
}

function onnxReshape(from: Shape, to: Shape): readonly number[] {
  let inferred = false;
  return to.map((dim, axis) => {
    if (typeof dim === 'number') return dim;
    if (from[axis] === dim) return 0;
    if (inferred) {
      throw new UnsupportedError(
        `reshape from ${showShape(from)} to ${showShape(to)} moves two named sizes; split it in two.`,
      );
    }
    inferred = true;
    return -1;
  });
}

const transposeOp = defineOp({
  name: 'transpose',
  infer([x], { permutation }) {
    const order = permutation as readonly number[];
    if (order.toSorted((a, b) => a - b).some((axis, index) => axis !== index)) {
      throw new ShapeError(`transpose: [${order.join(', ')}] is not a permutation of the axes.`);
    }
    if (order.length !== x!.shape.length) {
      throw new ShapeError(`transpose: ${order.length} axes given for ${showShape(x!.shape)}.`);
    }
    return { dtype: x!.dtype, shape: order.map((axis) => x!.shape[axis]!) };
  },
  gradient(node, grad) {
    const order = attribute<readonly number[]>(node, 'permutation');
    const inverse = order.map((_, axis) => order.indexOf(axis));
    return [transpose(grad, inverse)];
  },
  lower: (node, [x], context) =>
    context.emit('Transpose', [x!], { perm: attribute<readonly number[]>(node, 'permutation') }),
});

/** Output axis `i` is input axis `permutation[i]`. */
export function transpose(x: Tensor, permutation: readonly number[]): Tensor {
  return transposeOp([x], { permutation });
}

const expandOp = defineOp({
  name: 'expand',
  infer([x], { shape }) {
    const target = shape as Shape;
    if (!sameShape(broadcastShapes(x!.shape, target, 'expand'), target)) {
      throw new ShapeError(`expand: ${showShape(x!.shape)} does not fill ${showShape(target)}.`);
    }
    return { dtype: x!.dtype, shape: target };
  },
  gradient: (node, grad) => [sumTo(grad, node.inputs[0]!.shape)],
  lower: (node, [x], context) => context.emit('Expand', [x!, context.int64(staticShape(node))]),
});

/** Repeats a tensor along new axes and axes of size 1. The target must be static. */
export function expand(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : expandOp([x], { shape });
}

const reduceSumOp = defineOp({
  name: 'reduceSum',
  infer: ([x], { axes, keepDims }) => ({
    dtype: x!.dtype,
    shape: reducedShape(x!.shape, axes as readonly number[], keepDims as boolean),
  }),
  gradient(node, grad) {
    const x = node.inputs[0]!;
    const kept = reducedShape(x.shape, attribute<readonly number[]>(node, 'axes'), true);
    return [expand(reshape(grad, kept), x.shape)];
  },
  lower: (node, [x], context) =>
    context.emit('ReduceSum', [x!, context.int64(attribute<readonly number[]>(node, 'axes'))], {
      keepdims: attribute<boolean>(node, 'keepDims') ? 1 : 0,
    }),
});

/** Sum over axes (all of them by default). */
export function reduceSum(x: Tensor, axes?: readonly number[], keepDims = false): Tensor {
  const resolved = (axes ?? x.shape.map((_, axis) => axis)).map((axis) =>
    resolveAxis(axis, x.shape.length),
  );
  return resolved.length === 0 ? x : reduceSumOp([x], { axes: resolved, keepDims });
}

/** Shape after reducing over axes. */
function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): Shape {
  return keepDims
    ? shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
    : shape.filter((_, axis) => !axes.includes(axis));
}

/** Adds up the axes along which `shape` was broadcast: the gradient of broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.shape.length - shape.length;
  const axes = x.shape.flatMap((dim, axis) =>
    axis < lead || (shape[axis - lead] === 1 && dim !== 1) ? [axis] : [],
  );
  return reshape(reduceSum(x, axes, true), shape);
}

const concatOp = defineOp({
  name: 'concat',
  infer(inputs, { axis }) {
    const [first] = inputs;
    const along = axis as number;
    for (const other of inputs) {
      const fits =
        other.shape.length === first!.shape.length &&
        other.shape.every((dim, index) => index === along || dim === first!.shape[index]);
      if (!fits || other.dtype !== first!.dtype) {
        throw new ShapeError(
          `concat along axis ${along}: ${showShape(first!.shape)} and ${showShape(other.shape)} differ elsewhere.`,
        );
      }
    }
    const size = inputs.reduce<Dim>((total, { shape }) => addDims(total, shape[along]!), 0);
    return {
      dtype: first!.dtype,
      shape: first!.shape.map((dim, index) => (index === along ? size : dim)),
    };
  },
  gradient(node, grad) {
    const axis = attribute<number>(node, 'axis');
    let start = 0;
    return node.inputs.map((part) => {
      const size = staticShape(part)[axis]!;
      start += size;
      return slice(grad, axis, start - size, start);
    });
  },
  lower: (node, inputs, context) =>
    context.emit('Concat', inputs, { axis: attribute<number>(node, 'axis') }),
});

/** Joins tensors along an axis. Of parts into which one tensor was cut, the result is that tensor; of one part, the part. */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  if (parts.length === 0) throw new ShapeError('concat needs at least one tensor.');
  const along = resolveAxis(axis, parts[0]!.shape.length);
  const known = wholeOf(parts, along) ?? (parts.length === 1 ? parts[0] : undefined);
  return known ?? concatOp(parts, { axis: along });
}

/** The tensor whose slices the parts are, from its one end to the other; undefined if it is none. */
function wholeOf(parts: readonly Tensor[], axis: number): Tensor | undefined {
  const whole = parts[0]!.inputs[0];
  let end = 0;
  for (const part of parts) {
    const { axis: along, start, end: next } = part.attributes;
    const follows = along === axis && start === end;
    if (part.op !== 'slice' || part.inputs[0] !== whole || !follows) return undefined;
    end = next as number;
  }
  return whole?.shape[axis] === end ? whole : undefined;
}

const sliceOp = defineOp({
  name: 'slice',
  infer([x], { axis, start, end }) {
    const along = axis as number;
    const size = x!.shape[along]!;
    const [from, to] = [start as number, end as number];
    if (typeof size === 'number' && !(from >= 0 && from < to && to <= size)) {
      throw new ShapeError(`slice: [${from}, ${to}) is outside axis ${along} of size ${size}.`);
    }
    return {
      dtype: x!.dtype,
      shape: x!.shape.map((dim, index) => (index === along ? to - from : dim)),
    };
  },
  gradient(node, grad) {
    const axis = attribute<number>(node, 'axis');
    const size = staticShape(node.inputs[0]!)[axis]!;
    const [start, end] = [attribute<number>(node, 'start'), attribute<number>(node, 'end')];
    return [pad(grad, axis, start, size - end)];
  },
  lower: (node, [x], context) =>
    context.emit('Slice', [
      x!,
      context.int64([attribute<number>(node, 'start')]),
      context.int64([attribute<number>(node, 'end')]),
      context.int64([attribute<number>(node, 'axis')]),
    ]),
});

/** Elements `start` (included) to `end` (excluded) along an axis. */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const along = resolveAxis(axis, x.shape.length);
  return start === 0 && end === x.shape[along] ? x : sliceOp([x], { axis: along, start, end });
}

const padOp = defineOp({
  name: 'pad',
  infer: ([x], { axis, before, after }) => ({
    dtype: x!.dtype,
    shape: x!.shape.map((dim, index) =>
      index === axis ? addDims(addDims(before as number, dim), after as number) : dim,
    ),
  }),
  gradient(node, grad) {
    const [axis, before] = [attribute<number>(node, 'axis'), attribute<number>(node, 'before')];
    return [slice(grad, axis, before, before + staticShape(node.inputs[0]!)[axis]!)];
  },
  lower(node, [x], context) {
    const rank = node.shape.length;
    const pads = new Array<number>(2 * rank).fill(0);
    pads[attribute<number>(node, 'axis')] = attribute<number>(node, 'before');
    pads[rank + attribute<number>(node, 'axis')] = attribute<number>(node, 'after');
    return context.emit('Pad', [x!, context.int64(pads)], { mode: 'constant' });
  },
});

/** Adds zeros before and after the elements of an axis. */
export function pad(x: Tensor, axis: number, before: number, after: number): Tensor {
  const along = resolveAxis(axis, x.shape.length);
  return before === 0 && after === 0 ? x : padOp([x], { axis: along, before, after });
}
