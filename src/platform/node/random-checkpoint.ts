/**
 * Random checkpoints of any size on disk: a model's exact shapes and layout without its training, to
 * try and to measure with.
 *
 * The file's layout is known before its values are, so worker threads fill it in place, in parts; the
 * folder gets its name when it is whole. It does not know what the numbers come to.
 */
import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConfigError } from '../../errors.js';
import type { LoopLMConfig, ParameterSpec, WeightDtype } from '../../model/index.js';
import { elementCount, modelConfigToJson, parameterSpecs } from '../../model/index.js';
import { layOutSafetensors } from '../../util/safetensors.js';
import { beginFolder, failWrite, followLinks, makeWay, writeFileAtomic } from './files/index.js';
import type { RandomPart } from './random-part.js';
import type { TaskPoolOptions } from './task-pool.js';
import { runTasks } from './task-pool.js';
import { threadEntry } from './thread-entry.js';

export interface RandomCheckpointOptions extends TaskPoolOptions {
  /** Storage type. Default bf16, as released. */
  readonly dtype?: WeightDtype;
  /** An integer in [0, 2^32); equal seeds give equal files. Default 0. */
  readonly seed?: number;
  /** Text files to write beside the weights, by file name. */
  readonly extraFiles?: Readonly<Record<string, string>>;
  readonly progress?: (progress: {
    readonly doneBytes: number;
    readonly totalBytes: number;
  }) => void;
}

const STORED = {
  f32: ['F32', 'float32', 4],
  bf16: ['BF16', 'bfloat16', 2],
  f16: ['F16', 'float16', 2],
} as const;

/** Values of one part: small enough for a thread's memory, large enough to be worth a message. */
const PART_VALUES = 2 ** 21;
/** Spread of the norms' weights around 1. */
const NORM_STD = 0.1;

/**
 * Writes a checkpoint of normal values with the config's `initializerRange` as standard deviation;
 * norms lie around 1, and the exit gate has small weights, so that depths differ.
 *
 * The folder appears whole or not at all; until then it is at its name with `.partial`. The file
 * is the same whatever `numWorkers` is.
 *
 * @returns the size of the weight file in bytes.
 * @throws ConfigError if an option is out of range; FileError if the folder holds something already
 *   or cannot be written; the signal's reason when it aborts.
 */
export async function writeRandomCheckpoint(
  folder: string,
  config: LoopLMConfig,
  options: RandomCheckpointOptions = {},
): Promise<number> {
  const { dtype = 'bf16', seed = 0, extraFiles = {} } = options;
  checkSeed(seed);
  const path = await followLinks(resolve(folder)); // without a slash at its end
  await makeWay(path);
  const { signal } = options;
  const unfinished = await beginFolder(path, {
    doing: 'writing random weights',
    key: randomUUID(), // what was left is never gone on with
    signal,
  });
  try {
    await makeWay(path); // once more: another process may have held the lock
    const size = await writeWeights(join(unfinished.model, 'model.safetensors'), config, options);
    const json = modelConfigToJson(config, STORED[dtype][1]);
    const files = { ...extraFiles, 'config.json': `${JSON.stringify(json, null, 2)}\n` };
    for (const [name, text] of Object.entries(files)) {
      await writeFileAtomic(join(unfinished.model, name), text);
    }
    await unfinished.finish();
    return size;
  } finally {
    await unfinished.remove();
  }
}

async function writeWeights(
  path: string,
  config: LoopLMConfig,
  { dtype = 'bf16', seed = 0, progress, ...pool }: RandomCheckpointOptions,
): Promise<number> {
  const [stored, , elementBytes] = STORED[dtype];
  const specs = parameterSpecs(config);
  const tensors = specs.map(({ hfName: name, shape }) => ({ name, shape, dtype: stored }));
  const { header, entries, size } = layOutSafetensors(tensors, { format: 'pt' });
  const file = await open(path, 'w').catch((cause: unknown) => failWrite(path, cause));
  try {
    await file.truncate(size);
    await file.write(header, 0, header.length, 0);
    const parts = specs.flatMap((spec, tensorIndex) =>
      partsOf(spec, tensorIndex, entries[tensorIndex]!.byteOffset, elementBytes, config),
    );
    let doneBytes = header.length;
    const entry = threadEntry('random-worker');
    const onResult = (bytes: number) => {
      doneBytes += bytes;
      progress?.({ doneBytes, totalBytes: size });
    };
    await runTasks<RandomPart, number>(entry, { path, dtype, seed }, parts, onResult, pool);
    await file.sync().catch((cause: unknown) => failWrite(path, cause));
  } finally {
    await file.close();
  }
  return size;
}

function partsOf(
  { kind, shape }: ParameterSpec,
  tensorIndex: number,
  start: number,
  elementBytes: number,
  { initializerRange }: LoopLMConfig,
): RandomPart[] {
  const [mean, std] = kind === 'norm' ? [1, NORM_STD] : [0, initializerRange];
  const total = elementCount(shape);
  return Array.from({ length: Math.ceil(total / PART_VALUES) }, (_, partIndex) => {
    const first = partIndex * PART_VALUES;
    const numValues = Math.min(PART_VALUES, total - first);
    const byteOffset = start + first * elementBytes;
    return { tensorIndex, partIndex, numValues, mean, std, byteOffset };
  });
}

function checkSeed(seed: number): void {
  if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) return;
  throw new ConfigError('seed', `The seed is ${seed}; it must be an integer from 0 to 4294967295.`);
}
