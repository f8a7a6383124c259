/** What a machine needs to train with others. */
import type { SharedStore } from '../../cluster/index.js';
import type { TrainOptions } from '../trainer.js';

export interface TrainTogetherOptions extends Omit<TrainOptions, 'exchange'> {
  readonly store: SharedStore;
  /** What to call this machine. */
  readonly machine: string;
  /** Called with what happens between the machines, a line each. */
  readonly onNote: (line: string) => void;
}
