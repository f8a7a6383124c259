/**
 * Stage II of a recipe: the exit gate alone, trained several times from the stage I gate (with the
 * published labels and with the forward ones, on some data or others) to compare them.
 *
 * The model is frozen, so this takes minutes. Which gate is shipped is decided by measurement, not here.
 */
import type { BatchSource } from 'looplm/data';
import type { LoopLMConfig, ModelWeights } from 'looplm/model';
import type { Device } from 'looplm/runtime';
import type { MetricRecord, ObjectiveSettings, TrainConfig } from 'looplm/train';
import { train } from 'looplm/train';

type Folder = Parameters<typeof train>[0]['folder'];

/** A gate that is to be trained. */
export interface GatePlan {
  /** Of the gate among the results, and of what is told. */
  readonly name: string;
  readonly target: Stage2Target;
  /** Problems as the model is to meet them, and what tells them from others. */
  readonly source: BatchSource;
  readonly problems: string;
}
type Stage2Target = Extract<ObjectiveSettings, { kind: 'stage-2' }>['target'];

/** Constants of the paper (arXiv 2510.25741, stage II). */
const STAGE_TWO = { k: 50, gamma: 0.005 } as const;

function gateTrainConfig(
  { model, seed }: TrainGatesOptions,
  { target, source: { rows, length }, problems }: GatePlan,
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
  readonly plans: readonly GatePlan[];
  readonly seed: number;
  /** A folder for the run of each. */
  readonly folderOf: (name: string) => Folder;
  readonly now: () => number;
  readonly memoryBytes: () => number;
  readonly onProgress?: (name: string, record: MetricRecord, totalTrainSteps: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Trains the gates; each run resumes from its folder.
 *
 * @returns the model with each of the gates, by name, or undefined if stopped by the signal
 */
export async function trainGates(
  options: TrainGatesOptions,
): Promise<ReadonlyMap<string, ModelWeights> | undefined> {
  const gates = new Map<string, ModelWeights>();
  for (const plan of options.plans) {
    const config = gateTrainConfig(options, plan);
    const result = await train({
      config,
      device: options.device,
      source: plan.source,
      weights: options.weights,
      folder: options.folderOf(plan.name),
      now: options.now,
      memoryBytes: options.memoryBytes,
      onProgress: (record, total) => options.onProgress?.(plan.name, record, total),
      ...(options.signal && { signal: options.signal }),
    });
    if (!result.finished) return undefined;
    gates.set(plan.name, result.weights);
  }
  return gates;
}
