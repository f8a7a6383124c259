/**
 * Stage II of a recipe: the exit gate alone, trained twice from the stage I gate, once with the
 * published labels and once with the forward ones, to compare the three.
 *
 * The model is frozen, so this takes minutes. Which gate is shipped is decided by measurement, not here.
 */
import type { BatchSource } from 'looplm/data';
import type { LoopLMConfig, ModelWeights } from 'looplm/model';
import type { Device, HostTensor } from 'looplm/runtime';
import { encodeSafetensors } from 'looplm/runtime';
import type { MetricRecord, ObjectiveSettings, TrainConfig } from 'looplm/train';
import { train } from 'looplm/train';

type Folder = Parameters<typeof train>[0]['folder'];

/** Labels of stage II that are compared. */
export const GATE_TARGETS = ['published', 'forward'] as const;
export type GateTarget = (typeof GATE_TARGETS)[number];

export const GATES_FILE = 'gates.safetensors';
const GATE_WEIGHT = 'model.early_exit_gate.weight';
const GATE_BIAS = 'model.early_exit_gate.bias';

/** Constants of the paper (arXiv 2510.25741, stage II). */
const STAGE_TWO = { k: 50, gamma: 0.005 } as const;

function gateTrainConfig(
  { model, source: { rows, length }, problems, seed }: TrainGatesOptions,
  target: GateTarget,
): TrainConfig {
  const objective: ObjectiveSettings = { kind: 'stage-2', target, ...STAGE_TWO };
  return {
    model,
    objective,
    optimizer: { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weightDecay: 0, clipNorm: 'off' },
    learningRate: 1e-2,
    schedule: { kind: 'cosine', warmupTrainSteps: 10, finalFraction: 0.05 },
    trainSteps: 400,
    accumulate: 1,
    recompute: 'none',
    logEvery: 20,
    snapshotEvery: 100,
    evaluateEvery: 400,
    seed,
    data: { problems, rows, length },
  };
}

export interface TrainGatesOptions {
  readonly device: Device;
  readonly model: LoopLMConfig;
  /** The stage I model. */
  readonly weights: ModelWeights;
  /** Problems as the model is to meet them, and what tells them from others. */
  readonly source: BatchSource;
  readonly problems: string;
  readonly seed: number;
  /** A folder for the run of each target. */
  readonly folderOf: (target: GateTarget) => Folder;
  readonly now: () => number;
  readonly memoryBytes: () => number;
  readonly onProgress?: (target: GateTarget, record: MetricRecord, totalTrainSteps: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Trains both gates; each run resumes from its folder.
 *
 * @returns the bytes of a gates file with the stage I gate and both results, or undefined if
 *   stopped by the signal
 */
export async function trainGates(options: TrainGatesOptions): Promise<Uint8Array | undefined> {
  const gates: [string, ModelWeights][] = [['stage1', options.weights]];
  for (const target of GATE_TARGETS) {
    const config = gateTrainConfig(options, target);
    const result = await train({
      config,
      device: options.device,
      source: options.source,
      weights: options.weights,
      folder: options.folderOf(target),
      now: options.now,
      memoryBytes: options.memoryBytes,
      onProgress: (record, total) => options.onProgress?.(target, record, total),
      ...(options.signal && { signal: options.signal }),
    });
    if (!result.finished) return undefined;
    gates.push([`stage2-${target}`, result.weights]);
  }
  return encodeSafetensors(
    gates.flatMap(([name, weights]) => [
      gateTensor(`${name}.weight`, [1, options.model.hiddenSize], weights.get(GATE_WEIGHT)!),
      gateTensor(`${name}.bias`, [1], weights.get(GATE_BIAS)!),
    ]),
  );
}

function gateTensor(name: string, shape: HostTensor['dims'], data: Float32Array) {
  return { name, shape, dtype: 'F32' as const, data };
}
