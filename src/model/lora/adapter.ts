/**
 * An adapter with its values: fresh for training, beside the weights of a model, or added to them.
 * Source: docs/math.md (lora).
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import type { Tensor } from '../../graph/index.js';
import { parameter } from '../../graph/index.js';
import { generatorFor } from '../../util/random.js';
import type { LoopLMConfig } from '../config.js';
import type { ModelWeights, ParameterSpec } from '../params.js';
import { elementCount, parameterSpecs } from '../params.js';
import type { WeightSource } from '../weights.js';
import { once } from '../weights.js';
import type { LoraModule } from './settings.js';

export interface Adapter {
  readonly modules: readonly LoraModule[];
  /**
   * A and B of every module; and weights of the model in whose place others come, such as a trained exit
   * gate. By `hfName`.
   */
  readonly weights: ModelWeights;
}

/** Tells the draws of adapters from those of weights. */
const ADAPTER_DRAWS = 0x6c6f7261;

/**
 * A and B of fresh modules: A uniform within 1 / sqrt(in), B zero, so that the model is as before.
 *
 * @param seed - an integer in [0, 2^32)
 */
export function initializeAdapter(modules: readonly LoraModule[], seed: number): ModelWeights {
  const weights = new Map<string, Float32Array>();
  for (const [index, { a, b }] of modules.entries()) {
    const rng = generatorFor(seed, ADAPTER_DRAWS, index);
    const bound = 1 / Math.sqrt(a.shape[1]!);
    const values = Float32Array.from(
      { length: elementCount(a.shape) },
      () => bound * (2 * uniformFloat64(rng) - 1),
    );
    weights.set(a.hfName, values);
    weights.set(b.hfName, new Float32Array(elementCount(b.shape)));
  }
  return weights;
}

/**
 * The weights of a model with its adapter beside them: each product costs r * (in + out) multiplications
 * more, and the model keeps its format.
 *
 * @param leaf - the tensor of A, B or a replaced weight
 * @param isReplaced - whether a weight of the model is had from `leaf`, too
 */
export function adaptedWeights(
  base: WeightSource,
  modules: readonly LoraModule[],
  leaf: (spec: ParameterSpec) => Tensor,
  isReplaced: (spec: ParameterSpec) => boolean,
): WeightSource {
  const byTarget = new Map(modules.map((module) => [module.target.hfName, module]));
  return {
    ...base,
    leaf: once((spec) => {
      if (isReplaced(spec)) return leaf(spec);
      const module = byTarget.get(spec.hfName);
      if (!module) return base.leaf(spec);
      const { a, b, scale } = module;
      return { adapted: base.leaf(spec), a: leaf(a), b: leaf(b), scale };
    }),
  };
}

/** The same with values in memory, compiled into the programs. */
export function besideWeights(base: WeightSource, { modules, weights }: Adapter): WeightSource {
  const leaf = once(({ hfName, shape }) => parameter(hfName, 'f32', shape, weights.get(hfName)!));
  return adaptedWeights(base, modules, leaf, ({ hfName }) => weights.has(hfName));
}

/** Weights `W + scale * B A`, in arrays of their own where the adapter changes them. */
export function mergeAdapter(
  config: LoopLMConfig,
  base: ModelWeights,
  { modules, weights }: Adapter,
): ModelWeights {
  const merged = new Map<string, Float32Array>();
  for (const { hfName } of parameterSpecs(config)) {
    merged.set(hfName, weights.get(hfName) ?? base.get(hfName)!);
  }
  for (const module of modules) {
    const { hfName } = module.target;
    merged.set(hfName, mergedMatrix(merged.get(hfName)!, module, weights));
  }
  return merged;
}

function mergedMatrix(
  base: Float32Array,
  { a, b, scale }: LoraModule,
  weights: ModelWeights,
): Float32Array {
  const [rank, inputs] = a.shape as readonly [number, number];
  const [A, B] = [weights.get(a.hfName)!, weights.get(b.hfName)!];
  const merged = new Float32Array(base.length);
  const row = new Float64Array(inputs);
  for (let start = 0, k = 0; start < base.length; start += inputs) {
    for (let i = 0; i < inputs; i++) row[i] = base[start + i]!;
    for (let from = 0; from < rank * inputs; from += inputs, k++) {
      const factor = scale * B[k]!;
      if (factor === 0) continue;
      for (let i = 0; i < inputs; i++) row[i]! += factor * A[from + i]!;
    }
    merged.set(row, start);
  }
  return merged;
}
