/** Sends a workload to a server as it comes, and notes when each token arrives. */
import { setTimeout } from 'node:timers/promises';
import { median, quantile } from '../lib/statistics.js';
import type { Arrival } from './workload.js';

/** What a request asks for, but for its prompt. */
export type BodyOf = (arrival: Arrival) => Readonly<Record<string, unknown>>;

/** Times of one answer, in milliseconds after it was asked for. */
export interface Answer {
  readonly tokenMs: readonly number[];
}

export interface Load {
  readonly answers: readonly Answer[];
  /** From the first request to the last token. */
  readonly seconds: number;
}

/** Least, median and high quantiles, in milliseconds. */
export interface Spread {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

export interface LoadFigures {
  readonly tokensPerSecond: number;
  readonly firstToken: Spread;
  readonly betweenTokens: Spread;
}

/**
 * Asks without waiting for answers.
 *
 * @throws Error if a request is not answered with as many tokens as it asked for
 */
export async function sendLoad(
  url: string,
  arrivals: readonly Arrival[],
  bodyOf: BodyOf,
): Promise<Load> {
  const startedAt = performance.now();
  const answers = await Promise.all(
    arrivals.map(async (arrival) => {
      await setTimeout(arrival.atMs);
      return ask(url, bodyOf(arrival), arrival.depths.length);
    }),
  );
  return { answers, seconds: (performance.now() - startedAt) / 1000 };
}

async function ask(
  url: string,
  body: Readonly<Record<string, unknown>>,
  numTokens: number,
): Promise<Answer> {
  const askedAt = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const tokenMs: number[] = [];
  for await (const data of eventsOf(response)) {
    const now = performance.now() - askedAt;
    const { choices, error } = JSON.parse(data) as Chunk;
    if (error) throw new Error(error.message);
    for (const _ of choices.flatMap(({ token_ids: ids }) => ids ?? [])) tokenMs.push(now);
  }
  if (tokenMs.length !== numTokens) {
    throw new Error(`A request for ${numTokens} tokens was answered with ${tokenMs.length}.`);
  }
  return { tokenMs };
}

interface Chunk {
  readonly choices: readonly { readonly token_ids?: readonly number[] }[];
  readonly error?: { readonly message: string };
}

async function* eventsOf(response: Response): AsyncGenerator<string> {
  let held = '';
  const decoder = new TextDecoder();
  for await (const bytes of response.body as AsyncIterable<Uint8Array>) {
    held += decoder.decode(bytes, { stream: true });
    const lines = held.split('\n');
    held = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith('data: ') && line !== 'data: [DONE]') yield line.slice(6);
    }
  }
}

export function figuresOf({ answers, seconds }: Load): LoadFigures {
  const all = answers.flatMap(({ tokenMs }) => tokenMs);
  const gaps = answers.flatMap(({ tokenMs }) => tokenMs.slice(1).map((at, n) => at - tokenMs[n]!));
  return {
    tokensPerSecond: all.length / seconds,
    firstToken: spreadOf(answers.map(({ tokenMs }) => tokenMs[0]!)),
    betweenTokens: spreadOf(gaps),
  };
}

function spreadOf(values: readonly number[]): Spread {
  return { p50: median(values), p90: quantile(values, 0.9), p99: quantile(values, 0.99) };
}
