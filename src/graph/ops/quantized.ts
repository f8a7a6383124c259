/**
 * The product with a weight that is stored as small integers, each block of consecutive inputs of an
 * output with a scale of its own.
 *
 * It takes float32 in and gives float32 out; on the way ONNX Runtime rounds the activations to int8,
 * with a scale for each block of a row. It has no gradient: quantised weights are not trained.
 * In some formats ONNX Runtime takes rows in pairs and the last of an odd number by another kernel,
 * which rounds otherwise: see `blockRowMultiple`.
 * Source: com.microsoft.MatMulNBits in the operator docs of ONNX Runtime.
 */
import { ShapeError } from '../../errors.js';
import { attribute, defineOp } from '../op.js';
import type { Tensor } from '../tensor.js';
import { sameShape, showShape } from '../tensor.js';

/** How integers are packed. */
export interface BlockOptions {
  readonly bits: 4 | 8;
  readonly blockSize: number;
}

/**
 * A row of `blockLinear` has the same bits whatever the other rows are, if their number is a multiple
 * of this. Measured with ONNX Runtime 1.30 on AVX-512 and on AVX2 (test/graph/row-invariance.test.ts).
 */
export function blockRowMultiple({ bits, blockSize }: BlockOptions): 1 | 2 {
  return bits === 8 && blockSize <= 64 ? 1 : 2;
}

const blockLinearOp = defineOp({
  name: 'blockLinear',
  infer(inputs, attributes) {
    const { bits, blockSize } = attributes as unknown as BlockOptions;
    const [x, weight, scales] = inputs as [Tensor, Tensor, Tensor];
    const inner = x.shape[1];
    const [out, numBlocks, blobBytes] = weight.shape;
    const fits =
      x.shape.length === 2 &&
      weight.dtype === 'u8' &&
      typeof inner === 'number' &&
      numBlocks === Math.ceil(inner / blockSize) &&
      blobBytes === (blockSize * bits) / 8 &&
      sameShape(scales.shape, [out!, numBlocks]);
    if (!fits) {
      throw new ShapeError(
        `blockLinear: x ${showShape(x.shape)}, ${weight.dtype} weight ${showShape(weight.shape)} and scales ${showShape(scales.shape)} do not fit ${bits} bits in blocks of ${blockSize}.`,
      );
    }
    return { dtype: 'f32', shape: [x.shape[0]!, out!] };
  },
  lower(node, inputs, context) {
    const [x, weight] = node.inputs as [Tensor, Tensor];
    return context.emit(
      'MatMulNBits',
      inputs,
      {
        K: x.shape[1] as number,
        N: weight.shape[0] as number,
        bits: attribute<number>(node, 'bits'),
        block_size: attribute<number>(node, 'blockSize'),
        accuracy_level: 4, // activations in int8 with a scale for each block
      },
      'com.microsoft',
    );
  },
});

/**
 * `x @ W^T` where `W[o, i] = (q[o, i] - 2^(bits-1)) * scales[o, floor(i / blockSize)]`.
 *
 * @param x - `[N, in]`
 * @param weight - u8 `[out, numBlocks, blockSize * bits / 8]`, low bits first
 * @param scales - `[out, numBlocks]`
 */
export function blockLinear(
  x: Tensor,
  weight: Tensor,
  scales: Tensor,
  { bits, blockSize }: BlockOptions,
): Tensor {
  return blockLinearOp([x, weight, scales], { bits, blockSize });
}
