/**
 * The training loop: one visible function that updates, logs, evaluates and saves, in this order.
 *
 * A run is a pure function of its config and its batch source: batches and schedules depend on the
 * train step alone, so a run that was stopped at any moment continues from its last snapshot and
 * ends in the same weights, bit for bit. Clock and memory reading are handed in; files are a
 * `Folder`.
 */
import type { BatchSource } from '../data/index.js';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import type { Device, ResidentWeights } from '../runtime/index.js';
import type { Folder } from '../util/folder.js';
import type { AdamWOptions } from './adamw.js';
import type { Evaluation, MetricRecord } from './metrics.js';
import { MetricLog } from './metrics.js';
import type { Objective, ObjectiveOptions } from './objective.js';
import type { Schedule } from './schedule.js';
import { checkSchedule, scheduleFraction } from './schedule.js';
import { readSnapshot, writeSnapshot } from './snapshot.js';
import type { UpdateMetrics } from './state.js';
import { TrainState } from './state.js';

/** Everything that decides the result of a run; written beside every snapshot. */
export interface TrainConfig {
  readonly model: LoopLMConfig;
  /** Name of the model that the weights are from, if they are not fresh. */
  readonly from?: string;
  readonly objective: Objective;
  readonly optimizer: AdamWOptions;
  /** Peak learning rate. */
  readonly learningRate: number;
  readonly schedule: Schedule;
  readonly trainSteps: number;
  /** Micro-batches whose gradients are added up for one update. */
  readonly accumulate: number;
  readonly recompute: NonNullable<ObjectiveOptions['recompute']>;
  /** Train steps between metric records, snapshots and evaluations. */
  readonly logEvery: number;
  readonly snapshotEvery: number;
  readonly evaluateEvery: number;
  /** Of fresh weights and of the order of the data. */
  readonly seed: number;
  /** What tells the data from other data, such as a checksum; a run only resumes on the same. */
  readonly data: Readonly<Record<string, string | number>>;
}

export interface TrainOptions {
  readonly config: TrainConfig;
  readonly device: Device;
  readonly source: BatchSource;
  /** Starting weights; ignored when `folder` holds a snapshot. */
  readonly weights: ModelWeights;
  /** Where snapshots and metrics go. */
  readonly folder: Folder;
  /**
   * Called every `evaluateEvery` train steps and at the end with the weights where they are; its numbers
   * join the metrics. The next update waits for it.
   */
  readonly evaluate?: (weights: ResidentWeights, trainStep: number) => Promise<Evaluation>;
  readonly onProgress?: (record: MetricRecord, totalTrainSteps: number) => void;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  readonly memoryBytes: () => number;
  /** Stops after the current update, with a snapshot. */
  readonly signal?: AbortSignal;
}

export interface TrainResult {
  readonly weights: ModelWeights;
  /** Updates done so far; less than `trainSteps` when the run was stopped. */
  readonly trainStepsDone: number;
  readonly finished: boolean;
}

/**
 * Trains until the last train step or until stopped, resuming from the folder's snapshot if it
 * has one.
 *
 * @throws ConfigError if the snapshot was made with another config, settings contradict, or the loss
 * or a gradient stops being finite; the last snapshot then stays as it was
 * @throws CheckpointError if the snapshot is damaged, or the weights do not fit the model
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { config, device, source, folder, signal, now } = options;
  checkCounts(config);
  checkSchedule(config.schedule, config.trainSteps);
  const snapshot = await readSnapshot(folder, config);
  const log = await MetricLog.open(folder, snapshot?.trainSteps ?? 0);
  const state = await TrainState.create({
    device,
    config: config.model,
    rows: source.rows,
    length: source.length,
    objective: config.objective,
    optimizer: config.optimizer,
    recompute: config.recompute,
    weights: snapshot?.weights ?? options.weights,
    ...(snapshot && { moments: snapshot.moments, trainStepsDone: snapshot.trainSteps }),
  });
  const batchesAt = (trainStep: number) =>
    Array.from({ length: config.accumulate }, (_, microBatch) =>
      source.batchAt(trainStep, microBatch),
    );
  const save = async (trainSteps: number) => {
    const contents = { trainSteps, weights: await state.weights(), moments: await state.moments() };
    checkUpdated(contents.weights, trainSteps);
    await log.flush();
    await writeSnapshot(folder, config, contents);
  };

  try {
    let trainStep = snapshot?.trainSteps ?? 0;
    let batches = batchesAt(trainStep);
    let since = { time: now(), tokens: 0 };
    while (trainStep < config.trainSteps && !signal?.aborted) {
      const learningRate =
        config.learningRate * scheduleFraction(config.schedule, trainStep, config.trainSteps);
      const updating = state.update(batches, trainStep, learningRate);
      if (trainStep + 1 < config.trainSteps) batches = batchesAt(trainStep + 1);
      const metrics = await updating;
      trainStep++;
      checkFinite(metrics, trainStep);
      since.tokens += source.rows * source.length * config.accumulate;

      const isLast = trainStep === config.trainSteps;
      if (isLast || trainStep % config.logEvery === 0) {
        const seconds = Math.max(1e-9, (now() - since.time) / 1000);
        const record = log.add({
          trainStep,
          ...metrics,
          learningRate,
          tokensPerSecond: since.tokens / seconds,
          memoryBytes: options.memoryBytes(),
        });
        options.onProgress?.(record, config.trainSteps);
        await log.flush();
        since = { time: now(), tokens: 0 };
      }
      if (options.evaluate && (isLast || trainStep % config.evaluateEvery === 0)) {
        log.addEvaluation(trainStep, await options.evaluate(state.residentWeights, trainStep));
      }
      if (isLast || trainStep % config.snapshotEvery === 0) await save(trainStep);
    }
    if (signal?.aborted && trainStep < config.trainSteps) await save(trainStep);
    return {
      weights: await state.weights(),
      trainStepsDone: trainStep,
      finished: trainStep === config.trainSteps,
    };
  } finally {
    await state.dispose();
  }
}

const COUNTS = [
  'trainSteps',
  'accumulate',
  'logEvery',
  'snapshotEvery',
  'evaluateEvery',
] as const satisfies readonly (keyof TrainConfig)[];

function checkCounts(config: TrainConfig): void {
  for (const field of COUNTS) {
    const value = config[field];
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new ConfigError(field, `${field} is ${value}; it must be a whole number from 1 up.`);
  }
}

function checkFinite({ loss, gradNorm }: UpdateMetrics, trainStep: number): void {
  if (!Number.isFinite(loss)) throw diverged(`the loss is ${loss}`, trainStep);
  if (!Number.isFinite(gradNorm)) throw diverged(`the gradient norm is ${gradNorm}`, trainStep);
}

/** The weights after an update, before they replace the last good snapshot. */
function checkUpdated(weights: ModelWeights, trainStep: number): void {
  for (const [name, values] of weights) {
    const bad = values.find((value) => !Number.isFinite(value));
    if (bad !== undefined) throw diverged(`${name} holds ${bad}`, trainStep);
  }
}

function diverged(what: string, trainStep: number): ConfigError {
  return new ConfigError(
    'learningRate',
    `Train step ${trainStep}: ${what}; it must be finite. The last snapshot is kept: lower learningRate, clip gradients or check the data, and start again.`,
  );
}
