/** Accuracy of a model's hard word against its mean depth, over the thresholds of exit policies. */
import type { EngineOptions } from 'looplm/engine';
import { Engine } from 'looplm/engine';
import type { FrontierPoint } from 'looplm/eval';
import { frontier, readLoops } from 'looplm/eval';
import { questionDocuments } from './language.js';

const CDF_THRESHOLDS = [
  0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1,
];
const CONFIDENCE_THRESHOLDS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1];
/** Of the questions: others than those that replies are measured with. */
const SEED = 12;

export interface Frontiers {
  readonly gate: readonly FrontierPoint[];
  readonly confidence: readonly FrontierPoint[];
}

/** Reads the same questions of every difficulty at every loop. */
export async function frontiersOf(
  model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
  problems: number,
): Promise<Frontiers> {
  const engine = await Engine.create(model);
  try {
    const readings = await readLoops(engine, questionDocuments(problems, SEED));
    return {
      gate: frontier([readings], 'cdf', CDF_THRESHOLDS),
      confidence: frontier([readings], 'confidence', CONFIDENCE_THRESHOLDS),
    };
  } finally {
    await engine.dispose();
  }
}
