/**
 * Plays random requests against one engine: they come at random times, alone or in calls of several,
 * and what comes of each is judged as it comes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine, FinishEvent, FinishReason, TokenEvent } from '../../src/engine/index.js';
import { Draw } from '../draw.js';
import type { StressRequest } from './requests.js';
import { drawRequest } from './requests.js';

/** What came of one request. */
export interface Outcome {
  readonly index: number;
  readonly tokens: TokenEvent[];
  /** How it ended; `left` if its call was not read to the end. Absent while it is under way. */
  end?: 'finished' | 'aborted' | 'failed' | 'left';
  finish?: FinishEvent;
  /** What is wrong with it, in words. */
  readonly faults: string[];
}

export interface PlayOptions {
  readonly seed: number;
  readonly count: number;
  /** Calls under way at a time, at most. */
  readonly maxCalls: number;
  /** Milliseconds between two calls, on average. */
  readonly pauseMs: number;
  /** Gives up what is under way and begins nothing more. */
  readonly signal?: AbortSignal;
  /** No more calls begin after it. */
  readonly deadline?: number;
  readonly onProgress?: (outcomes: readonly Outcome[]) => void;
}

/** A run in which nothing happens for so long has lost something. */
const HANG_MS = 60_000;

/** Words that keep draws of one index apart from those of its request. */
const OF_CALLS = 3;

/** The requests that were begun, each with its end, in the order of their indices. */
export async function play(engine: Engine, options: PlayOptions): Promise<readonly Outcome[]> {
  const { seed, count, maxCalls, pauseMs, signal, deadline = Infinity } = options;
  const outcomes: Outcome[] = [];
  const open = new Set<Promise<void>>();
  let lastEventAt = performance.now();
  const onEvent = () => {
    lastEventAt = performance.now();
    options.onProgress?.(outcomes);
  };
  while (outcomes.length < count && !signal?.aborted && performance.now() < deadline) {
    const draw = new Draw(seed, OF_CALLS, outcomes.length);
    const size = draw.oneIn(8) ? 2 + draw.below(5) : 1;
    const requests = Array.from({ length: Math.min(size, count - outcomes.length) }, (_, offset) =>
      drawRequest(seed, outcomes.length + offset, engine.config),
    );
    const own = requests.map(({ index }): Outcome => ({ index, tokens: [], faults: [] }));
    outcomes.push(...own);
    const call: Promise<void> = playCall(engine, requests, own, { signal, onEvent }).finally(() =>
      open.delete(call),
    );
    open.add(call);
    if (!draw.oneIn(4)) await sleep(draw.below(2 * pauseMs));
    while (open.size >= maxCalls && !isHanging(lastEventAt)) await nextOf(open);
    if (isHanging(lastEventAt)) break;
  }
  while (open.size > 0 && !isHanging(lastEventAt)) await nextOf(open);
  for (const { end, faults } of outcomes) if (!end) faults.push('it never ended');
  return outcomes;
}

const isHanging = (lastEventAt: number) => performance.now() - lastEventAt > HANG_MS;

/** Waits for a call to end, but not for ever. */
async function nextOf(open: ReadonlySet<Promise<void>>): Promise<void> {
  const stop = new AbortController();
  const patience = sleep(HANG_MS / 10, undefined, stop).catch(() => {});
  await Promise.race([...open, patience]);
  stop.abort();
}

interface CallOptions {
  readonly signal: AbortSignal | undefined;
  readonly onEvent: () => void;
}

