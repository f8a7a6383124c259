/** Requests of every kind that the arrangement is tried with, and what became of them. */
import { isDeepStrictEqual } from 'node:util';
import { Draw } from '../draw.js';

/** A request to send. */
export interface WireRequest {
  readonly path: '/v1/completions' | '/v1/chat/completions';
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** All that must be the same, whoever answers, and in whatever company. */
export interface Answer {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly number[];
  readonly exitDepths: readonly number[];
  readonly finishReason: string | null;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** What a client saw. */
export type Outcome =
  | { readonly kind: 'answered'; readonly answer: Answer; readonly usage: Usage }
  /** An error, told as OpenAI's clients read it. */
  | { readonly kind: 'refused'; readonly status: number; readonly code: string }
  /** The connection broke in the midst of an answer. */
  | { readonly kind: 'broken' }
  /** Anything else: it must not happen. */
  | { readonly kind: 'muddled'; readonly what: string };

const NUM_SESSIONS = 6;

/** The request of a seed with a number, which takes about so many tokens. */
export function drawRequest(seed: number, index: number, maxTokens: number): WireRequest {
  const draw = new Draw(seed, index);
  const isChat = draw.oneIn(2);
  const isStream = draw.oneIn(2);
  const prompt = drawProblem(draw);
  const numTokens = Math.ceil(maxTokens / 2) + draw.below(Math.ceil(maxTokens / 2));
  const body = {
    ...(isChat ? { messages: [{ role: 'user', content: prompt }] } : { prompt }),
    max_tokens: numTokens,
    ignore_eos: true,
    temperature: draw.pick([0, 1]),
    seed: draw.below(1000),
    exit_policy: draw.pick(['full', 'cdf:0.2', 'cdf:0.5', 'fixed:2']),
    speculation: draw.pick(['off', 'auto']),
    ...(isChat ? { logprobs: true, top_logprobs: 0 } : { logprobs: 0 }),
    ...(isStream && { stream: true, stream_options: { include_usage: true } }),
  };
  const session = draw.below(2 * NUM_SESSIONS);
  return {
    path: isChat ? '/v1/chat/completions' : '/v1/completions',
    body,
    // half of them belong to no session
    ...(session < NUM_SESSIONS && { headers: { 'x-session-id': `session ${session}` } }),
  };
}

/** A problem in the language of the bundled model. */
function drawProblem(draw: Draw): string {
  const digit = () => 1 + draw.below(5);
  const swaps = Array.from({ length: 1 + draw.below(8) }, () => `swap ${digit()} ${digit()};`);
  return [`cup ${digit()};`, ...swaps].join(' ');
}

interface Piece {
  readonly choices: readonly {
    readonly text?: string;
    readonly message?: { readonly content: string | null };
    readonly delta?: { readonly content?: string | null };
    readonly logprobs?: WireLogprobs | null;
    readonly finish_reason: string | null;
  }[];
  readonly usage?: Usage | null;
  readonly error?: unknown;
}

interface WireLogprobs {
  readonly content?: readonly { token_id: number; logprob: number; exit_depth: number }[];
  readonly token_ids?: readonly number[];
  readonly token_logprobs?: readonly number[];
  readonly exit_depths?: readonly number[];
}

/** Pieces of one answer, or its only one, as one answer. */
function join(pieces: readonly Piece[]): Answer {
  const choices = pieces.flatMap((piece) => piece.choices);
  const lists = choices.flatMap(({ logprobs }) => (logprobs ? [logprobs] : []));
  const content = lists.flatMap((list) => list.content ?? []);
  const all = <T>(of: (list: WireLogprobs) => readonly T[] | undefined) =>
    lists.flatMap((list) => of(list) ?? []);
  return {
    text: choices
      .map(({ text, message, delta }) => text ?? message?.content ?? delta?.content ?? '')
      .join(''),
    tokenIds: [...all((list) => list.token_ids), ...content.map(({ token_id }) => token_id)],
    logprobs: [...all((list) => list.token_logprobs), ...content.map(({ logprob }) => logprob)],
    exitDepths: [...all((list) => list.exit_depths), ...content.map((token) => token.exit_depth)],
    finishReason: choices.findLast(({ finish_reason }) => finish_reason)?.finish_reason ?? null,
  };
}

function outcomeOf(pieces: readonly Piece[]): Outcome {
  const usage = pieces.findLast((piece) => piece.usage)?.usage;
  if (!usage) return { kind: 'muddled', what: 'an answer without usage' };
  return { kind: 'answered', answer: join(pieces), usage };
}

/** The error in a body or an event, if it has the right shape. */
function refusalOf(status: number, text: string): Outcome {
  try {
    const { error } = JSON.parse(text) as { error: Record<string, unknown> };
    const { message, type, code } = error;
    const isWhole = [message, type, code].every((field) => typeof field === 'string');
    if (isWhole && 'param' in error) return { kind: 'refused', status, code: String(code) };
  } catch {
    // told below
  }
  return { kind: 'muddled', what: `status ${status} with the body ${text.slice(0, 200)}` };
}

function streamOutcome(text: string): Outcome {
  const events = text
    .split('\n\n')
    .flatMap((event) => (event.startsWith('data: ') ? [event.slice('data: '.length)] : []));
  const last = events.at(-1);
  if (last !== undefined && last.startsWith('{"error"')) return refusalOf(200, last);
  if (last !== '[DONE]') return { kind: 'muddled', what: `a stream that ends with ${last}` };
  return outcomeOf(events.slice(0, -1).map((event) => JSON.parse(event) as Piece));
}

/** Sends a request and waits for what becomes of it. */
export async function send(
  url: string,
  request: WireRequest,
  id: string,
  signal: AbortSignal | null = null,
): Promise<Outcome> {
  const headers = { 'content-type': 'application/json', 'x-request-id': id, ...request.headers };
  const body = JSON.stringify(request.body);
  let status: number;
  let text: string;
  try {
    const response = await fetch(url + request.path, { method: 'POST', headers, body, signal });
    status = response.status;
    text = await response.text();
  } catch {
    return { kind: 'broken' };
  }
  if (status !== 200) return refusalOf(status, text);
  return request.body['stream'] ? streamOutcome(text) : outcomeOf([JSON.parse(text) as Piece]);
}

/** What is wrong with an answer that should be this one. */
export function compare(outcome: Outcome, expected: Answer): string | undefined {
  if (outcome.kind !== 'answered') return JSON.stringify(outcome);
  if (isDeepStrictEqual(outcome.answer, expected)) return undefined;
  return `answers ${JSON.stringify(outcome.answer)} and alone ${JSON.stringify(expected)}`;
}

/** Does all tasks, so many at a time. */
export async function inParallel<T>(
  tasks: readonly (() => Promise<T>)[],
  numAtATime: number,
): Promise<readonly T[]> {
  const results: T[] = [];
  const rest = tasks.entries();
  const work = async () => {
    for (const [index, task] of rest) results[index] = await task();
  };
  await Promise.all(Array.from({ length: numAtATime }, work));
  return results;
}
