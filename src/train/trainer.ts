/**
 * The training loop: stage after stage, and within a stage one visible function that updates, logs,
 * evaluates and saves, in this order.
 *
 * A run is a pure function of its config and its batch sources: batches, schedules and loops depend on
 * the train step alone, and what a spike changes is in the snapshots. So a run that was stopped at any
 * moment continues from its last snapshot and ends in the same weights, bit for bit. Clock and memory
 * reading are handed in; files are a `Folder`.
 */
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import type { Device, ResidentWeights } from '../runtime/index.js';
import type { Folder } from '../util/folder.js';
import type { TrainConfig } from './config.js';
import { handOver, resultOf } from './hand-over.js';
import type { Evaluation, MetricRecord } from './metrics.js';
import { MetricLog } from './metrics.js';
import type { Snapshot } from './snapshot.js';
import { readSnapshot, writeSnapshot } from './snapshot.js';
import type { Rollback } from './spikes.js';
import { spikeThreshold, withLoss } from './spikes.js';
import type { RunSource } from './stage-batches.js';
import { openBatches } from './stage-batches.js';
import type { Stage } from './stages.js';
import {
  learningRateAt,
  loopsAt,
  objectiveOptionsOf,
  optimizerStepAt,
  stagesOf,
} from './stages.js';
import type { Exchange, UpdateMetrics } from './state.js';
import { TrainState } from './state.js';

export interface TrainOptions {
  readonly config: TrainConfig;
  readonly device: Device;
  /** The batches of all stages, or those of each. */
  readonly source: RunSource;
  /** Starting weights; ignored when `folder` holds a snapshot. */
  readonly weights: ModelWeights;
  /** Where snapshots and metrics go. */
  readonly folder: Folder;
  /**
   * Called every `evaluateEvery` train steps and at the end of each stage with the weights where they are
   * and the model as the stage trains it; its numbers join the metrics. The next update waits for it.
   */
  readonly evaluate?: (
    weights: ResidentWeights,
    trainStep: number,
    model: LoopLMConfig,
  ) => Promise<Evaluation>;
  readonly onProgress?: (record: MetricRecord, totalTrainSteps: number) => void;
  /** Called when a spike has been found and the run goes back. */
  readonly onRollback?: (rollback: Rollback) => void;
  /** See `TrainState`. */
  readonly exchange?: Exchange;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  readonly memoryBytes: () => number;
  /** Stops after the current update, with a snapshot. */
  readonly signal?: AbortSignal;
}

export interface TrainResult {
  readonly weights: ModelWeights;
  /** The model as the last stage that ran trains it. */
  readonly model: LoopLMConfig;
  /** Updates done so far; less than those of all stages when the run was stopped. */
  readonly trainStepsDone: number;
  readonly finished: boolean;
}

/** A run under way. */
interface Run extends TrainOptions {
  readonly stages: readonly Stage[];
  readonly totalTrainSteps: number;
  readonly log: MetricLog;
}

/**
 * Trains until the last train step or until stopped, resuming from the folder's snapshot if it
 * has one.
 *
 * @throws ConfigError if the snapshot was made with another config, settings contradict, or the loss
 * or a gradient stops being finite and the run may not go back; the last snapshot then stays as it was
 * @throws CheckpointError if the snapshot is damaged, or the weights do not fit the model
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { config, folder, signal } = options;
  checkCounts(config);
  const stages = stagesOf(config);
  const totalTrainSteps = endOf(stages.at(-1)!);
  const snapshot = await readSnapshot(folder, config);
  const log = await MetricLog.open(folder, snapshot);
  const run: Run = { ...options, stages, totalTrainSteps, log };
  let at = snapshot ?? startOf(run);
  let stage = stageAfter(run, at);
  while (at.trainSteps < totalTrainSteps) {
    stage = stageAfter(run, at);
    at = await trainStage(run, stage, at);
    if (signal?.aborted) break;
  }
  return {
    weights: resultOf(at),
    model: stage.model,
    trainStepsDone: at.trainSteps,
    finished: at.trainSteps === totalTrainSteps,
  };
}

/** What a run begins with. */
function startOf({ stages, weights }: Run): Snapshot {
  const start = { trainSteps: 0, weights, slots: new Map(), rollbacks: [], recentLosses: [] };
  return handOver(stages[0]!, start);
}

const endOf = ({ firstTrainStep, trainSteps }: Stage) => firstTrainStep + trainSteps;

/** The stage that goes on after so many train steps; the last one after its end. */
function stageAfter({ stages }: Run, { trainSteps }: Snapshot): Stage {
  return stages.find((stage) => trainSteps < endOf(stage)) ?? stages.at(-1)!;
}