async function playCall(
  engine: Engine,
  requests: readonly StressRequest[],
  outcomes: readonly Outcome[],
  { signal, onEvent }: CallOptions,
): Promise<void> {
  const stops = requests.map(() => new AbortController());
  const timers = requests.map(({ givingUp }, index) => {
    const stop = stops[index]!;
    if (givingUp?.kind === 'after-events' && givingUp.count === 0) stop.abort();
    if (givingUp?.kind === 'after-ms') return setTimeout(() => stop.abort(), givingUp.ms);
    return undefined;
  });
  const call = requests.map(({ request }, index) => ({
    ...request,
    signal: AbortSignal.any([stops[index]!.signal, ...(signal ? [signal] : [])]),
  }));
  const leavesAfter = requests
    .map(({ givingUp }) => (givingUp?.kind === 'leave' ? givingUp.count : Infinity))
    .reduce((least, events) => Math.min(least, events));
  let [numEvents, hasLeft] = [0, false];
  try {
    for await (const event of engine.generate(call)) {
      onEvent();
      const outcome = outcomes[event.requestIndex];
      if (!outcome) {
        outcomes[0]!.faults.push(`an event of request ${event.requestIndex} of ${call.length}`);
        continue;
      }
      const { request, givingUp, restMs } = requests[event.requestIndex]!;
      if (event.kind === 'token') noteToken(outcome, event, request.maxNewTokens);
      else noteFinish(outcome, event, requests[event.requestIndex]!, stops[event.requestIndex]!);
      numEvents++;
      if (givingUp?.kind === 'after-events' && outcome.tokens.length === givingUp.count) {
        stops[event.requestIndex]!.abort();
      }
      if (numEvents === leavesAfter) {
        hasLeft = true;
        break;
      }
      if (restMs > 0) await sleep(restMs);
    }
    for (const outcome of outcomes) {
      if (hasLeft) outcome.end ??= 'left';
      else if (!outcome.end) outcome.faults.push('its call ended without its end');
    }
  } catch (error) {
    noteFailure(outcomes, requests, error);
  }
  for (const timer of timers) clearTimeout(timer);
  onEvent();
}

function noteToken({ tokens, end, faults }: Outcome, event: TokenEvent, most: number): void {
  if (end) faults.push(`a token after its end: ${end}`);
  if (event.tokenIndex !== tokens.length) {
    faults.push(`token ${event.tokenIndex} where ${tokens.length} was due`);
  }
  if (tokens.length === most) faults.push(`more than ${most} tokens`);
  if (!(event.logprob <= 0)) faults.push(`log-probability ${event.logprob}`);
  tokens.push(event);
}

function noteFinish(
  outcome: Outcome,
  event: FinishEvent,
  { request }: StressRequest,
  { signal }: AbortController,
): void {
  const { tokens, faults } = outcome;
  if (outcome.end) faults.push(`a second end after ${outcome.end}`);
  outcome.finish = event;
  outcome.end = event.finishReason === 'aborted' ? 'aborted' : 'finished';
  const isStop = request.stopIds!.includes(tokens.at(-1)?.tokenId ?? -1);
  const isFull = tokens.length === request.maxNewTokens;
  const holds: Readonly<Record<FinishReason, boolean>> = {
    'stop-id': isStop,
    'stop-string': false,
    'max-new-tokens': isFull && !isStop,
    'context-limit': !isFull && !isStop,
    aborted: signal.aborted || !isFull,
  };
  if (!holds[event.finishReason]) {
    faults.push(`it ended with ${event.finishReason} after ${tokens.length} tokens`);
  }
  const recorded = event.rollout?.tokenIds.join() ?? 'nothing';
  const expected = request.record ? tokens.map(({ tokenId }) => tokenId).join() : 'nothing';
  if (recorded !== expected) faults.push(`its record holds ${recorded}, and it gave ${expected}`);
}

/** Only a replay that runs out of depths may fail; the others of its call have ended. */
function noteFailure(
  outcomes: readonly Outcome[],
  requests: readonly StressRequest[],
  error: unknown,
): void {
  const message = error instanceof Error ? error.message : String(error);
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.end) continue;
    outcome.end = 'failed';
    const { exitPolicy } = requests[index]!.request;
    const isMeant =
      message.startsWith('Exit policy replay has') && exitPolicy.name.startsWith('replay');
    if (!isMeant) outcome.faults.push(`it failed: ${message}`);
  }
  if (outcomes.every(({ end }) => end !== 'failed')) {
    outcomes[0]!.faults.push(`its call threw though all had ended: ${message}`);
  }
}
