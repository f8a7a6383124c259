/**
 * From what a user calls a model to a folder and a device that it can be loaded onto: resolve, convert
 * where needed, plan. Loading itself is handed in (`LoopLM.load`), which knows nothing of files.
 *
 * A large checkpoint is not run as it is: it is converted once, into the cache of converted models,
 * and its file is then mapped into memory. What is loaded owns the device, a worker thread.
 */
import { realpath } from 'node:fs/promises';
import { freemem } from 'node:os';
import { CapacityError, ConfigError } from '../../errors.js';
import type { LoadOptions } from '../../load-options.js';
import type {
  Folder,
  LoopLMConfig,
  MemoryPlan,
  ModelFormat,
  ParsedModelConfig,
} from '../../model/index.js';
import {
  defaultKvDtype,
  describeFormat,
  describePlan,
  elementCount,
  matrixDtype,
  parameterSpecs,
  planMemory,
  readModelConfig,
  showBytes,
} from '../../model/index.js';
import type { MatrixDtype } from '../../util/matrix-dtype.js';
import { showValue } from '../../util/quote.js';
import { formatOfSettings } from './convert/settings.js';
import { createNodeDevice } from './device.js';
import { nodeFolder } from './files/index.js';
import type { HubPlatform } from './hub/platform.js';
import { NODE_PLATFORM } from './hub/platform.js';
import { resolveModel } from './hub/resolve.js';
import type { PretrainedOptions } from './pretrained-options.js';
import { parsePretrainedOptions } from './pretrained-options.js';

/** Checkpoints of more parameters are converted before they run. */
const MAX_PLAIN_PARAMETERS = 250e6;
/** To this. */
const LARGE_DTYPE = 'q8';
const DEFAULT_CONTEXT = 4096;

/** What loads a model: `LoopLM.load`. */
type Load<T> = (folder: Folder, options: LoadOptions) => Promise<T>;

/**
 * Loads a model by its folder or its name on the hub.
 *
 * @param load - takes over the device, unless it fails
 * @throws ConfigError for options that are unknown, not allowed or do not go together
 * @throws CapacityError, before anything is loaded, if the memory it needs is not there
 * @throws LoopLMError as `resolveModel`, `convertModel`, `createNodeDevice` and `load` do
 */
export async function openPretrained<T>(
  idOrPath: string,
  given: PretrainedOptions,
  load: Load<T>,
  platform: HubPlatform = NODE_PLATFORM,
): Promise<T> {
  checkName(idOrPath);
  const options = parsePretrainedOptions(given);
  const { numThreads, signal } = options;
  signal?.throwIfAborted();
  const { path, parsed } = await prepareModel(idOrPath, options, platform);
  const plan = planLoading(parsed, options);
  options.onPlan?.(plan);
  const available = availableMemory();
  checkPlan(idOrPath, plan, available);
  signal?.throwIfAborted();
  const device = await createNodeDevice({ numThreads });
  try {
    return await load(nodeFolder(await realpath(path)), {
      device,
      ownsDevice: true,
      name: idOrPath,
      parsedConfig: parsed,
      kvDtype: plan.kvDtype,
      maxKvBytes: Math.min(
        available - (plan.totalBytes - plan.kvBytes),
        options.maxKvBytes ?? Infinity,
      ),
      maxSequences: options.maxSequences,
      updatable: options.updatable,
      ...(options.adapter !== undefined && { adapter: nodeFolder(options.adapter) }),
      gate: options.gate,
      signal,
      onProgress: (doneBytes, totalBytes) =>
        options.progress?.({ stage: 'load', doneBytes, totalBytes }),
    });
  } catch (error) {
    await device.dispose();
    throw error;
  }
}

function checkName(idOrPath: unknown): void {
  if (typeof idOrPath === 'string') return;
  throw new ConfigError(
    'model',
    `The model is ${showValue(idOrPath)}; it must be the path of a folder, or a name on the hub, such as ByteDance/Ouro-1.4B.`,
  );
}

/**
 * The memory that loading a model with these options takes; of a checkpoint, as it is.
 *
 * @throws ConfigError if the context is out of range
 */
export function planLoading(
  { config, format }: Pick<ParsedModelConfig, 'config' | 'format'>,
  options: PretrainedOptions,
): MemoryPlan {
  return planMemory(config, {
    format,
    kvDtype: options.kvDtype ?? defaultKvDtype(format),
    kvPolicy: options.kvPolicy ?? 'per-loop',
    context: options.context ?? Math.min(DEFAULT_CONTEXT, config.maxPositionEmbeddings),
    numSequences: options.numSequences ?? 1,
  });
}

