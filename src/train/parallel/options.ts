/** What a machine needs to train with others. */
import type { SharedStore } from '../../cluster/index.js';
import type { RunSource } from '../stage-batches.js';
import type { TrainOptions } from '../trainer.js';

export interface TrainTogetherOptions extends Omit<
  TrainOptions,
  'exchange' | 'objective' | 'source'
> {
  readonly source: RunSource;
  readonly store: SharedStore;
  /** What to call this machine. */
  readonly machine: string;
  /** Called with what happens between the machines, a line each. */
  readonly onNote: (line: string) => void;
}
