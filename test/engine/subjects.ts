/**
 * Random models with engines, and what properties of inference draw from them.
 */
import fc from 'fast-check';
import { Engine } from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import type { ModelDraw, RandomModel } from './random-model.js';
import { makeModel } from './random-model.js';

export interface Subject extends RandomModel {
  readonly engine: Engine;
  /** What a failing property prints instead of all weights. */
  readonly [fc.toStringMethod]: () => string;
}

/**
 * Ten times the golden tolerance: some random models amplify rounding, so that moving every weight
 * by half a unit in its last place moves log-probabilities by 1e-3. Mistakes move them by 0.1 to 10.
 */
export const DRIFT = 2e-3;

/** Opens models on a device. The caller disposes them. */
export function openSubjects(
  device: Device,
  draws: readonly ModelDraw[],
): Promise<readonly Subject[]> {
  return Promise.all(
    draws.map(async (draw) => {
      const model = await makeModel(draw);
      const { config, weights } = model;
      const engine = await Engine.create({ device, config, weights });
      return { ...model, engine, [fc.toStringMethod]: () => fc.stringify(draw) };
    }),
  );
}
