/**
 * Answers of a policy to prompts, drawn by an engine.
 *
 * What is asked for is plain data, so that another machine may be asked; an answer follows from that and the
 * weights, to the bit, whatever else is drawn at the same time.
 */
import type { Engine, RolloutRecord } from '../engine/index.js';
import { parseExitPolicy, parseSamplingOptions } from '../engine/index.js';
import type { ReplayedKvPolicy } from './objective-settings.js';

/** Some answers to one prompt. */
export interface GroupRequest {
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** Generating one of them ends an answer. */
  readonly stopIds: readonly number[];
  /** As `parseExitPolicy` reads it. */
  readonly exitPolicy: string;
  readonly kvPolicy: ReplayedKvPolicy;
  /** Of the answers, one each. */
  readonly seeds: readonly number[];
}

/** What was drawn, and what it cost. */
export interface DrawnAnswer {
  readonly record: RolloutRecord;
  /** (token, loop) pairs computed for it, its prompt included. */
  readonly executedLoops: number;
  readonly fullDepthLoops: number;
}

/** An answer among those of several groups. */
export interface GroupAnswer extends DrawnAnswer {
  readonly group: number;
  /** Index of its seed. */
  readonly index: number;
  /** Updates between the weights that it was drawn by and those that it is for. */
  readonly staleness: number;
}

/**
 * The answers of all groups, as they end, from the weights as they are.
 *
 * @throws LoopLMError, before anything is computed, if a request cannot be served; the signal's reason when it
 * aborts
 */
export async function* drawAnswers(
  engine: Engine,
  groups: readonly GroupRequest[],
  signal: AbortSignal | undefined,
): AsyncGenerator<GroupAnswer> {
  const places = groups.flatMap(({ seeds }, group) => seeds.map((_, index) => ({ group, index })));
  const requests = groups.flatMap(({ seeds, exitPolicy, ...request }) =>
    seeds.map((seed) => ({
      ...request,
      exitPolicy: parseExitPolicy(exitPolicy),
      sampling: parseSamplingOptions({ temperature: 1, seed }),
      record: true,
      ...(signal && { signal }),
    })),
  );
  for await (const event of engine.generate(requests)) {
    signal?.throwIfAborted();
    if (event.kind !== 'finish') continue;
    const { rollout, executedLoops, fullDepthLoops, requestIndex } = event;
    const place = places[requestIndex]!;
    yield { ...place, record: rollout!, executedLoops, fullDepthLoops, staleness: 0 };
  }
  signal?.throwIfAborted();
}
