/**
 * From one stage to the next: what a stage leaves as a result, and what the next one begins with.
 */
import type { ModelWeights } from '../model/index.js';
import { AVERAGE } from './optimizers/index.js';
import type { Snapshot } from './snapshot.js';
import type { Stage } from './stages.js';
import { upcycle } from './upcycle.js';

/** The weights that a run has come to: their averages, where the optimizer keeps any. */
export function resultOf({ weights, slots }: Pick<Snapshot, 'weights' | 'slots'>): ModelWeights {
  return new Map(
    [...weights].map(([name, values]) => [name, slots.get(`${AVERAGE}:${name}`) ?? values]),
  );
}

/** What a stage begins with, from what the run, or the stage before, has come to. */
export function handOver(stage: Stage, before: Snapshot): Snapshot {
  const slots = stage.keepsOptimizerState ? before.slots : new Map<string, Float32Array>();
  // Averages that go on are averages of weights that do so, too.
  const weights = stage.keepsOptimizerState ? before.weights : resultOf(before);
  return { ...before, slots, recentLosses: [], weights: upcycled(stage, weights) };
}

function upcycled({ upcycle: how, model }: Stage, weights: ModelWeights): ModelWeights {
  return how ? upcycle(model, weights, how.order) : weights;
}
