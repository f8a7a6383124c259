/**
 * AdamW with decoupled weight decay and gradient-norm clipping, as one graph over all parameters.
 *
 * Scalars that change from update to update are inputs, so one program serves a whole run.
 * Source: Loshchilov & Hutter (arXiv 1711.05101); docs/math.md (adamw).
 */
import type { Tensor } from '../graph/index.js';
import { add, div, input, less, mul, reduceSum, scalar, sqrt, sub, where } from '../graph/index.js';
import type { ParameterSpec } from '../model/index.js';

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  /** Added to the root of the second moment, after bias correction. */
  readonly epsilon: number;
  /** Applies to tensors of two dimensions. */
  readonly weightDecay: number;
  /** Largest norm of all gradients together; `off` leaves them as they are. */
  readonly clipNorm: number | 'off';
}

/** The scalar inputs of an update. */
export interface UpdateScalars {
  readonly learningRate: number;
  /** 1 - beta1^n at the n-th update, n from 1. */
  readonly correction1: number;
  /** 1 - beta2^n */
  readonly correction2: number;
}

export function updateScalars(
  { beta1, beta2 }: AdamWOptions,
  trainStep: number,
  learningRate: number,
): UpdateScalars {
  return {
    learningRate,
    correction1: 1 - beta1 ** (trainStep + 1),
    correction2: 1 - beta2 ** (trainStep + 1),
  };
}

/** Keeps the clip factor finite at a zero norm. */
const CLIP_EPSILON = 1e-6;

/**
 * Outputs of the update program: for each parameter `next:param:`, `next:m:` and `next:v:` with its
 * name, and `gradNorm`, the norm before clipping. Inputs are `param:`, `m:`, `v:` and `grad:`.
 */
export function adamWOutputs(
  specs: readonly ParameterSpec[],
  options: AdamWOptions,
): Readonly<Record<string, Tensor>> {
  const { beta1, beta2, epsilon, weightDecay, clipNorm } = options;
  const learningRate = input('learningRate', 'f32', []);
  const correction1 = input('correction1', 'f32', []);
  const correction2 = input('correction2', 'f32', []);
  const grads = specs.map(({ hfName, shape }) => input(`grad:${hfName}`, 'f32', shape));
  const gradNorm = sqrt(
    grads.map((grad) => reduceSum(mul(grad, grad))).reduce((a, b) => add(a, b)),
  );
  const shrink = clipNorm === 'off' ? scalar(1) : div(clipNorm, add(gradNorm, CLIP_EPSILON));
  const factor = where(less(shrink, scalar(1)), shrink, 1);

  const outputs: Record<string, Tensor> = { gradNorm };
  specs.forEach(({ hfName, shape }, index) => {
    const param = input(`param:${hfName}`, 'f32', shape);
    const grad = mul(grads[index]!, factor);
    const m = add(mul(input(`m:${hfName}`, 'f32', shape), beta1), mul(grad, 1 - beta1));
    const v = add(mul(input(`v:${hfName}`, 'f32', shape), beta2), mul(mul(grad, grad), 1 - beta2));
    const direction = div(div(m, correction1), add(sqrt(div(v, correction2)), epsilon));
    const decayed =
      shape.length === 2 && weightDecay > 0
        ? sub(param, mul(param, mul(learningRate, weightDecay)))
        : param;
    outputs[`next:param:${hfName}`] = sub(decayed, mul(direction, learningRate));
    outputs[`next:m:${hfName}`] = m;
    outputs[`next:v:${hfName}`] = v;
  });
  return outputs;
}

/** Outputs of the program that adds the gradients of a further micro-batch. */
export function accumulateOutputs(
  specs: readonly ParameterSpec[],
): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(
    specs.map(({ hfName, shape }) => [
      `next:total:${hfName}`,
      add(input(`total:${hfName}`, 'f32', shape), input(`grad:${hfName}`, 'f32', shape)),
    ]),
  );
}
