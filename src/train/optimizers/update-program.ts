/** The programs of an update: adding gradients up, their norm, and applying them to the trained parameters. */
import type { Tensor } from '../../graph/index.js';
import { add, div, input, less, mul, reduceSum, scalar, sqrt, where } from '../../graph/index.js';
import type { ParameterSpec } from '../../model/index.js';
import { elementCount } from '../../model/index.js';
import type { Optimizer } from './optimizer.js';

/** Keeps the clip factor finite at a zero norm. */
const CLIP_EPSILON = 1e-6;

/** Parameters of a part, at most (unless one alone has more). */
const PART_PARAMETERS = 4e6;

/**
 * Parameters that are applied one part after the other, in their order: what an update makes is as large as all
 * that it changes, and is there until it has taken the place of that.
 */
export function applyParts(specs: readonly ParameterSpec[]): readonly (readonly ParameterSpec[])[] {
  const sizes = specs.map(({ shape }) => elementCount(shape));
  const most = Math.max(PART_PARAMETERS, ...sizes);
  const parts: ParameterSpec[][] = [];
  let room = 0;
  specs.forEach((spec, index) => {
    if (parts.length === 0 || sizes[index]! > room) {
      parts.push([]);
      room = most;
    }
    parts.at(-1)!.push(spec);
    room -= sizes[index]!;
  });
  return parts;
}

/**
 * Outputs of the program that looks at all gradients: `gradNorm`, their norm, and `clipFactor`, with which
 * they are multiplied before they are applied. Inputs are `grad:NAME`.
 */
export function clipOutputs(
  specs: readonly ParameterSpec[],
  { clipNorm }: Pick<Optimizer, 'clipNorm'>,
): Readonly<Record<'gradNorm' | 'clipFactor', Tensor>> {
  const gradNorm = sqrt(
    specs
      .map(({ hfName, shape }) => input(`grad:${hfName}`, 'f32', shape))
      .map((grad) => reduceSum(mul(grad, grad)))
      .reduce((a, b) => add(a, b)),
  );
  const shrink = clipNorm === 'off' ? scalar(1) : div(clipNorm, add(gradNorm, CLIP_EPSILON));
  return { gradNorm, clipFactor: where(less(shrink, scalar(1)), shrink, 1) };
}

/**
 * Outputs of the program that applies gradients: for each parameter `next:param:NAME` and for each of
 * its slots `next:SLOT:NAME`. Inputs are `param:NAME`, `SLOT:NAME`, `grad:NAME`, the optimizer's scalars and
 * `clipFactor`.
 */
export function applyOutputs(
  specs: readonly ParameterSpec[],
  optimizer: Optimizer,
): Readonly<Record<string, Tensor>> {
  const scalarNames = Object.keys(optimizer.scalars({ trainStep: 0, learningRate: 0 }));
  const scalars = new Map(scalarNames.map((name) => [name, input(name, 'f32', [])]));
  const factor = input('clipFactor', 'f32', []);

  const outputs: Record<string, Tensor> = {};
  for (const spec of specs) {
    const { hfName, shape } = spec;
    const { param, slots } = optimizer.step({
      spec,
      param: input(`param:${hfName}`, 'f32', shape),
      grad: mul(input(`grad:${hfName}`, 'f32', shape), factor),
      slot: (name) => input(`${name}:${hfName}`, 'f32', shape),
      scalar: (name) => scalars.get(name)!,
    });
    outputs[`next:param:${hfName}`] = param;
    for (const { name } of optimizer.slots(spec)) outputs[`next:${name}:${hfName}`] = slots[name]!;
  }
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
