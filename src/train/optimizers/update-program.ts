/** The programs of an update over all trained parameters: adding gradients up, and applying them. */
import type { Tensor } from '../../graph/index.js';
import { add, div, input, less, mul, reduceSum, scalar, sqrt, where } from '../../graph/index.js';
import type { ParameterSpec } from '../../model/index.js';
import type { Optimizer } from './optimizer.js';

/** Keeps the clip factor finite at a zero norm. */
const CLIP_EPSILON = 1e-6;

/**
 * Outputs of the program that applies gradients: for each parameter `next:param:NAME` and for each of
 * its slots `next:SLOT:NAME`, and `gradNorm`, the norm before clipping. Inputs are `param:NAME`,
 * `SLOT:NAME`, `grad:NAME` and the optimizer's scalars.
 */
export function applyOutputs(
  specs: readonly ParameterSpec[],
  optimizer: Optimizer,
): Readonly<Record<string, Tensor>> {
  const { clipNorm } = optimizer;
  const scalarNames = Object.keys(optimizer.scalars({ trainStep: 0, learningRate: 0 }));
  const scalars = new Map(scalarNames.map((name) => [name, input(name, 'f32', [])]));
  const grads = specs.map(({ hfName, shape }) => input(`grad:${hfName}`, 'f32', shape));
  const gradNorm = sqrt(
    grads.map((grad) => reduceSum(mul(grad, grad))).reduce((a, b) => add(a, b)),
  );
  const shrink = clipNorm === 'off' ? scalar(1) : div(clipNorm, add(gradNorm, CLIP_EPSILON));
  const factor = where(less(shrink, scalar(1)), shrink, 1);

  const outputs: Record<string, Tensor> = { gradNorm };
  specs.forEach((spec, index) => {
    const { hfName, shape } = spec;
    const { param, slots } = optimizer.step({
      spec,
      param: input(`param:${hfName}`, 'f32', shape),
      grad: mul(grads[index]!, factor),
      slot: (name) => input(`${name}:${hfName}`, 'f32', shape),
      scalar: (name) => scalars.get(name)!,
    });
    outputs[`next:param:${hfName}`] = param;
    for (const { name } of optimizer.slots(spec)) outputs[`next:${name}:${hfName}`] = slots[name]!;
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
