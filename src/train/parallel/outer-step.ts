/**
 * The outer optimizer: one step of Nesterov's momentum along the mean of what the machines have learnt.
 *
 * Every machine does it for itself, from the same deltas in the same order. Sums are in float64, and
 * nothing but + - * / is used, whose results are the same on every machine. docs/math.md (local-steps).
 * Source: DiLoCo (arXiv 2311.08105), algorithm 1; Nesterov's momentum as PyTorch's SGD has it.
 */
import type { ModelWeights, ParameterSpec } from '../../model/index.js';
import type { OuterSettings } from '../config.js';
import type { Delta } from './deltas.js';

export interface OuterWeights {
  readonly weights: ModelWeights;
  /** By name of the weight; zero where there is none. */
  readonly momentum: ReadonlyMap<string, Float32Array>;
}

/** @param deltas - at least one */
export function outerStep(
  { weights, momentum }: OuterWeights,
  specs: readonly ParameterSpec[],
  deltas: readonly Delta[],
  settings: Pick<OuterSettings, 'learningRate' | 'momentum'>,
): OuterWeights {
  const { learningRate, momentum: decay } = settings;
  const nextWeights = new Map(weights);
  const nextMomentum = new Map<string, Float32Array>();
  for (const { hfName } of specs) {
    const start = weights.get(hfName)!;
    const sum = new Float64Array(start.length);
    for (const delta of deltas) delta.addTo(sum, hfName, start);
    const velocity = momentum.get(hfName)?.slice() ?? new Float32Array(start.length);
    const end = new Float32Array(start.length);
    for (let i = 0; i < start.length; i++) {
      const gradient = -sum[i]! / deltas.length;
      velocity[i] = decay * velocity[i]! + gradient;
      end[i] = start[i]! - learningRate * (gradient + decay * velocity[i]!);
    }
    nextWeights.set(hfName, end);
    nextMomentum.set(hfName, velocity);
  }
  return { weights: nextWeights, momentum: nextMomentum };
}
