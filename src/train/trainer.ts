/**
 * The training loop: stage after stage, and within a stage one visible function that updates, logs,
 * evaluates and saves, in this order.
 *
 * A run is a pure function of its config and its batch sources: batches, schedules and loops depend on
 * the train step alone, and what a spike changes is in the snapshots. So a run that was stopped at any
 * moment continues from its last snapshot and ends in the same weights, bit for bit. Clock and memory
 * reading are handed in; files are a `Folder`.
 */
import type { TrainingBatch } from '../data/index.js';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, ModelWeights, WeightFile } from '../model/index.js';
import { initializeAdapter, loraModules } from '../model/index.js';
import type { Device } from '../runtime/index.js';
import type { Folder } from '../util/folder.js';
import type { TrainConfig } from './config.js';
import { handOver, resultOf } from './hand-over.js';
import type { Evaluation, MetricRecord } from './metrics.js';
import { MetricLog } from './metrics.js';
import type { PolicySource } from './policy-source.js';
import type { Snapshot } from './snapshot.js';
import { readSnapshot, writeSnapshot } from './snapshot.js';
import type { PassedSpike, Rollback, Spike } from './spikes.js';
import { ownSpecs } from './run-parameters.js';
import { SpikeWatch, diverged, faultOf, mayGoBack } from './spikes.js';
import type { RunSource } from './stage-batches.js';
import { openBatches } from './stage-batches.js';
import type { RunParts, Stage } from './stages.js';
import { learningRateAt, loopsAt, optimizerStepAt, stagesOf } from './stages.js';
import { openState } from './stage-state.js';
import type {
  Exchange,
  TrainedWeights,
  TrainState,
  UpdateMetrics,
  UpdateOutcome,
} from './state.js';
import { isGate } from './trainable.js';

export interface TrainOptions extends RunParts {
  readonly config: TrainConfig;
  readonly device: Device;
  /** See `TrainState`. */
  readonly helpers?: readonly Device[];
  /** The batches of all stages, or those of each; or what draws them by the weights as they are. */
  readonly source: RunSource | PolicySource;
  /**
   * Starting weights; ignored when `folder` holds a snapshot. With `config.lora` those that the adapter is
   * beside, which stay as they are; of a converted model those of its exit gate, and the rest is `file`.
   */
  readonly weights: ModelWeights;
  /** A converted model, for an adapter beside it. */
  readonly file?: WeightFile | undefined;
  /** Where snapshots and metrics go. */
  readonly folder: Folder;
  /**
   * Called every `evaluateEvery` train steps and at the end of each stage with the weights where they are
   * and the model as the stage trains it; its numbers join the metrics. The next update waits for it.
   */
  readonly evaluate?: (
    weights: TrainedWeights,
    trainStep: number,
    model: LoopLMConfig,
  ) => Promise<Evaluation>;
  readonly onProgress?: (record: MetricRecord, totalTrainSteps: number) => void;
  /** Called when a spike has been found and the run goes back. */
  readonly onRollback?: (rollback: Rollback) => void;
  /** Called at a spike that is gone on from, since the run may not go back again. */
  readonly onSpike?: (spike: PassedSpike) => void;
  /**
   * Called with what each stage but the last one has come to, before the next begins; again, with the same, where a
   * run was stopped in between.
   */
  readonly onStageEnd?: (stage: Stage, result: StageResult) => Promise<void>;
  /** See `TrainState`. */
  readonly exchange?: Exchange;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  readonly memoryBytes: () => number;
  /** Stops after the current update, with a snapshot. */
  readonly signal?: AbortSignal;
}

export interface StageResult {
  /** With `config.lora` those of the adapter, and of the exit gate. */
  readonly weights: ModelWeights;
  /** The model as the stage trains it. */
  readonly model: LoopLMConfig;
}

