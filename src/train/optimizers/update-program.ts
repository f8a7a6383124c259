/** The programs of an update: adding gradients up, their norm, and applying them to the trained parameters. */
import type { Shape, Tensor } from '../../graph/index.js';
import {
  add,
  div,
  input,
  less,
  mul,
  reduceSum,
  scalar,
  sqrt,
  sumSquares,
  where,
} from '../../graph/index.js';
import type { ParameterSpec } from '../../model/index.js';
import type { Optimizer } from './optimizer.js';

/** Keeps the clip factor finite at a zero norm. */
const CLIP_EPSILON = 1e-6;

/**
 * Outputs of the program that looks at all gradients: `gradNorm`, their norm, and `clipFactor`, with which
 * they are multiplied before they are applied. Inputs are `grad:NAME`.
 */
export function clipOutputs(
  specs: readonly ParameterSpec[],
  { clipNorm }: Pick<Optimizer, 'clipNorm'>,
): Readonly<Record<'gradNorm' | 'clipFactor', Tensor>> {
  // Row by row first: a single float32 sum of millions is off by a thousandth.
  const gradNorm = sqrt(
    specs
      .map(({ hfName, shape }) => input(`grad:${hfName}`, 'f32', shape))
      .map((grad) => reduceSum(sumSquares(grad)))
      .reduce((a, b) => add(a, b)),
  );
  const shrink = clipNorm === 'off' ? scalar(1) : div(clipNorm, add(gradNorm, CLIP_EPSILON));
  return { gradNorm, clipFactor: where(less(shrink, scalar(1)), shrink, 1) };
}

/** Applies the gradients of some parameters. */
export interface ApplyProgram {
  readonly specs: readonly ParameterSpec[];
  /** Whether it takes all of them in line, as vectors `[N]`; else one after the other. */
  readonly isElementwise: boolean;
  /**
   * `next:param` and for each slot `next:SLOT`. Inputs are `param`, `grad`, `SLOT`, the optimizer's scalars and
   * `clipFactor`.
   */
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/** A program for each elementwise rule, and one for each shape of the other rules. */
export function applyPrograms(
  specs: readonly ParameterSpec[],
  optimizer: Optimizer,
): readonly ApplyProgram[] {
  const groups = new Map<string, ParameterSpec[]>();
  for (const spec of specs) {
    const { name, isElementwise } = optimizer.rule(spec);
    const key = JSON.stringify(isElementwise ? [name] : [name, spec.shape]);
    groups.set(key, [...(groups.get(key) ?? []), spec]);
  }
  return [...groups.values()].map((group) => {
    const [spec] = group as [ParameterSpec];
    const { isElementwise } = optimizer.rule(spec);
    const outputs = stepOutputs(optimizer, spec, isElementwise ? ['N'] : spec.shape);
    return { specs: group, isElementwise, outputs };
  });
}

function stepOutputs(optimizer: Optimizer, spec: ParameterSpec, shape: Shape) {
  const tensor = (name: string) => input(name, 'f32', shape);
  const names = Object.keys(optimizer.scalars({ trainStep: 0, learningRate: 0 }));
  const scalars = new Map(names.map((name) => [name, input(name, 'f32', [])]));
  const slotNames = optimizer.slots(spec).map(({ name }) => name);
  const before = new Map(slotNames.map((name) => [name, tensor(name)]));
  const { param, slots } = optimizer.step({
    spec,
    param: tensor('param'),
    grad: mul(tensor('grad'), input('clipFactor', 'f32', [])),
    slot: (name) => before.get(name)!,
    scalar: (name) => scalars.get(name)!,
  });
  const after = slotNames.map((name) => [`next:${name}`, slots[name]!]);
  return { 'next:param': param, ...(Object.fromEntries(after) as Record<string, Tensor>) };
}

/** Output of the program that adds the gradients of a further micro-batch, element by element. */
export function accumulateOutputs(): Readonly<Record<'next', Tensor>> {
  return { next: add(input('total', 'f32', ['N']), input('grad', 'f32', ['N'])) };
}
