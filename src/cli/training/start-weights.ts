/**
 * The weights that a run begins with: fresh ones, those of a folder to train all of, or those of a folder
 * that an adapter is trained beside.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type {
  InitializeOptions,
  LoopLMConfig,
  ModelWeights,
  ParsedModelConfig,
  WeightFile,
} from '../../model/index.js';
import {
  describeFormat,
  initializeWeights,
  loadAdapterBase,
  loadFloats,
} from '../../model/index.js';
import { failRead, nodeFolder } from '../../platform/node/index.js';
import type { RunFile } from './schema.js';

export interface StartWeights {
  readonly weights: ModelWeights;
  /** The matrices of a converted model, for an adapter beside them. */
  readonly file?: WeightFile;
  /** Of the weights, where they are in no snapshot. */
  readonly sha256?: string;
  /** What one should know of them. */
  readonly note?: string;
}

/**
 * @param from - the folder of `file.from`
 * @throws LoopLMError if its weights cannot be read; the signal's reason when it aborts
 */
export async function startWeights(
  file: RunFile,
  from: string | undefined,
  parsed: ParsedModelConfig,
  signal: AbortSignal,
): Promise<StartWeights> {
  if (from === undefined) {
    return { weights: initializeWeights(parsed.config, file.seed, spreadOf(file, parsed.config)) };
  }
  if (file.lora) {
    // The programs map the file by its real path.
    const path = await realpath(from).catch((cause: unknown) => failRead(from, cause));
    const { weights, file: frozen } = await loadAdapterBase(nodeFolder(path), { signal, parsed });
    return { weights, ...(frozen && { file: frozen }), sha256: await hashWeights(path, signal) };
  }
  const { weights } = await loadFloats(nodeFolder(from), { signal, parsed });
  if (!parsed.format) return { weights };
  const { body } = parsed.format;
  return {
    weights,
    note: `the start is a converted model (${describeFormat(body)}): its weights are widened to f32, all of them are trained, and the result is stored as ${file.dtype}; lora would train beside them as they are`,
  };
}

/**
 * Spread of fresh weights: as `initializer_range` says, or else by the width that each matrix reads, and
 * so that all that is added to a token in all loops is as large as the token itself. Else its later loops
 * know less of it than its first, and the gate shuts them out before they have learnt. After 100 train
 * steps on text the first was ahead by 0.3 nats, and the second by as much again.
 */
function spreadOf(
  { model }: RunFile,
  { numHiddenLayers, numLoops }: LoopLMConfig,
): InitializeOptions {
  if (model?.['initializer_range'] !== undefined) return {};
  const branchNorm = 1 / Math.sqrt(2 * numHiddenLayers * numLoops);
  return { matrixStd: 'fanIn', embeddingStd: 1, branchNorm };
}

/** Of all bytes of all weight files, shortened. */
async function hashWeights(folder: string, signal: AbortSignal): Promise<string> {
  const names = await readdir(folder).catch((cause: unknown) => failRead(folder, cause));
  const hash = createHash('sha256');
  for (const name of names.filter((file) => file.endsWith('.safetensors')).toSorted()) {
    const path = join(folder, name);
    await pipeline(
      createReadStream(path, { highWaterMark: 2 ** 20 }),
      async (parts) => {
        for await (const part of parts) hash.update(part as Uint8Array);
      },
      { signal },
    ).catch((cause: unknown) => {
      signal.throwIfAborted();
      failRead(path, cause);
    });
  }
  return hash.digest('hex').slice(0, 16);
}