/** The formats that a model runs in by default; undefined for float32 in memory. */
export function defaultFormat({
  config,
  format,
}: Pick<ParsedModelConfig, 'config' | 'format'>): ModelFormat | undefined {
  if (format) return format;
  return isLarge(config) ? formatOfSettings({ dtype: LARGE_DTYPE }) : undefined;
}

function isLarge(config: LoopLMConfig): boolean {
  const count = parameterSpecs(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return count > MAX_PLAIN_PARAMETERS;
}

/** The folder of a model in the format that is asked for; downloads and converts where needed. */
async function prepareModel(
  idOrPath: string,
  options: PretrainedOptions,
  platform: HubPlatform,
): Promise<{ readonly path: string; readonly parsed: ParsedModelConfig }> {
  const { revision, cacheDir, offline, convertedDir, progress, onWait, signal } = options;
  const source = await resolveModel(
    idOrPath,
    {
      ...(revision !== undefined && { revision }),
      ...(cacheDir !== undefined && { cacheDir }),
      ...(offline !== undefined && { offline }),
      ...(signal && { signal }),
      onWait,
      progress: ({ receivedBytes, totalBytes }) =>
        progress?.({ stage: 'download', doneBytes: receivedBytes, totalBytes }),
    },
    platform,
  );
  const parsed = await readModelConfig(nodeFolder(source.path));
  const dtype = wantedDtype(idOrPath, parsed, options);
  if (dtype === undefined) return { path: source.path, parsed };
  const { convertedFolder } = await import('./convert/index.js');
  const path = await convertedFolder(
    { ...source, parsed },
    { dtype },
    {
      env: platform.env,
      ...(convertedDir !== undefined && { cacheDir: convertedDir }),
      ...(signal && { signal }),
      onWait,
      progress: ({ doneBytes, totalBytes }) =>
        progress?.({ stage: 'convert', doneBytes, totalBytes }),
    },
  );
  return { path, parsed: await readModelConfig(nodeFolder(path)) };
}

/** The format to convert to; undefined to take the model as it is. */
function wantedDtype(
  idOrPath: string,
  { config, format }: ParsedModelConfig,
  { dtype = 'auto', updatable = false }: PretrainedOptions,
): MatrixDtype | undefined {
  if (format) {
    if (dtype === 'auto' || dtype === matrixDtype(format.body)) return undefined;
    throw new ConfigError(
      'dtype',
      `dtype is ${dtype}, but ${idOrPath} is already converted to ${describeFormat(format.body)}. Leave dtype out, or start from the checkpoint it was made of.`,
    );
  }
  if (updatable) {
    if (dtype === 'auto' || dtype === 'f32') return undefined;
    throw new ConfigError(
      'dtype',
      `dtype is ${dtype}, but weights that can be exchanged are float32. Leave dtype out.`,
    );
  }
  if (dtype !== 'auto') return dtype;
  return isLarge(config) ? LARGE_DTYPE : undefined;
}

function checkPlan(idOrPath: string, plan: MemoryPlan, available: number): void {
  if (plan.totalBytes <= available) return;
  const rows = describePlan(plan).map((line) => line.trim().replaceAll(/ {2,}/g, ' '));
  const { body } = plan.format ?? {};
  const isSmallest = body?.kind === 'blocks' && body.bits === 4;
  const remedies = [
    ...(isSmallest ? [] : ['dtype q4']),
    'a shorter context',
    ...(plan.kvDtype === 'i8' ? [] : ['kvDtype i8']),
    // of a single sequence the prompt has all planes under every policy
    ...(plan.kvPolicy === 'shared' || plan.numSequences === 1 ? [] : ['KV policy shared']),
  ];
  const advice = new Intl.ListFormat('en', { type: 'disjunction' }).format(remedies);
  throw new CapacityError(
    `${idOrPath} needs ${showBytes(plan.totalBytes)} of memory and ${showBytes(available)} are free (${rows.slice(0, 4).join('; ')}). Use ${advice}.`,
  );
}

/** Memory that can still be taken, within the limits set for the process. */
export function availableMemory(): number {
  const limit = process.constrainedMemory();
  const free = freemem();
  const isLimited = limit > 0 && limit < Number.MAX_SAFE_INTEGER;
  return isLimited ? Math.min(free, limit - process.memoryUsage().rss) : free;
}
