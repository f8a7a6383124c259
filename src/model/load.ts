/**
 * Opens a model folder for inference, whatever form its weights have.
 */
import type { Folder } from '../util/folder.js';
import type { LoadOptions } from './checkpoint.js';
import { loadCheckpoint, readModelConfig } from './checkpoint.js';
import type { ParsedModelConfig } from './config-json.js';
import { openConverted } from './converted.js';
import type { ModelWeights } from './params.js';
import type { WeightSource } from './weights.js';
import { fileWeights } from './weights.js';

/** A model whose weights are in memory, or stay in the file of a converted model. */
export interface LoadedWeights extends ParsedModelConfig {
  readonly weights: ModelWeights | WeightSource;
}

/** @throws LoopLMError as `loadCheckpoint` and `openConverted` do */
export async function loadWeights(
  folder: Folder,
  { signal, parsed: known }: LoadOptions = {},
): Promise<LoadedWeights> {
  const parsed = known ?? (await readModelConfig(folder));
  if (!parsed.format) return loadCheckpoint(folder, { signal, parsed });
  const { tensors, ...model } = await openConverted(folder, { parsed });
  return { ...model, weights: fileWeights({ folder: folder.path, format: model.format, tensors }) };
}
