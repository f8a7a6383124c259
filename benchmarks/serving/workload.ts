/**
 * What is asked of a server: requests that come when they come, whether it keeps up or not.
 */
import { generatorFor } from 'looplm/data';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { NUM_LOOPS } from '../depth/schedule.js';

/** Ways to spend loops on the tokens of a request. */
export const WAYS = ['full depth', 'whole batch', 'by depth'] as const;
export type Way = (typeof WAYS)[number];

/** Tokens that a batch waits for in "whole batch": the deepest of them says how deep all go. */
export const BATCH = 8;

export interface WorkloadOptions {
  readonly numRequests: number;
  /** Requests a second, on average; the gaps between them are exponential. */
  readonly rate: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly vocabSize: number;
  readonly seed: number;
}

export interface Arrival {
  /** Milliseconds after the first one. */
  readonly atMs: number;
  readonly promptIds: readonly number[];
  /** Depth of each new token by its own exit. */
  readonly depths: readonly number[];
  /** Depth of the deepest of its batch, instead. */
  readonly batchDepths: readonly number[];
}

/** Requests of equal options are equal, whatever the rate: only their times differ. */
export function workload(options: WorkloadOptions): readonly Arrival[] {
  const { numRequests, rate, promptTokens, newTokens, vocabSize, seed } = options;
  const times = generatorFor(seed, 0);
  const tokens = generatorFor(seed, 1);
  const exits = generatorFor(seed, 2);
  const drawDepth = () => uniformInt(exits, 1, NUM_LOOPS);
  let atMs = 0;
  return Array.from({ length: numRequests }, (_, index) => {
    if (index > 0) atMs += (-1000 * Math.log(1 - uniformFloat64(times))) / rate;
    const batches = Array.from({ length: newTokens }, () =>
      Array.from({ length: BATCH }, drawDepth),
    );
    return {
      atMs,
      promptIds: Array.from({ length: promptTokens }, () => uniformInt(tokens, 0, vocabSize - 1)),
      depths: batches.map(([own]) => own!),
      batchDepths: batches.map((all) => Math.max(...all)),
    };
  });
}

/** What a way asks for the depths of a request. */
export function exitPolicyOf(way: Way, { depths, batchDepths }: Arrival): string {
  switch (way) {
    case 'full depth':
      return 'full';
    case 'whole batch':
      return `replay:${batchDepths.join(',')}`;
    case 'by depth':
      return `replay:${depths.join(',')}`;
  }
}
