/**
 * What runs loops: the one interface over the two partitions of a model's programs.
 *
 * A *runner* holds the programs of a loaded model; a *cached run* holds the keys and values of a few
 * sequences that are continued together. The tokens of a loop may belong to any of them but stand at
 * the same loop. Which plane they read and write is said by the caller. Nothing here knows policies,
 * sampling or text.
 * Source: docs/architecture.md (runner).
 */
import type { LoopLMConfig } from '../model/index.js';
import type { Command, Device } from '../runtime/index.js';
import type { Sequence, SequenceToken } from './sequence.js';

/** A token of a batch with the sequence it belongs to. */
export interface BatchEntry {
  readonly sequence: Sequence;
  readonly token: SequenceToken;
}

export interface LoopRun {
  /** At the same depth; tokens of one sequence stand together, in the order of their positions. */
  readonly entries: readonly BatchEntry[];
  /** Plane of the cache that holds what earlier tokens left for this loop, and gets the new rows. */
  readonly plane: number;
}

/** What a hidden state says of the next token. */
export interface Readout {
  readonly logits: Float32Array; // [V]
  /** Log of the sum of the exponentials of the logits: a logit less this is a log-probability. */
  readonly logSumExp: number;
}

/** Tokens of one pass through the layers; longer batches are cut, in order. */
export const MAX_BATCH_TOKENS = 256;

export interface Runner {
  readonly config: LoopLMConfig;
  readonly device: Device;
  /** How a loop is cut into programs. */
  readonly partition: 'by-layer' | 'by-loop';
  /** (token, loop) pairs computed so far. */
  readonly numExecuted: number;
  /** An empty cache of `numPlanes` planes. The caller disposes it. */
  openRun(numPlanes: number): CachedRun;
  /** What each hidden state `[D]` says of the next token. */
  readout(states: readonly Float32Array[]): Promise<readonly Readout[]>;
  dispose(): Promise<void>;
}

/** Keys and values of sequences under way, by plane and position. */
export interface CachedRun {
  /** Gives every token of a sequence a place in all planes. @throws CapacityError if there is none */
  reserve(sequence: Sequence): Promise<void>;
  /**
   * Runs the next loop of every entry: its hidden state and depth advance and its keys and values
   * are written. Returns the gate logit of each entry.
   */
  runLoop(run: LoopRun): Promise<readonly number[]>;
  /** Commands that copy what a token left in one plane into others. */
  copyCommands(entry: BatchEntry, from: number, to: readonly number[]): readonly Command[];
  /** Drops all planes but one, which becomes plane 0. */
  keepOnly(plane: number): Promise<void>;
  /** Gives back the places of a finished sequence. */
  release(sequence: Sequence): void;
  dispose(): Promise<void>;
}

/** Runs a loop in pieces of at most `MAX_BATCH_TOKENS`. */
export async function inPieces(
  run: LoopRun,
  runPiece: (piece: LoopRun) => Promise<readonly number[]>,
): Promise<readonly number[]> {
  const gateLogits: number[] = [];
  for (let start = 0; start < run.entries.length; start += MAX_BATCH_TOKENS) {
    const entries = run.entries.slice(start, start + MAX_BATCH_TOKENS);
    gateLogits.push(...(await runPiece({ ...run, entries })));
  }
  return gateLogits;
}
