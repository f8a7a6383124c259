/**
 * AdamW with decoupled weight decay.
 * Source: Loshchilov & Hutter (arXiv 1711.05101); docs/math.md (adamw).
 */
import type { Tensor } from '../../graph/index.js';
import { add, div, mul, sqrt, sub } from '../../graph/index.js';
import type { Optimizer, ParameterUpdate } from './optimizer.js';

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

export function adamW(options: AdamWOptions): Optimizer {
  const { beta1, beta2, epsilon, clipNorm } = options;
  return {
    clipNorm,
    slots: () => [
      { name: 'm', starts: 'at zero' },
      { name: 'v', starts: 'at zero' },
    ],
    scalars: ({ trainStep, learningRate }) => ({
      learningRate,
      correction1: 1 - beta1 ** (trainStep + 1),
      correction2: 1 - beta2 ** (trainStep + 1),
    }),
    step(update) {
      const { grad, slot, scalar } = update;
      const m = add(mul(slot('m'), beta1), mul(grad, 1 - beta1));
      const v = add(mul(slot('v'), beta2), mul(mul(grad, grad), 1 - beta2));
      const root = sqrt(div(v, scalar('correction2')));
      const direction = div(div(m, scalar('correction1')), add(root, epsilon));
      const change = mul(direction, scalar('learningRate'));
      return { param: sub(decayed(update, options), change), slots: { m, v } };
    },
  };
}

/** The parameter after weight decay, which only tensors of two dimensions have. */
export function decayed(
  { spec, param, scalar }: Pick<ParameterUpdate, 'spec' | 'param' | 'scalar'>,
  { weightDecay }: Pick<AdamWOptions, 'weightDecay'>,
): Tensor {
  if (spec.shape.length !== 2 || weightDecay === 0) return param;
  return sub(param, mul(param, mul(scalar('learningRate'), weightDecay)));
}