/** What the last stage that ran has come to. */
export interface TrainResult extends StageResult {
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
  if (config.lora && 'batchesFor' in options.source) failPolicy();
  const stages = stagesOf(config, options);
  const totalTrainSteps = endOf(stages.at(-1)!);
  const snapshot = await readSnapshot(folder, config, options);
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
function startOf({ stages, config, weights: given }: Run): Snapshot {
  const weights = config.lora ? freshAdapter(config, given) : given;
  const start = { trainSteps: 0, weights, slots: new Map(), rollbacks: [], recentLosses: [] };
  return handOver(stages[0]!, start);
}

/** An adapter that changes nothing yet, and the exit gate as it is. */
function freshAdapter({ model, lora, seed }: TrainConfig, weights: ModelWeights): ModelWeights {
  const fresh = initializeAdapter(loraModules(model, lora!), seed);
  const gate = ownSpecs(model, lora).filter((spec) => isGate(spec));
  return new Map([...fresh, ...gate.map(({ hfName }) => [hfName, weights.get(hfName)!] as const)]);
}

function failPolicy(): never {
  throw new ConfigError(
    'lora',
    'lora is given, and the batches are drawn by the weights as they are, which an adapter is not part of. Leave lora out, or train on other data.',
  );
}

const endOf = ({ firstTrainStep, trainSteps }: Stage) => firstTrainStep + trainSteps;

/** The stage that goes on after so many train steps; the last one after its end. */
function stageAfter({ stages }: Run, { trainSteps }: Snapshot): Stage {
  return stages.find((stage) => trainSteps < endOf(stage)) ?? stages.at(-1)!;
}

/** Trains a stage to its end, or until it is stopped or goes back; returns what it came to. */
async function trainStage(run: Run, stage: Stage, from: Snapshot): Promise<Snapshot> {
  const { config, log, signal, now } = run;
  const isBegun = from.trainSteps > stage.firstTrainStep || stage.index === 0;
  if (!isBegun) {
    const before = run.stages[stage.index - 1]!;
    await run.onStageEnd?.(before, { weights: resultOf(from), model: before.model });
  }
  const start = isBegun ? from : handOver(stage, from);
  const source = await openBatches(run.source, stage, start.rollbacks);
  const { policy } = source;
  policy?.restore(start.source);
  const { device, helpers, exchange, weights: base, file } = run;
  const state = await openState(device, stage, start, source, {
    ...(exchange && { exchange }),
    ...(helpers && { helpers }),
    ...(config.lora && (file ? { file } : { base })),
    tellsTokens: policy !== undefined,
  });
  const moment = { weights: state.residentWeights, model: stage.model, signal };
  const watch = new SpikeWatch(config.spikes, start.recentLosses);
  /** Saves what the stage has come to, unless it is not finite. */
  const save = async (trainStep: number): Promise<Snapshot> => {
    const [weights, slots] = [await state.weights(), await state.slots()];
    const fault = faultOf(weights);
    if (fault !== undefined) return goBack(run, start, watch.failed(trainStep, fault));
    const { rollbacks } = start;
    const kept = policy && { source: policy.save() };
    const snapshot = { trainSteps: trainStep, weights, slots, rollbacks, ...kept };
    return saved(run, { ...snapshot, recentLosses: watch.losses });
  };

  try {
    const end = endOf(stage);
    let trainStep = start.trainSteps;
    let since = { time: now(), tokens: 0 };
    let ahead: Promise<readonly TrainingBatch[]> | undefined;
    while (!signal?.aborted) {
      const drawing = ahead ?? source.batchesAt(trainStep, moment);
      const batches = await unlessAborted(drawing, signal);
      if (!batches) break;
      const updating = update(run, stage, state, batches, trainStep);
      ahead = !policy && trainStep + 1 < end ? source.batchesAt(trainStep + 1, moment) : undefined;
      since.tokens += batches.length * source.rows * source.length;
      const [{ tokens, ...metrics }] = await Promise.all([updating, ahead]);
      const learningRate = learningRateAt(stage, trainStep - stage.firstTrainStep);
      const told = policy && { source: policy.learnt({ tokens: tokens!, learningRate }) };
      trainStep++;

      const spike = watch.judge(trainStep, metrics);
      if (spike && (spike.fault !== undefined || mayGoBack(config, start))) {
        return await goBack(run, start, spike);
      }
      if (spike) run.onSpike?.({ trainStep, loss: metrics.loss, threshold: spike.threshold! });
      watch.accept(metrics.loss);

      const isLast = trainStep === end;
      if (isLast || trainStep % config.logEvery === 0) {
        const record = log.add(recordOf(run, stage, trainStep, { ...metrics, ...told }, since));
        run.onProgress?.(record, run.totalTrainSteps);
        await log.flush();
        since = { time: now(), tokens: 0 };
      }
      if (run.evaluate && (isLast || trainStep % config.evaluateEvery === 0)) {
        const evaluation = await run.evaluate(state.trainedWeights, trainStep, stage.model);
        log.addEvaluation(trainStep, evaluation);
      }
      if (isLast || trainStep % config.snapshotEvery === 0) {
        const snapshot = await save(trainStep);
        if (isLast || snapshot.trainSteps < trainStep) return snapshot;
      }
    }
    // A stage that has not begun is in no snapshot: it begins again from that of the stage before.
    const isUntouched = trainStep === stage.firstTrainStep && stage.index > 0;
    return isUntouched ? from : await save(trainStep);
  } finally {
    await policy?.release();
    await state.dispose();
  }
}

/** What the work gives; undefined if it failed because of the signal. */
async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (signal?.aborted) return undefined;
    throw error;
  }
}

