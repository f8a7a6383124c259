/**
 * AdamW with decoupled weight decay.
 * Source: Loshchilov & Hutter (arXiv 1711.05101); docs/math.md (adamw).
 */
import type { Tensor } from '../../graph/index.js';
import { add, div, mul, sqrt, sub } from '../../graph/index.js';
import type { ParameterSpec } from '../../model/index.js';
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
  const { beta1, beta2, epsilon, weightDecay, clipNorm } = options;
  return {
    clipNorm,
    slots: () => [
      { name: 'm', starts: 'at zero' },
      { name: 'v', starts: 'at zero' },
    ],
    // The bias corrections go into scalars, so that elements take fewer operations.
    scalars: ({ trainStep, learningRate }) => {
      const correction1 = 1 - beta1 ** (trainStep + 1);
      const correction2 = Math.sqrt(1 - beta2 ** (trainStep + 1));
      return {
        stepSize: (learningRate * correction2) / correction1,
        correctedEpsilon: epsilon * correction2,
        decay: learningRate * weightDecay,
      };
    },
    rule: (spec) => ({ name: isDecayed(spec) ? 'decayed' : 'not decayed', isElementwise: true }),
    step(update) {
      const { grad, slot, scalar } = update;
      const m = add(mul(slot('m'), beta1), mul(grad, 1 - beta1));
      const v = add(mul(slot('v'), beta2), mul(mul(grad, grad), 1 - beta2));
      const change = div(mul(m, scalar('stepSize')), add(sqrt(v), scalar('correctedEpsilon')));
      return { param: sub(decayed(update), change), slots: { m, v } };
    },
  };
}

/** The parameter after weight decay. */
export function decayed({
  spec,
  param,
  scalar,
}: Pick<ParameterUpdate, 'spec' | 'param' | 'scalar'>): Tensor {
  return isDecayed(spec) ? sub(param, mul(param, scalar('decay'))) : param;
}

function isDecayed({ shape }: ParameterSpec): boolean {
  return shape.length === 2;
}
