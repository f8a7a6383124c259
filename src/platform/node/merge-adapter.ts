/**
 * An adapter and its model as one checkpoint, in a new folder that appears whole or not at all.
 */
import { join, resolve } from 'node:path';
import type { WeightDtype } from '../../model/index.js';
import {
  loadAdapter,
  loadFloats,
  mergeAdapter,
  readModelConfig,
  saveCheckpoint,
} from '../../model/index.js';
import { TEXT_FILES } from './convert/fingerprint.js';
import { fileExists, followLinks, nodeFolder, readTextFile } from './files/index.js';
import { beginFolder, makeWay } from './files/new-folder.js';

export interface MergeOptions {
  /** Storage type of the result. Default: that of the model; f32 for a converted one or mixed types. */
  readonly dtype?: WeightDtype | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface MergeReport {
  readonly dtype: WeightDtype;
  /** Matrices that the adapter changed. */
  readonly numModules: number;
  /** Formats of a converted model, which were widened. */
  readonly widened: boolean;
}

/**
 * Writes `W + scale * B A` for every matrix that an adapter changes, and all else as it is, in the Hugging
 * Face layout. A converted model is widened: what it stands for is merged.
 *
 * @throws LoopLMError if model or adapter cannot be read or do not fit; FileError if the target is there
 *   already or cannot be written; the signal's reason when it aborts.
 */
export async function mergeToFolder(
  model: string,
  adapter: string,
  target: string,
  { dtype: wanted, signal }: MergeOptions = {},
): Promise<MergeReport> {
  const path = await followLinks(resolve(target));
  await makeWay(path);
  const source = nodeFolder(model);
  const parsed = await readModelConfig(source);
  const loaded = await loadAdapter(nodeFolder(adapter), parsed.config);
  const { weights, dtype: stored } = await loadFloats(source, { signal, parsed });
  const dtype = wanted ?? (stored === undefined || stored === 'mixed' ? 'f32' : stored);
  const extraFiles: Record<string, string> = {};
  for (const name of TEXT_FILES) {
    const file = join(model, name);
    if (await fileExists(file)) extraFiles[name] = await readTextFile(file);
  }
  signal?.throwIfAborted();
  const merged = mergeAdapter(parsed.config, weights, loaded);
  const folder = await beginFolder(path, { doing: 'merging', key: 'merge', signal });
  try {
    await saveCheckpoint(nodeFolder(folder.model), parsed.config, merged, { dtype, extraFiles });
    await folder.finish();
    await folder.remove();
  } catch (error) {
    await folder.release();
    throw error;
  }
  return { dtype, numModules: loaded.modules.length, widened: parsed.format !== undefined };
}
