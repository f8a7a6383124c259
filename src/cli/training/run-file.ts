/**
 * A run's file, and everything that it names, as a run that can be trained.
 *
 * The one idea: settings are checked together, so that all that is wrong is told at once, and before
 * data become tokens or weights are made.
 */
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { CapacityError, ConfigError } from '../../errors.js';
import { showBytes } from '../../model/index.js';
import { availableMemory, nodeFolder, readTextFile } from '../../platform/node/index.js';
import { GENERATION_CONFIG_FILE } from '../../text/index.js';
import type { Stage } from '../../train/index.js';
import { lanesOf, stageMemory, stagesOf } from '../../train/index.js';
import { readChatData } from './chat-data.js';
import type { Pull } from './data-file.js';
import type { RunData, RunDataOptions } from './run-data.js';
import { readRunData } from './run-data.js';
import type { TrainingRun } from './run.js';
import type { RunFile, RunFileInput } from './schema.js';
import { shardSettings } from './schema.js';
import type { CheckedSettings } from './settings.js';
import { checkSettings } from './settings.js';
import { shardData } from './shard-data.js';
import { startWeights } from './start-weights.js';
import { openConfigOf, trainConfigOf } from './train-config.js';

/** How reading shows its progress, and what stops it. */
export interface ReadRunOptions extends Pick<RunDataOptions, 'onProgress' | 'signal'> {
  /** That it is trained with. Default: all cores. */
  readonly numThreads?: number | undefined;
  /** For data on the hub. */
  readonly pull?: Pull;
}

/**
 * The run that a file describes; paths in it are relative to its folder.
 *
 * @throws ConfigError that tells all that is wrong with the settings; FileError if the file cannot be
 *   read or the data have a wrong line; CapacityError if the run does not fit into memory; the
 *   signal's reason when it aborts.
 */
export async function readRunFile(path: string, options: ReadRunOptions): Promise<TrainingRun> {
  const text = await readTextFile(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    const message = `${path} is not valid JSON (${String(cause)}). Correct it.`;
    throw new ConfigError(path, message, { cause });
  }
  return assembleRun(json, path, (name) => resolve(dirname(path), name), options);
}

/** The run of these settings, with paths as they are. Throws as `readRunFile` does. */
export async function runOf(settings: RunFileInput, options: ReadRunOptions): Promise<TrainingRun> {
  return assembleRun(settings, 'The run', (name) => name, options);
}

async function assembleRun(
  json: unknown,
  what: string,
  at: (name: string) => string,
  options: ReadRunOptions,
): Promise<TrainingRun> {
  const checked = await checkSettings(json, what, at, options.pull);
  const { model: parsed, texts } = checked;
  const model = parsed.config;
  const stages = stagesOf(openConfigOf(checked.file, model));
  const numLanes = lanesOf(stages, options.numThreads ?? availableParallelism());
  for (const stage of stages) checkMemory(stage, { format: parsed.format, numLanes });
  checkShares(checked.file);
  const data = await openData(checked, options);
  const file = withEpochs(checked.file, data);
  stagesOf(trainConfigOf(file, model, {})); // with the train steps that are known only now
  const from = file.from === undefined ? undefined : at(file.from);
  const {
    weights,
    file: frozen,
    sha256,
    note,
  } = await startWeights(file, from, parsed, options.signal);
  const description = {
    ...data.description,
    ...(texts.sha256 !== undefined && { tokenizer: texts.sha256 }),
  };
  return {
    config: {
      ...trainConfigOf(file, model, description),
      ...(sha256 !== undefined && { fromSha256: sha256 }),
    },
    source: data.sourceOf,
    validation: data.validation,
    weights,
    ...(frozen && { frozen }),
    ...(from !== undefined && { from }),
    ...(note !== undefined && { note }),
    extraFiles: { ...texts.files, ...(await generationFiles(from)) },
    dtype: file.dtype,
    keepsStages: file.keepStages,
  };
}

/** Among several machines it is not known which row is how far in a run. */
function checkShares({ outer, data }: RunFile): void {
  const changing = shardSettings(data).find(({ finalWeight }) => finalWeight !== undefined);
  if (!outer || !changing) return;
  throw new ConfigError(
    'data.shards',
    `finalWeight of ${changing.name} is ${changing.finalWeight}, and with outer, for several machines, weights cannot change within a stage. Give stages with a mixture each.`,
  );
}

/** The file with the train steps that its epochs come to. */
function withEpochs(file: RunFile, { numRows }: RunData): RunFile {
  const { accumulate, data } = file;
  if (data.epochs === undefined || numRows === undefined) return file;
  // a ramp of `accumulate` is refused together with epochs
  const rowsOfUpdate = data.rows * Number(accumulate);
  return { ...file, trainSteps: Math.max(1, Math.ceil((data.epochs * numRows) / rowsOfUpdate)) };
}

async function openData(checked: CheckedSettings, options: ReadRunOptions): Promise<RunData> {
  const { file, model, texts, dataText = '', shards } = checked;
  const { tokenizer } = texts;
  if (file.data.shards !== undefined) return shardData(file, shards, model.config);
  const all = { ...options, config: model.config, tokenizer };
  if (file.data.chat === undefined) return readRunData(file, dataText, all);
  return readChatData(file, dataText, texts, all);
}

/** How the start wants its tokens drawn, which what comes of it wants, too. */
async function generationFiles(from: string | undefined): Promise<Record<string, string>> {
  const folder = from === undefined ? undefined : nodeFolder(from);
  if (!folder || !(await folder.exists(GENERATION_CONFIG_FILE))) return {};
  return { [GENERATION_CONFIG_FILE]: await folder.readText(GENERATION_CONFIG_FILE) };
}

function checkMemory(stage: Stage, more: Parameters<typeof stageMemory>[1]): void {
  const needed = stageMemory(stage, more);
  const available = availableMemory();
  if (needed.totalBytes <= available) return;
  const parts = `weights and optimizer ${showBytes(needed.stateBytes)}, a batch ${showBytes(needed.batchBytes)}`;
  const { rows = 1, recompute } = stage;
  const remedies = [
    ...(rows > 1 ? [`fewer rows than ${rows}, with accumulate for as many in all`] : []),
    'shorter rows',
    ...(recompute === 'loop' ? [] : ['recompute "loop"']),
    ...(stage.lora ? [] : ['lora']),
    'a smaller model',
  ];
  const advice = new Intl.ListFormat('en', { type: 'disjunction' }).format(remedies);
  throw new CapacityError(
    `Training needs about ${showBytes(needed.totalBytes)} of memory (${parts}) and ${showBytes(available)} are free. Use ${advice}.`,
  );
}
