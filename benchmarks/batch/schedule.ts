/**
 * Which depths the tokens of each stream are forced to, and what they come to.
 *
 * Every stream runs the same number of loops, in an order of its own, so that all end with the same
 * step and the batch is full up to then. Each ends with one of its deepest tokens, which under
 * `per-loop` pays for the loops that the others have deferred.
 */
import { drawDepths } from '../depth/schedule.js';

/** Tokens of depth 1 to 4: all alike, mean 2.5. */
const COUNTS = [2, 2, 2, 2];

/** Tokens of a stream. */
export const NUM_TOKENS = COUNTS.reduce((sum, count) => sum + count);

/** Depths by stream. @param round - from 0 */
export function scheduleStreams(streams: number, round: number, seed: number): number[][] {
  return Array.from({ length: streams }, (_, stream) => drawDepths(COUNTS, seed, round, stream));
}

/** The same where each token waits for the deepest of its row: all of them run as deep. */
export function inLockstep(depths: readonly (readonly number[])[]): number[][] {
  return depths.map((own) => own.map((_, n) => Math.max(...depths.map((other) => other[n]!))));
}

/** Loops that are run of each token under `per-loop`, deferred ones included: D_i of docs/math.md. */
export function withDeferredLoops(depths: readonly number[]): number[] {
  return depths.map((_, n) => Math.max(...depths.slice(n)));
}

export function meanOf(depths: readonly (readonly number[])[]): number {
  const all = depths.flat();
  return all.reduce((sum, depth) => sum + depth, 0) / all.length;
}
