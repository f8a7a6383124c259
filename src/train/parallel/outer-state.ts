/**
 * What a run has come to after a round, as all its machines know it, and its snapshots in the store.
 *
 * Snapshots hold it as the round left it. What a stage changes before it begins (more layers, fresh
 * momentum) follows when it does, so a snapshot between two stages is of neither.
 */
import { CheckpointError } from '../../errors.js';
import type { LoopLMConfig, ModelWeights, ParameterSpec } from '../../model/index.js';
import { checkWeights, parameterSpecs } from '../../model/index.js';
import { memorySource } from '../../util/folder.js';
import type { SafetensorsTensor } from '../../util/safetensors.js';
import { encodeSafetensors, openSafetensors } from '../../util/safetensors.js';
import type { TrainConfig } from '../config.js';
import { handOver } from '../hand-over.js';
import { stageAt } from '../snapshot.js';
import type { Stage } from '../stages.js';
import { trainedSpecs } from '../stages.js';
import type { Delta } from './deltas.js';
import type { OuterWeights } from './outer-step.js';
import { outerStep } from './outer-step.js';
import type { RoundSpan } from './rounds.js';

export interface OuterState extends OuterWeights {
  /** The round that begins with it. */
  readonly round: number;
  /** Train steps of each machine before it. */
  readonly trainSteps: number;
}

export const startOfRun = (weights: ModelWeights): OuterState => {
  return { round: 0, trainSteps: 0, weights, momentum: new Map() };
};

/** The state as a stage begins with it, if this is its beginning; else as it is. */
export function enterStage(stage: Stage, state: OuterState): OuterState {
  if (state.trainSteps > stage.firstTrainStep) return state;
  const { weights, trainSteps } = state;
  const before = { trainSteps, weights, slots: new Map(), rollbacks: [], recentLosses: [] };
  const momentum = stage.keepsOptimizerState ? state.momentum : new Map<string, Float32Array>();
  return { ...state, momentum, weights: handOver(stage, before).weights };
}

/** The state after a round in which these deltas count; the same but for its number if there are none. */
export function afterRound(
  state: OuterState,
  { stage, count }: RoundSpan,
  deltas: readonly Delta[],
  settings: Parameters<typeof outerStep>[3],
): OuterState {
  if (deltas.length === 0) return { ...state, round: state.round + 1 };
  const specs = trainedSpecs(stage);
  const stepped = outerStep(enterStage(stage, state), specs, deltas, settings);
  return { ...stepped, round: state.round + 1, trainSteps: state.trainSteps + count };
}

const PARAM = 'param:';
const MOMENTUM = 'momentum:';

export function encodeState(config: TrainConfig, state: OuterState): Uint8Array {
  const { weights, momentum, round, trainSteps } = state;
  const specs = parameterSpecs(modelAfter(config, trainSteps));
  const tensorsOf = (kind: string, values: ReadonlyMap<string, Float32Array>) =>
    specs.flatMap(({ hfName, shape }): SafetensorsTensor[] => {
      const data = values.get(hfName);
      return data ? [{ name: `${kind}${hfName}`, shape, dtype: 'F32', data }] : [];
    });
  const tensors = [...tensorsOf(PARAM, weights), ...tensorsOf(MOMENTUM, momentum)];
  return encodeSafetensors(tensors, { round: String(round), trainSteps: String(trainSteps) });
}

/** @throws CheckpointError if the bytes are not such a state */
export async function decodeState(config: TrainConfig, bytes: Uint8Array): Promise<OuterState> {
  const reader = await openSafetensors(memorySource('The snapshot of the run', bytes));
  const number = (name: string) => Number(reader.metadata.get(name) ?? NaN);
  const [round, trainSteps] = [number('round'), number('trainSteps')];
  if (!Number.isSafeInteger(round) || !Number.isSafeInteger(trainSteps)) {
    throw new CheckpointError('The snapshot of the run does not say of which round it is.');
  }
  const model = modelAfter(config, trainSteps);
  const weights = await read(reader, PARAM, parameterSpecs(model));
  checkWeights(model, weights);
  const momentum = await read(reader, MOMENTUM, trainedSpecs(stageAt(config, trainSteps)));
  return { round, trainSteps, weights, momentum };
}

/** The model whose weights there are after so many train steps, before a stage changes it. */
function modelAfter(config: TrainConfig, trainSteps: number): LoopLMConfig {
  return trainSteps === 0 ? config.model : stageAt(config, trainSteps).model;
}

/** The tensors of a kind. */
async function read(
  { entries, readFloat32 }: Awaited<ReturnType<typeof openSafetensors>>,
  kind: string,
  specs: readonly ParameterSpec[],
): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const { hfName } of specs) {
    const name = `${kind}${hfName}`;
    if (entries.has(name)) values.set(hfName, await readFloat32(name));
  }
  return values;
}
