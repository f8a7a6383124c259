/**
 * Operations over whole rows that have a fused kernel: softmax, log-softmax, RMSNorm, the sum of a row's
 * squares and the cross-entropy of a row of logits. Their gradients are written with simpler operations.
 */
import { ShapeError } from '../../errors.js';
import { attribute, defineOp } from '../op.js';
import type { Tensor } from '../tensor.js';
import { sameShape, showShape } from '../tensor.js';
import { exp, mul, neg, sub } from './elementwise.js';
import { reduceSum, reshape } from './layout.js';
import { flattenRows, matmul } from './linear.js';
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

const sumSquaresOp = defineOp({
  name: 'sumSquares',
  infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape.slice(0, -1) }),
  gradient(node, grad) {
    const x = node.inputs[0]!;
    return [mul(x, reshape(mul(grad, 2), [...grad.shape, 1]))];
  },
  lower: (_, [x], context) =>
    context.emit('ReduceSumSquare', [x!, context.int64([-1])], { keepdims: 0 }),
});

/** Sum of the squares over the last axis. */
export const sumSquares = (x: Tensor): Tensor => sumSquaresOp([x]);

const NORMALIZATION = 'SimplifiedLayerNormalization';
const normAttributes = (node: Tensor) => ({
  axis: -1,
  epsilon: { float: attribute<number>(node, 'epsilon') },
  stash_type: 1,
});

/** 1 / sqrt(mean(x^2) + epsilon), `[..., 1]`: the second result of the node that normalises. */
const inverseRmsOp = defineOp({
  name: 'inverseRms',
  infer: ([x]) => ({ dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), 1] }),
  gradient(node, grad) {
    const x = node.inputs[0]!;
    const cube = mul(node, mul(node, node));
    return [mul(x, mul(mul(grad, cube), -1 / (x.shape.at(-1) as number))), undefined];
  },
  lower: (node, inputs, context) =>
    context.emitMany(NORMALIZATION, inputs, 2, normAttributes(node))[1]!,
});

/** @param weight - of the norm that it belongs to; not read */
export function inverseRms(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return inverseRmsOp([x, weight], { epsilon });
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
    const inverse = inverseRms(x, weight, attribute(node, 'epsilon')); // [..., 1]
    // Sums of products with a vector are products of matrices, which read once and write little.
    const product = flattenRows(mul(grad, x)); // [N, D]
    const column = reshape(inverse, [product.shape[0]!, 1]);
    const byRow = mul(matmul(product, reshape(weight, [width, 1])), 1 / width); // mean of g w x
    const projection = reshape(mul(byRow, mul(column, mul(column, column))), inverse.shape);
    const gradX = sub(mul(mul(grad, weight), inverse), mul(x, projection));
    const gradWeight = matmul(reshape(inverse, [1, product.shape[0]!]), product);
    return [gradX, reshape(gradWeight, [width])];
  },
  lower: (node, inputs, context) => context.emit(NORMALIZATION, inputs, normAttributes(node)),
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
