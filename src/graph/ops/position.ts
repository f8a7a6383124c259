/**
 * Rotary position embedding (RoPE), rotate-half layout: element j turns together with j + Dh/2.
 * Its gradient is the rotation by the opposite angle.
 */
import { ShapeError } from '../../errors.js';
import { defineOp } from '../op.js';
import type { Tensor } from '../tensor.js';
import { broadcastShapes, sameShape, showShape } from '../tensor.js';
import { neg } from './elementwise.js';

const ropeOp = defineOp({
  name: 'rope',
  infer(inputs) {
    const [x, cos, sin] = inputs as [Tensor, Tensor, Tensor];
    const width = x.shape.at(-1);
    if (typeof width !== 'number' || width % 2 !== 0 || cos.shape.at(-1) !== width / 2) {
      throw new ShapeError(
        `rope: ${showShape(x.shape)} needs an even last axis and angles of half its width, got ${showShape(cos.shape)}.`,
      );
    }
    const leading = x.shape.slice(0, -1);
    if (
      !sameShape(cos.shape, sin.shape) ||
      !sameShape(broadcastShapes(leading, cos.shape.slice(0, -1), 'rope'), leading)
    ) {
      throw new ShapeError(
        `rope: angles ${showShape(cos.shape)} do not fit ${showShape(x.shape)}.`,
      );
    }
    return { dtype: x.dtype, shape: x.shape };
  },
  gradient: (node, grad) => [
    rope(grad, node.inputs[1]!, neg(node.inputs[2]!)),
    undefined,
    undefined,
  ],
  lower(node, [x, cos, sin], context) {
    const width = node.shape.at(-1) as number;
    const [rows, heads] = node.shape;
    const angles = node.inputs[1]!.shape;
    const isByRow = node.shape.length === 3 && angles.length === 3 && angles[1] === 1;
    if (isByRow && typeof rows === 'number' && angles[0] === rows && typeof heads === 'number') {
      // Row n of the packed tokens reads row n of the angles: position ids from 0.
      const table = context.int64([rows, width / 2]);
      const turned = context.emit(
        'RotaryEmbedding',
        [
          context.emit('Reshape', [x!, context.int64([1, rows, heads * width])]),
          context.int64([0]),
          context.emit('Reshape', [cos!, table]),
          context.emit('Reshape', [sin!, table]),
        ],
        { num_heads: heads },
        'com.microsoft',
      );
      return context.emit('Reshape', [turned, context.int64([rows, heads, width])]);
    }
    const half = width / 2;
    const [low, high] = context.emitMany('Split', [x!, context.int64([half, half])], 2, {
      axis: -1,
    });
    const product = (a: string, b: string) => context.emit('Mul', [a, b]);
    const first = context.emit('Sub', [product(low!, cos!), product(high!, sin!)]);
    const second = context.emit('Add', [product(high!, cos!), product(low!, sin!)]);
    return context.emit('Concat', [first, second], { axis: -1 });
  },
});

/**
 * Rotates pairs (j, j + Dh/2): `out[j] = a cos - b sin`, `out[j + Dh/2] = b cos + a sin`.
 *
 * @param x - `[..., Dh]`
 * @param cos - cosines, shape broadcastable to `[..., Dh/2]`; angles take no gradient
 * Source: Su et al. 2021 (arXiv 2104.09864), rotate-half layout of the released checkpoints.
 */
export function rope(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  return ropeOp([x, cos, sin]);
}
