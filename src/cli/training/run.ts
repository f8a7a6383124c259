/**
 * Trains a run at the command line: progress, validation, and the files that a run leaves behind.
 *
 * In the run's folder: train-config.json, metrics.jsonl, loss.svg, snapshot.safetensors, and at the
 * end a model in the layout that every command loads, or an adapter.
 */
import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import type { PolicyRecord } from '../../charts/index.js';
import type { TrainingDocument } from '../../data/index.js';
import type { EngineOptions } from '../../engine/index.js';
import { assert, ConfigError } from '../../errors.js';
import type { Folder, ModelWeights, WeightDtype, WeightFile } from '../../model/index.js';
import { loraModules, saveAdapter, saveCheckpoint } from '../../model/index.js';
import { connectRun, createNodeDevice, nodeFolder } from '../../platform/node/index.js';
import type { Device, DeviceOptions } from '../../runtime/index.js';
import type {
  Evaluation,
  MetricRecord,
  ObjectiveDefinition,
  RunRecord,
  Stage,
  StageResult,
  TrainConfig,
  TrainOptions,
  TrainResult,
  TrainTogetherOptions,
} from '../../train/index.js';
import {
  METRICS_FILE,
  laneCount,
  parseMetrics,
  stagesOf,
  train,
  trainedSpecs,
  trainTogether,
} from '../../train/index.js';
import type { CliIo } from '../io.js';
import { tellNote } from '../messages.js';
import type { TrainingProgress } from './progress.js';
import { describePassedSpike, describeRollback, openTrainingProgress } from './progress.js';
import { LOSS_FILE, REWARD_FILE, takeRunFolder } from './run-folder.js';
import type { ValidationLoss } from './validation.js';
import { lastValidation, validate } from './validation.js';

/** All that decides a run, and the files that go beside the trained weights. */
export interface TrainingRun {
  readonly config: TrainConfig;
  readonly source: TrainOptions['source'];
  /** In place of that of the config. */
  readonly objective?: ObjectiveDefinition;
  /** Where a run starts that has no snapshot; with an adapter, what it is beside. */
  readonly weights: ModelWeights;
  /** The matrices of a converted model, for an adapter beside them. */
  readonly frozen?: WeightFile;
  /** The folder that the weights are from, if they are not fresh. */
  readonly from?: string;
  /** What one should know of them. */
  readonly note?: string;
  /** Looked at every `config.evaluateEvery` train steps and at the end, and never trained on. */
  readonly validation?: readonly TrainingDocument[];
  /** Measures in place of that, and says it in a sentence. */
  readonly evaluate?: (
    model: EvaluatedModel,
    trainStep: number,
  ) => Promise<{ readonly evaluation: Evaluation; readonly sentence: string }>;
  /** Text by file name. */
  readonly extraFiles: Readonly<Record<string, string>>;
  /** Storage type of the trained model. Default f32. */
  readonly dtype?: WeightDtype;
  /** Whether what each stage comes to is kept beside the run. */
  readonly keepsStages?: boolean;
}

export type EvaluatedModel = Pick<EngineOptions, 'device' | 'config' | 'weights'>;

/** What a run came to. */
export interface TrainingOutcome extends TrainResult {
  /** The last metrics of this sitting, if it trained at all. */
  readonly lastRecord: MetricRecord | undefined;
  /** The last of the run, if it has any. */
  readonly validation: ValidationLoss | undefined;
}

export interface RunTrainingOptions extends DeviceOptions {
  /** Address of a run of several machines, to train as one of them. */
  readonly join?: string | undefined;
}

/**
 * Trains until the end or until the signal aborts; goes on from the snapshot of `out` if it has one.
 *
 * @throws ConfigError for settings of several machines without a run to join
 */
export async function runTraining(
  run: TrainingRun,
  out: string,
  { join: address, ...deviceOptions }: RunTrainingOptions,
  io: CliIo,
  signal: AbortSignal,
): Promise<TrainingOutcome> {
  if (run.config.outer && address === undefined) {
    throw new ConfigError(
      'outer',
      'outer says how machines exchange what they learn, and this one trains alone. Join a run with --join nats://HOST/RUN, or leave outer out.',
    );
  }
  const extraFiles = Object.keys(run.extraFiles);
  const { folder, trainStepsDone, release } = await takeRunFolder(out, run.config, extraFiles, run);
  if (run.note !== undefined) tellNote(run.note, io);
  if (trainStepsDone > 0) io.stderr.write(`going on after train step ${trainStepsDone}\n`);
  const progress = openTrainingProgress(io);
  try {
    const together =
      address === undefined ? undefined : await meet(address, progress.note, io, signal);
    try {
      const devices = await openDevices(run, deviceOptions);
      try {
        return await trainIn(folder, run, { ...devices, progress, together }, io, signal);
      } finally {
        for (const device of [devices.device, ...devices.helpers]) await device.dispose();
      }
    } finally {
      await together?.store.close();
    }
  } finally {
    progress.stop();
    await release();
  }
}

