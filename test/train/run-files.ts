/** Folders of runs in memory, and runs that are stopped on their way. */
import type { BatchSource } from '../../src/data/index.js';
import type { Folder } from '../../src/model/index.js';
import { memoryFolder } from '../../src/model/index.js';
import type { TrainOptions } from '../../src/train/index.js';
import { SOURCE } from './tiny-run.js';

export type Files = Map<string, Uint8Array>;

export const folderOf = (files: Files): Folder => memoryFolder('run', files);

/** Stops a run while its given train step is under way: when the batches of the next are drawn. */
export function stoppedAfter(last: number): Pick<TrainOptions, 'source' | 'signal'> {
  const controller = new AbortController();
  const source: BatchSource = {
    ...SOURCE,
    batchAt(trainStep, microBatch) {
      if (trainStep === last) controller.abort();
      return SOURCE.batchAt(trainStep, microBatch);
    },
  };
  return { source, signal: controller.signal };
}