/** Trains a stage to its end, or until it is stopped or goes back; returns what it came to. */
async function trainStage(run: Run, stage: Stage, from: Snapshot): Promise<Snapshot> {
  const { config, device, folder, log, signal, now, exchange } = run;
  const isBegun = from.trainSteps > stage.firstTrainStep || stage.index === 0;
  const start = isBegun ? from : handOver(stage, from);
  const source = await openBatches(run.source, stage, start.rollbacks);
  const state = await TrainState.create({
    device,
    config: stage.model,
    rows: source.rows,
    length: source.length,
    ...objectiveOptionsOf(stage),
    optimizer: stage.optimizer,
    loopCounts: stage.loopCounts,
    weights: start.weights,
    slots: start.slots,
    trainStepsDone: start.trainSteps,
    diagnoses: true,
    ...(exchange && { exchange }),
  });
  let { recentLosses } = start;
  const { rollbacks } = start;
  const contents = async (trainSteps: number): Promise<Snapshot> => {
    const [weights, slots] = [await state.weights(), await state.slots()];
    return { trainSteps, weights, slots, rollbacks, recentLosses };
  };
  const save = async (snapshot: Snapshot) => {
    await log.flush();
    await writeSnapshot(folder, config, snapshot);
    return snapshot;
  };

  try {
    const end = endOf(stage);
    let trainStep = start.trainSteps;
    let batches = await source.batchesAt(trainStep);
    let since = { time: now(), tokens: 0 };
    while (!signal?.aborted) {
      const inStage = trainStep - stage.firstTrainStep;
      const learningRate = learningRateAt(stage, inStage);
      const updating = state.update(
        batches,
        optimizerStepAt(run.stages, stage, inStage),
        learningRate,
        loopsAt(stage, inStage, config.seed),
      );
      const numTokens = batches.length * source.rows * source.length;
      const drawing = trainStep + 1 < end ? source.batchesAt(trainStep + 1) : [];
      const [metrics, drawn] = await Promise.all([updating, drawing]);
      batches = drawn;
      trainStep++;
      since.tokens += numTokens;

      const fault = faultOf(metrics);
      const threshold = thresholdOf(config, recentLosses);
      if (fault !== undefined || metrics.loss > (threshold ?? Infinity)) {
        const loss = fault === undefined ? metrics.loss : null;
        const back = await goBack(run, rollbacks, {
          trainStep,
          loss,
          threshold: threshold ?? null,
        });
        if (back) return back;
        if (fault !== undefined) throw diverged(fault, trainStep);
      }
      if (typeof config.spikes === 'object') {
        recentLosses = withLoss(config.spikes, recentLosses, metrics.loss);
      }

      const isLast = trainStep === end;
      if (isLast || trainStep % config.logEvery === 0) {
        const seconds = Math.max(1e-9, (now() - since.time) / 1000);
        const record = log.add({
          trainStep,
          ...(config.stages && { stage: stage.name }),
          ...metrics,
          learningRate,
          tokensPerSecond: since.tokens / seconds,
          memoryBytes: run.memoryBytes(),
        });
        run.onProgress?.(record, run.totalTrainSteps);
        await log.flush();
        since = { time: now(), tokens: 0 };
      }
      if (run.evaluate && (isLast || trainStep % config.evaluateEvery === 0)) {
        const evaluation = await run.evaluate(state.residentAverages, trainStep, stage.model);
        log.addEvaluation(trainStep, evaluation);
      }
      if (isLast || trainStep % config.snapshotEvery === 0) {
        const snapshot = await contents(trainStep);
        const wrong = faultOfWeights(snapshot.weights);
        if (wrong !== undefined) {
          const spike = { trainStep, loss: null, threshold: threshold ?? null };
          const back = await goBack(run, rollbacks, spike);
          if (back) return back;
          throw diverged(wrong, trainStep);
        }
        await save(snapshot);
        if (isLast) return snapshot;
      }
    }
    // A stage that has not begun is in no snapshot: it begins again from that of the stage before.
    if (trainStep === stage.firstTrainStep && stage.index > 0) return from;
    const snapshot = await contents(trainStep);
    const wrong = faultOfWeights(snapshot.weights);
    if (wrong !== undefined) throw diverged(wrong, trainStep);
    return await save(snapshot);
  } finally {
    await state.dispose();
  }
}

const thresholdOf = ({ spikes }: TrainConfig, losses: readonly number[]) =>
  typeof spikes === 'object' ? spikeThreshold(spikes, losses) : undefined;

/** The last good snapshot, or the start, to go on from after a spike; undefined if it may not be. */
async function goBack(
  run: Run,
  before: readonly Rollback[],
  spike: Omit<Rollback, 'backTo'>,
): Promise<Snapshot | undefined> {
  const { config, folder, log } = run;
  const { spikes } = config;
  if (typeof spikes !== 'object' || before.length >= spikes.maxRollbacks) return undefined;
  const good = (await readSnapshot(folder, config)) ?? startOf(run);
  const rollback: Rollback = { ...spike, backTo: good.trainSteps };
  log.goBack(rollback);
  run.onRollback?.(rollback);
  return { ...good, rollbacks: [...before, rollback] };
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
    if (typeof value === 'object' || (Number.isSafeInteger(value) && value >= 1)) continue;
    throw new ConfigError(field, `${field} is ${value}; it must be a whole number from 1 up.`);
  }
}

function faultOf({ loss, gradNorm }: UpdateMetrics): string | undefined {
  if (!Number.isFinite(loss)) return `the loss is ${loss}`;
  if (!Number.isFinite(gradNorm)) return `the gradient norm is ${gradNorm}`;
  return undefined;
}

/** What is wrong with the weights after an update, before they replace the last good snapshot. */
function faultOfWeights(weights: ModelWeights): string | undefined {
  for (const [name, values] of weights) {
    const bad = values.find((value) => !Number.isFinite(value));
    if (bad !== undefined) return `${name} holds ${bad}`;
  }
  return undefined;
}

function diverged(what: string, trainStep: number): ConfigError {
  return new ConfigError(
    'learningRate',
    `Train step ${trainStep}: ${what}; it must be finite. The last snapshot is kept: lower learningRate, clip gradients or check the data, and start again.`,
  );
}