/** @param since - when the record before was made, and the tokens that were read after it */
export function recordOf(
  { config, now, memoryBytes }: Pick<TrainOptions, 'config' | 'now' | 'memoryBytes'>,
  stage: Stage,
  trainStep: number,
  metrics: UpdateMetrics & Pick<MetricRecord, 'source'>,
  since: { readonly time: number; readonly tokens: number },
): MetricRecord {
  const seconds = Math.max(1e-9, (now() - since.time) / 1000);
  return {
    trainStep,
    ...(config.stages && { stage: stage.name }),
    ...metrics,
    learningRate: learningRateAt(stage, trainStep - 1 - stage.firstTrainStep),
    tokensPerSecond: since.tokens / seconds,
    memoryBytes: memoryBytes(),
  };
}

/** @param trainStep - of the run, from 0 */
function update(
  { config, stages }: Run,
  stage: Stage,
  state: TrainState,
  batches: readonly TrainingBatch[],
  trainStep: number,
): Promise<UpdateOutcome> {
  const inStage = trainStep - stage.firstTrainStep;
  return state.update(
    batches,
    optimizerStepAt(stages, stage, inStage),
    learningRateAt(stage, inStage),
    loopsAt(stage, inStage, config.seed),
  );
}

async function saved(run: Run, snapshot: Snapshot): Promise<Snapshot> {
  await run.log.flush();
  await writeSnapshot(run.folder, run.config, snapshot, run);
  return snapshot;
}

/**
 * The last good snapshot, or the start, to go on from after a spike.
 *
 * @param before - what the stage began with
 * @throws ConfigError if the run may not go back
 */
async function goBack(run: Run, before: Snapshot, { fault, ...spike }: Spike): Promise<Snapshot> {
  const { config, folder, log } = run;
  if (!mayGoBack(config, before)) throw diverged(fault!, spike.trainStep);
  const good = (await readSnapshot(folder, config, run)) ?? startOf(run);
  const rollback: Rollback = { ...spike, backTo: good.trainSteps };
  log.goBack(rollback);
  run.onRollback?.(rollback);
  return { ...good, rollbacks: [...before.rollbacks, rollback] };
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
