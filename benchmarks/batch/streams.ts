/**
 * Decoding of several streams at once, at forced depths, on a model of full size.
 *
 * The prompts have been computed before and are taken over, so that all streams give their first token
 * in the same step; the clock starts there and ends with the last token of all.
 */
import type { Engine, KvPolicy } from 'looplm/engine';
import { parseSamplingOptions, replay } from 'looplm/engine';
import type { ReadoutClock } from '../lib/readout-clock.js';
import { NUM_LOOPS } from '../depth/schedule.js';
import { inLockstep, NUM_TOKENS, scheduleStreams } from './schedule.js';

/** Numbers of streams. */
export const STREAMS = [1, 2, 4, 8, 16];

/** Ways to decode. */
export const WAYS = ['full depth', 'naive', 'last-exited', 'per-loop'] as const;
export type Way = (typeof WAYS)[number];

/** Seconds of a run. */
export interface Timing {
  readonly all: number;
  /** Of it the head, and the choice of tokens from its logits. */
  readonly readout: number;
}

export type Prompts = readonly (readonly number[])[];

/** Tokens of all streams of a run that are timed. */
export const tokensOf = (streams: number): number => streams * NUM_TOKENS;

/** The depths that a way runs in a round, by stream. */
export function depthsOf(way: Way, streams: number, round: number, seed: number): number[][] {
  const drawn = scheduleStreams(streams, round, seed);
  if (way === 'full depth') return drawn.map((own) => own.map(() => NUM_LOOPS));
  return way === 'naive' ? inLockstep(drawn) : drawn;
}

/** At full depth, and where rows wait for each other, nobody defers anything. */
const policyOf = (way: Way): KvPolicy => (way === 'per-loop' ? way : 'last-exited');

/** Computes the prompts, which stay for the runs. */
export async function prefill(
  engine: Engine,
  prompts: Prompts,
  onPrompt: (index: number) => void,
): Promise<void> {
  for (const [index, promptIds] of prompts.entries()) {
    onPrompt(index);
    await readAll(engine, [[NUM_LOOPS]], [promptIds], 'last-exited', () => {});
  }
}

export async function timeStreams(
  engine: Engine,
  clock: ReadoutClock,
  prompts: Prompts,
  way: Way,
  depths: readonly (readonly number[])[],
): Promise<Timing> {
  // The prompt gives the first token.
  const withFirst = depths.map((own) => [NUM_LOOPS, ...own]);
  const own = prompts.slice(0, depths.length);
  let [numFirst, start, end, readoutBefore] = [0, 0, 0, 0];
  await readAll(engine, withFirst, own, policyOf(way), (tokenIndex) => {
    if (tokenIndex > 0 && numFirst < own.length) throw new Error('streams began one by one');
    end = performance.now();
    if (tokenIndex > 0) return;
    numFirst++;
    [start, readoutBefore] = [end, clock.readoutMs];
  });
  return { all: (end - start) / 1000, readout: (clock.readoutMs - readoutBefore) / 1000 };
}

async function readAll(
  engine: Engine,
  depths: readonly (readonly number[])[],
  prompts: Prompts,
  kvPolicy: KvPolicy,
  onToken: (tokenIndex: number) => void,
): Promise<void> {
  const requests = prompts.map((promptIds, stream) => ({
    promptIds,
    maxNewTokens: depths[stream]!.length,
    exitPolicy: replay(depths[stream]!),
    sampling: parseSamplingOptions({}),
    kvPolicy,
    prefill: 'full' as const,
  }));
  for await (const event of engine.generate(requests)) {
    if (event.kind === 'token') onToken(event.tokenIndex);
  }
}