/** A device for all that a run does, and those that help it with gradients. */
async function openDevices({ config, source }: TrainingRun, options: DeviceOptions) {
  const device = await createNodeDevice(options);
  const { numThreads = availableParallelism() } = options;
  const sourceRows = 'rows' in source ? source.rows : undefined;
  const rows = stagesOf(config).map((stage) => stage.rows ?? sourceRows ?? 1);
  const helpers: Device[] = [];
  while (helpers.length + 1 < laneCount(rows, numThreads)) {
    helpers.push(await createNodeDevice({ numThreads: 1 }));
  }
  return { device, helpers };
}

/** What `trainTogether` needs beside what `train` does. */
type Together = Pick<TrainTogetherOptions, 'store' | 'machine' | 'onNote'>;

async function meet(
  address: string,
  onNote: (line: string) => void,
  { env }: CliIo,
  signal: AbortSignal,
): Promise<Together> {
  const store = await connectRun(address, { env, onNote, signal });
  return { store, machine: hostname(), onNote };
}

interface Surroundings {
  readonly device: Device;
  readonly helpers: readonly Device[];
  readonly progress: TrainingProgress;
  readonly together: Together | undefined;
}

async function trainIn(
  folder: Folder,
  run: TrainingRun,
  { device, helpers, progress, together }: Surroundings,
  io: CliIo,
  signal: AbortSignal,
): Promise<TrainingOutcome> {
  const { config, source, objective, weights, frozen, validation = [] } = run;
  let lastRecord: MetricRecord | undefined;
  const options: Omit<TrainOptions, 'source'> = {
    config,
    device,
    helpers,
    weights,
    file: frozen,
    folder,
    now: io.now,
    memoryBytes: io.memoryBytes,
    signal,
    onProgress(record, totalTrainSteps) {
      lastRecord = record;
      progress.show(record, totalTrainSteps);
    },
    ...(run.keepsStages && {
      onStageEnd: ({ index, name }: Stage, stage: StageResult) =>
        saveResult(nodeFolder(join(folder.path, 'stages', stageFolder(index, name))), run, stage),
    }),
    onRollback: (rollback) => progress.note(describeRollback(rollback)),
    onSpike: (spike) => progress.note(describePassedSpike(spike)),
    ...(run.evaluate && {
      async evaluate(current, trainStep, model) {
        const of = { device, config: model, weights: current };
        const { evaluation, sentence } = await run.evaluate!(of, trainStep);
        progress.note(`after train step ${trainStep}: ${sentence}`);
        return evaluation;
      },
    }),
    ...(validation.length > 0 && {
      evaluate: (current, trainStep, model) =>
        validate({ device, config: model, weights: current }, validation, (losses) =>
          progress.note(`validation after train step ${trainStep}: loss by depth ${losses}`),
        ),
    }),
  };
  const alone = () => train({ ...options, source, ...(objective && { objective }) });
  const withOthers = (others: Together) => {
    assert(!('batchesFor' in source), 'machines that train together share their data');
    return trainTogether({ ...options, source, ...others });
  };
  const result = await (together ? withOthers(together) : alone());
  if (result.finished) await saveResult(folder, run, result);
  const records = await readMetrics(folder);
  await drawCurves(folder, records);
  return { ...result, lastRecord, validation: lastValidation(records) };
}

/** Of a stage that is kept: its number and its name, as far as that can stand in one. */
const stageFolder = (index: number, name: string) =>
  `${index + 1}-${name.replaceAll(/[^\w.-]+/gu, '-')}`;

/** The model that was trained, or its adapter in the files of PEFT. */
async function saveResult(
  folder: Folder,
  { config, extraFiles, dtype = 'f32', from = '' }: TrainingRun,
  { model, weights }: StageResult,
): Promise<void> {
  const { lora } = config;
  if (!lora) return saveCheckpoint(folder, model, weights, { dtype, extraFiles });
  const modules = loraModules(model, lora);
  const trainsGate = stagesOf(config).some((stage) =>
    trainedSpecs(stage).some(({ kind }) => kind === 'gateWeight'),
  );
  const adapted = new Set(modules.flatMap(({ a, b }) => [a.hfName, b.hfName]));
  const kept = [...weights].filter(([name]) => trainsGate || adapted.has(name));
  const settings = { settings: lora, baseModel: from };
  return saveAdapter(folder, { modules, weights: new Map(kept) }, settings);
}

/** The metrics of the whole run; none if it has not got so far. */
async function readMetrics(folder: Folder): Promise<readonly RunRecord[]> {
  return (await folder.exists(METRICS_FILE))
    ? parseMetrics(await folder.readText(METRICS_FILE))
    : [];
}

async function drawCurves(folder: Folder, all: readonly RunRecord[]): Promise<void> {
  const records = all.filter((record) => 'lossPerLoop' in record);
  if (records.length === 0) return;
  const { lossCurves, policyCurves } = await import('../../charts/index.js');
  const isPolicy = records.every(({ source }) => source !== undefined);
  if (isPolicy) await folder.write(REWARD_FILE, policyCurves(records.map(policyRecord)));
  else await folder.write(LOSS_FILE, lossCurves(records));
}

function policyRecord({ trainStep, source }: MetricRecord): PolicyRecord {
  const [reward, meanDepth] = [source!['reward'], source!['meanDepth']].map(Number);
  return { trainStep, reward: reward!, meanDepth: meanDepth! };
}
