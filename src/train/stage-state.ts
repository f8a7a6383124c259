/** The state that a stage trains, from its settings. */
import type { BatchSource } from '../data/index.js';
import type { Device } from '../runtime/index.js';
import type { Snapshot } from './snapshot.js';
import type { Stage } from './stages.js';
import type { TrainStateOptions } from './state.js';
import { TrainState } from './state.js';

/**
 * Places what a stage begins with on a device. The caller disposes the state.
 *
 * @param size - of the micro-batches
 */
export function openState(
  device: Device,
  stage: Stage,
  { weights, slots, trainSteps }: Pick<Snapshot, 'weights' | 'slots' | 'trainSteps'>,
  { rows, length }: Pick<BatchSource, 'rows' | 'length'>,
  options: Partial<
    Pick<TrainStateOptions, 'base' | 'exchange' | 'file' | 'helpers' | 'tellsTokens'>
  > = {},
): Promise<TrainState> {
  return TrainState.create({
    device,
    config: stage.model,
    rows,
    length,
    objective: stage.objective,
    optimizer: stage.optimizer,
    recompute: stage.recompute,
    trained: stage.trained,
    lora: stage.lora,
    backpropLoops: stage.backpropLoops,
    loopCounts: stage.loopCounts,
    weights,
    slots,
    trainStepsDone: trainSteps,
    diagnoses: true,
    ...options,
  });
}
