/**
 * Matrix products. Weights keep the layout [out, in] of checkpoints, so `linear` multiplies by the
 * transpose without moving anything.
 */
import { ShapeError } from '../../errors.js';
import { attribute, defineOp } from '../op.js';
import type { Dim, Shape, Tensor } from '../tensor.js';
import { broadcastShapes, showShape } from '../tensor.js';
import { reshape, sumTo } from './layout.js';

export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Factor on the result. */
  readonly alpha?: number;
}

const matmulOp = defineOp({
  name: 'matmul',
  infer(inputs, { transposeA, transposeB }) {
    const [a, b] = inputs as [Tensor, Tensor];
    if (a.shape.length < 2 || b.shape.length < 2) {
      throw new ShapeError(
        `matmul: got ${showShape(a.shape)} and ${showShape(b.shape)}; both need at least two axes.`,
      );
    }
    const [rows, inner] = matrixDims(a.shape, transposeA as boolean);
    const [innerB, columns] = matrixDims(b.shape, transposeB as boolean);
    if (inner !== innerB || a.dtype !== b.dtype) {
      throw new ShapeError(
        `matmul: ${a.dtype} ${showShape(a.shape)}${transposeA ? '^T' : ''} and ${b.dtype} ${showShape(b.shape)}${transposeB ? '^T' : ''} do not fit.`,
      );
    }
    const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2), 'matmul');
    return { dtype: a.dtype, shape: [...batch, rows, columns] };
  },
  gradient(node, grad) {
    const [a, b] = node.inputs as [Tensor, Tensor];
    const transposeA = attribute<boolean>(node, 'transposeA');
    const transposeB = attribute<boolean>(node, 'transposeB');
    const alpha = attribute<number>(node, 'alpha');
    const gradA = transposeA
      ? matmul(b, grad, { transposeA: transposeB, transposeB: true, alpha })
      : matmul(grad, b, { transposeB: !transposeB, alpha });
    if (b.shape.length === 2 && !transposeA) {
      // One weight for all rows: a single product over the flattened rows, not a sum of products.
      const [flatA, flatGrad] = [flattenRows(a), flattenRows(grad)];
      const gradB = transposeB
        ? matmul(flatGrad, flatA, { transposeA: true, alpha })
        : matmul(flatA, flatGrad, { transposeA: true, alpha });
      return [sumTo(gradA, a.shape), gradB];
    }
    const gradB = transposeB
      ? matmul(grad, a, { transposeA: true, transposeB: transposeA, alpha })
      : matmul(a, grad, { transposeA: !transposeA, alpha });
    return [sumTo(gradA, a.shape), sumTo(gradB, b.shape)];
  },
  lower(node, [a, b], context) {
    const transposeA = attribute<boolean>(node, 'transposeA');
    const transposeB = attribute<boolean>(node, 'transposeB');
    const alpha = attribute<number>(node, 'alpha');
    const product = (left: string, right: string, transB: boolean) =>
      !transB && alpha === 1
        ? context.emit('MatMul', [left, right])
        : context.emit(
            'FusedMatMul',
            [left, right],
            { transA: 0, transB: transB ? 1 : 0, alpha: { float: alpha } },
            'com.microsoft',
          );
    if (!transposeA) return product(a!, b!, transposeB);
    // By a transposed first operand ONNX Runtime is slower than by its transpose: what is smaller is moved.
    const turned = (name: string, of: Tensor) =>
      context.emit('Transpose', [name], { perm: turnedAxes(of) });
    const [tensorA, tensorB] = node.inputs as [Tensor, Tensor];
    const moved = sizeOf(node) + (transposeB ? 0 : sizeOf(tensorB));
    if (moved < sizeOf(tensorA)) {
      return turned(product(transposeB ? b! : turned(b!, tensorB), a!, false), node);
    }
    return product(turned(a!, tensorA), b!, transposeB);
  },
});

/** Number of elements; NaN where a size is only known when it runs. */
const sizeOf = ({ shape }: Tensor): number =>
  shape.reduce<number>((size, dim) => size * Number(dim), 1);

/** All axes, the last two of them exchanged. */
const turnedAxes = ({ shape: { length } }: Tensor): readonly number[] =>
  Array.from({ length }, (_, axis) => (axis < length - 2 ? axis : 2 * length - 3 - axis));

/** `alpha * a @ b` over the last two axes, leading axes broadcast. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, alpha = 1 } = options;
  return matmulOp([a, b], { transposeA, transposeB, alpha });
}

/** `x @ weight^T`. @param weight - `[out, in]` */
export function linear(x: Tensor, weight: Tensor): Tensor {
  return matmul(x, weight, { transposeB: true });
}

function matrixDims(shape: Shape, transposed: boolean): readonly [Dim, Dim] {
  const [rows, columns] = shape.slice(-2) as [Dim, Dim];
  return transposed ? [columns, rows] : [rows, columns];
}

/** `[..., D]` as `[N, D]`. */
export function flattenRows(x: Tensor): Tensor {
  if (x.shape.length === 2) return x;
  const leading = x.shape.slice(0, -1);
  const named = leading.filter((dim) => typeof dim === 'string');
  const count = leading.reduce<number>(
    (product, dim) => (typeof dim === 'number' ? product * dim : product),
    1,
  );
  if (named.length > 1 || (named.length === 1 && count !== 1)) {
    throw new ShapeError(`matmul: the gradient of ${showShape(x.shape)} needs fixed sizes.`);
  }
  return reshape(x, [named[0] ?? count, x.shape.at(-1)!]);
}
