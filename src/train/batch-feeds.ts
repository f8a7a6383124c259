/** A batch as the inputs of an objective graph. */
import type { TrainingBatch } from '../data/index.js';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig } from '../model/index.js';
import { batchForwardFeeds } from '../model/index.js';
import type { HostTensor } from '../runtime/index.js';
import type { ExtraInput } from './objectives/index.js';
import { chunkRows, readoutFeeds } from './readout-rows.js';

export interface FeedOptions {
  /** What the objective asks for beside tokens and targets. */
  readonly extraInputs?: readonly ExtraInput[] | undefined;
  /** That of the graph. */
  readonly chunkRows?: number | undefined;
}

/**
 * The batch inputs of an objective graph. Padding and ignored targets pass through as they are.
 *
 * @throws ConfigError if the batch lacks an extra input
 */
export function batchFeeds(
  batch: TrainingBatch,
  config: LoopLMConfig,
  inverseCount: number,
  { extraInputs = [], chunkRows: size }: FeedOptions = {},
): Record<string, HostTensor> {
  const dims = [batch.rows, batch.length];
  const extras = extraInputs.map(({ name, dtype }): [string, HostTensor] => {
    const data = batch.extra?.[name];
    const isRight = dtype === 'f32' ? data instanceof Float32Array : data instanceof Int32Array;
    if (!data || !isRight || data.length !== batch.rows * batch.length) {
      const numbers = `${batch.rows * batch.length} numbers of type ${dtype}`;
      throw new ConfigError(
        `extra.${name}`,
        `The objective reads "${name}", ${numbers} for a batch, and the batch has ${data ? `${data.length} as ${data.constructor.name}` : 'none'}. Let the source add them to its batches.`,
      );
    }
    return [`extra:${name}`, { dtype, dims, data }];
  });
  return {
    ...batchForwardFeeds(batch, config),
    targets: { dtype: 'i32', dims, data: batch.targets },
    ...readoutFeeds(batch.targets, size ?? chunkRows(batch.targets.length, config.vocabSize)),
    inverseCount: scalarTensor(inverseCount),
    ...Object.fromEntries(extras),
  };
}

/** Number of targets that the loss counts. */
export function countTargets({ targets }: TrainingBatch): number {
  return targets.reduce((count, target) => count + (target >= 0 ? 1 : 0), 0);
}

export function scalarTensor(value: number): HostTensor {
  return { dtype: 'f32', dims: [], data: Float32Array.of(value) };
}
