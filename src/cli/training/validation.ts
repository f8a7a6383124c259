/**
 * The loss by depth on documents that are never trained on.
 */
import type { TrainingDocument } from '../../data/index.js';
import type { EngineOptions } from '../../engine/index.js';
import { Engine } from '../../engine/index.js';
import type { Evaluation, RunRecord } from '../../train/index.js';

/** How well a run does on what it never saw. */
export interface ValidationLoss {
  readonly trainStep: number;
  /** Mean cross-entropy at depth 1 to R, in nats. */
  readonly lossByDepth: readonly number[];
}

const NAME = 'validationLossByDepth';

/**
 * Measures the current weights, for `metrics.jsonl`.
 *
 * @param onLosses - called with the losses as a person reads them
 */
export async function validate(
  model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
  documents: readonly TrainingDocument[],
  onLosses: (text: string) => void,
): Promise<Evaluation> {
  const { depthFigures } = await import('../../eval/index.js');
  const engine = await Engine.create(model);
  try {
    const { exitThreshold } = model.config;
    const [figures] = await depthFigures(engine, [documents], { exitThreshold });
    const { lossByDepth } = figures!;
    onLosses(lossByDepth.map((loss) => loss.toFixed(3)).join(' '));
    return { [NAME]: lossByDepth };
  } finally {
    await engine.dispose();
  }
}

/** The last that is in the metrics of a run. */
export function lastValidation(records: readonly RunRecord[]): ValidationLoss | undefined {
  const evaluations = records.filter((record) => 'evaluation' in record);
  const last = evaluations.findLast(({ evaluation }) => Array.isArray(evaluation[NAME]));
  return last && { trainStep: last.trainStep, lossByDepth: last.evaluation[NAME] as number[] };
}
