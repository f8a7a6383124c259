/**
 * Data that depend on the model under training, such as what it answers.
 *
 * Other sources are functions of the train step alone; one of these is asked before each update, with the
 * weights as they are, and keeps what little it learns in the snapshots of the run. As long as its
 * batches follow from that, a resumed run ends in the same bits.
 */
import type { TrainingBatch } from '../data/index.js';
import type { LoopLMConfig } from '../model/index.js';
import type { ResidentWeights } from '../runtime/index.js';
import type { TokenOutputs } from './token-outputs.js';

export interface PolicyMoment {
  /** Update that the batches are for; counts on over what was thrown away after a spike. */
  readonly trainStep: number;
  /** The weights before it, where they are until the stage ends. */
  readonly weights: ResidentWeights;
  readonly model: LoopLMConfig;
  readonly signal?: AbortSignal | undefined;
}

export interface PolicySource {
  /** Rows and positions of all batches. */
  readonly rows: number;
  readonly length: number;
  /** The micro-batches of an update, at least one. */
  batchesFor(moment: PolicyMoment): Promise<readonly TrainingBatch[]>;
  /** Takes what the update found, by batch; returns numbers for the record of metrics. */
  learnt(outcome: {
    readonly tokens: readonly TokenOutputs[];
    readonly learningRate: number;
  }): Readonly<Record<string, number | readonly number[]>>;
  /** What snapshots keep, as JSON. */
  save(): unknown;
  /** Goes on from what was saved; undefined is the start of a run. */
  restore(saved: unknown): void;
  /** Frees what it has on the device. The stage is over; another may follow. */
  release(): Promise<void>;
}
