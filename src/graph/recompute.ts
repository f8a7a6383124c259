/**
 * Recompute regions: spend arithmetic to save memory.
 *
 * The values inside a region are dropped after the forward pass and computed again when the backward
 * pass reaches it (gradient.ts), so they never live at the same time as those of another region.
 * Source: Chen et al. 2016 (arXiv 1604.06174).
 */
import { defineOp } from './op.js';
import type { Tensor } from './tensor.js';
import { createTensor } from './tensor.js';

defineOp({
  name: 'recompute',
  infer: ([result]) => ({ dtype: result!.dtype, shape: result!.shape }),
  lower: (_, [result]) => result!,
});

/**
 * `body(inputs)`, whose inner values are not kept for the backward pass.
 *
 * @param body - builds one tensor from the inputs; may use weights from outside, which get their
 *   gradients as usual
 * @param inputs - the f32 tensors that are kept
 */
export function recompute(
  body: (inputs: readonly Tensor[]) => Tensor,
  inputs: readonly Tensor[],
): Tensor {
  const result = body(inputs);
  return createTensor({
    op: 'recompute',
    inputs: [result, ...inputs],
    attributes: {},
    dtype: result.dtype,
    shape: result.shape,
    rebuild: body,
  });
}
