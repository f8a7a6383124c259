/** A run's file as the settings that a trainer takes. */
import { basename, resolve } from 'node:path';
import type { LoopLMConfig } from '../../model/index.js';
import type { TrainConfig } from '../../train/index.js';
import type { RunFile } from './schema.js';

/** @param data - what tells the data from other data */
export function trainConfigOf(
  file: RunFile,
  model: LoopLMConfig,
  data: TrainConfig['data'],
): TrainConfig {
  const {
    from,
    data: batch,
    validation,
    tokenizer: _,
    dtype: __,
    keepStages: ___,
    ...training
  } = file;
  return {
    ...training,
    model,
    ...(from !== undefined && { from: basename(resolve(from)) }),
    rows: batch.rows,
    length: batch.length,
    evaluateEvery: validation.evaluateEvery,
    data,
  };
}

/**
 * The same before the data are read: where train steps follow from them, as many as any schedule asks for.
 */
export function openConfigOf(file: RunFile, model: LoopLMConfig): TrainConfig {
  const config = trainConfigOf(file, model, {});
  return file.data.epochs === undefined
    ? config
    : { ...config, trainSteps: Number.MAX_SAFE_INTEGER };
}
