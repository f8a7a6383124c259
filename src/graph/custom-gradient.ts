/** A value with a gradient of its own, where one is known that takes less than the rules of its parts. */
import { defineOp } from './op.js';
import type { Tensor } from './tensor.js';
import { createTensor } from './tensor.js';

defineOp({
  name: 'withGradient',
  infer: ([value]) => ({ dtype: value!.dtype, shape: value!.shape }),
  gradient: (node, grad) => [undefined, ...node.pull!(grad)],
  lower: (_, [value]) => value!,
});

/**
 * `value`, whose gradient flows to `inputs` as `pull` says and not through what made it.
 *
 * @param inputs - all tensors that a gradient shall reach
 * @param pull - from the gradient of the value to that of each input; `undefined` where none flows
 */
export function withGradient(
  value: Tensor,
  inputs: readonly Tensor[],
  pull: (grad: Tensor) => readonly (Tensor | undefined)[],
): Tensor {
  return createTensor({
    op: 'withGradient',
    inputs: [value, ...inputs],
    attributes: {},
    dtype: value.dtype,
    shape: value.shape,
    pull,
  });
}
