/**
 * Operations over whole rows that have a fused kernel: softmax, log-softmax, RMSNorm and the
 * cross-entropy of a row of logits. Their gradients are written with simpler operations.
 */
import { ShapeError } from '../../errors.js';
import { attribute, defineOp } from '../op.js';
import type { Tensor } from '../tensor.js';
import { sameShape, showShape } from '../tensor.js';
import { add, div, exp, mul, neg, sqrt, sub } from './elementwise.js';
import { reduceSum, reshape } from './layout.js';
import { addAt } from './lookup.js';

const softmaxOp = defineOp({
  name: 'softmax',
  infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
  gradient(node, grad) {
    const weighted = mul(grad, node);
    return [sub(weighted, mul(node, reduceSum(weighted, [-1], true)))];
  },
  lower: (_, inputs, context) => context.emit('Softmax', inputs, { axis: -1 }),
});

/** Softmax over the last axis. */
export const softmax = (x: Tensor): Tensor => softmaxOp([x]);

const logSoftmaxOp = defineOp({
  name: 'logSoftmax',
  infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
  gradient: (node, grad) => [sub(grad, mul(exp(node), reduceSum(grad, [-1], true)))],
  lower: (_, inputs, context) => context.emit('LogSoftmax', inputs, { axis: -1 }),
});

/** Logarithm of the softmax over the last axis. */
export const logSoftmax = (x: Tensor): Tensor => logSoftmaxOp([x]);

const crossEntropyOp = defineOp({
  name: 'crossEntropy',
  infer(inputs) {
    const [logits, targets] = inputs as [Tensor, Tensor];
    if (targets.dtype !== 'i32' || !sameShape(logits.shape.slice(0, -1), targets.shape)) {
      throw new ShapeError(
        `crossEntropy: logits ${showShape(logits.shape)} need i32 targets of shape ${showShape(logits.shape.slice(0, -1))}, got ${targets.dtype} ${showShape(targets.shape)}.`,
      );
    }
    return { dtype: logits.dtype, shape: targets.shape };
  },
  gradient(node, grad) {
    const [logits, targets] = node.inputs as [Tensor, Tensor];
    const column = reshape(grad, [...grad.shape, 1]);
    return [addAt(mul(softmax(logits), column), targets, neg(grad)), undefined];
  },
  lower(node, [logits, targets], context) {
    const axis = context.int64([node.shape.length]);
    const logProbs = context.emit('LogSoftmax', [logits!], { axis: -1 });
    const picked = context.emit(
      'GatherElements',
      [logProbs, context.emit('Unsqueeze', [targets!, axis])],
      { axis: node.shape.length },
    );
    return context.emit('Neg', [context.emit('Squeeze', [picked, axis])]);
  },
});

/**
 * -log softmax(logits)[target] of each row.
 *
 * @param logits - `[..., V]`
 * @param targets - i32 `[...]`, each in 0..V-1
 */
export function crossEntropy(logits: Tensor, targets: Tensor): Tensor {
  return crossEntropyOp([logits, targets]);
}

const rmsNormOp = defineOp({
  name: 'rmsNorm',
  infer(inputs) {
    const [x, weight] = inputs as [Tensor, Tensor];
    if (!sameShape(weight.shape, x.shape.slice(-1))) {
      throw new ShapeError(
        `rmsNorm: ${showShape(x.shape)} needs a weight of shape ${showShape(x.shape.slice(-1))}, got ${showShape(weight.shape)}.`,
      );
    }
    return { dtype: x.dtype, shape: x.shape };
  },
  gradient(node, grad) {
    const [x, weight] = node.inputs as [Tensor, Tensor];
    const width = x.shape.at(-1) as number;
    const meanSquare = div(reduceSum(mul(x, x), [-1], true), width);
    const inverse = div(1, sqrt(add(meanSquare, attribute<number>(node, 'epsilon'))));
    const unit = mul(x, inverse);
    const scaled = mul(grad, weight);
    const projection = div(reduceSum(mul(scaled, unit), [-1], true), width);
    const leading = x.shape.slice(0, -1).map((_, axis) => axis);
    return [mul(sub(scaled, mul(unit, projection)), inverse), reduceSum(mul(grad, unit), leading)];
  },
  lower: (node, inputs, context) =>
    context.emit('SimplifiedLayerNormalization', inputs, {
      axis: -1,
      epsilon: { float: attribute<number>(node, 'epsilon') },
      stash_type: 1,
    }),
});

/**
 * `weight * x / sqrt(mean(x^2) + epsilon)` over the last axis.
 *
 * @param x - `[..., D]`
 * @param weight - `[D]`
 */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return rmsNormOp([x, weight], { epsilon });
}
