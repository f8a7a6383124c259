/**
 * The requests of the playground: which models there are, and one streamed answer.
 *
 * Addresses are relative to the page. Everything that fails is a `ProblemError`, except a request
 * that its own signal ended.
 */
import { CUT_OFF, ProblemError, problemOfEvent, problemOfStatus, UNREACHABLE } from './problem.js';
import { chatReader, completionReader, readModel, readUsage } from './read.js';
import { readEvents } from './sse.js';
import type { Model, Token, Usage } from './token.js';
import type { WireChunk, WireError, WireModel } from './wire.js';

/** How many of the most likely tokens are asked for, beside each token and in each loop. */
const NUM_CANDIDATES = 5;

export interface ChatMessage {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

/** What an answer is asked with; the wire's names, since they go out as they are. */
export interface RequestSettings {
  readonly exit_policy: string;
  readonly min_depth: number;
  readonly max_depth: number;
  readonly kv_policy: string;
  readonly prefill: string;
  /** Prompts share what was computed of them under the same salt only. */
  readonly cache_salt?: string;
  readonly temperature: number;
  readonly max_tokens: number;
  readonly seed: number;
}

export type AnswerRequest = { readonly model: string; readonly settings: RequestSettings } & (
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }
  | { readonly kind: 'completion'; readonly prompt: string; readonly echo: boolean }
);

/** A piece of an answer under way. */
export type Piece =
  | { readonly kind: 'tokens'; readonly tokens: readonly Token[] }
  | { readonly kind: 'finish'; readonly reason: string }
  | { readonly kind: 'usage'; readonly usage: Usage };

/** @throws ProblemError */
export async function fetchModel(key: string, signal?: AbortSignal): Promise<Model> {
  const response = await send('v1/models', key, signal ? { signal } : {});
  const { data } = (await response.json()) as { readonly data: readonly WireModel[] };
  const [model] = data;
  if (model) return readModel(model);
  throw new ProblemError({
    kind: 'refused',
    title: 'The server has no model.',
    todo: 'Start it with looplm serve --model and a model.',
  });
}

/**
 * Streams one answer.
 *
 * @throws ProblemError; what `signal` throws if it ends the request.
 */
export async function* streamAnswer(
  request: AnswerRequest,
  key: string,
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  const isChat = request.kind === 'chat';
  const start = performance.now();
  const response = await send(isChat ? 'v1/chat/completions' : 'v1/completions', key, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(bodyOf(request)),
    signal,
  });
  const hasEcho = !isChat && request.echo;
  const reader = isChat ? chatReader() : completionReader(hasEcho ? request.prompt.length : 0);
  let isDone = false;
  try {
    for await (const data of readEvents(response.body!)) {
      if (data === '[DONE]') {
        isDone = true;
        break;
      }
      const chunk = JSON.parse(data) as WireChunk;
      if (chunk.error) throw new ProblemError(problemOfEvent(chunk.error));
      yield* piecesOf(chunk, reader.tokens(chunk, performance.now() - start));
    }
  } catch (error) {
    if (error instanceof ProblemError || signal.aborted) throw error;
    throw new ProblemError(CUT_OFF);
  }
  if (!isDone) throw new ProblemError(CUT_OFF);
}

function* piecesOf(chunk: WireChunk, tokens: readonly Token[]): Generator<Piece> {
  if (tokens.length > 0) yield { kind: 'tokens', tokens };
  const reason = chunk.choices?.[0]?.finish_reason;
  if (reason) yield { kind: 'finish', reason };
  if (chunk.usage) yield { kind: 'usage', usage: readUsage(chunk.usage) };
}

function bodyOf(request: AnswerRequest): Readonly<Record<string, unknown>> {
  const common = {
    model: request.model,
    ...request.settings,
    stream: true,
    stream_options: { include_usage: true },
    loop_logprobs: NUM_CANDIDATES,
  };
  return request.kind === 'chat'
    ? { ...common, messages: request.messages, logprobs: true, top_logprobs: NUM_CANDIDATES }
    : { ...common, prompt: request.prompt, echo: request.echo, logprobs: NUM_CANDIDATES };
}

async function send(address: string, key: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key !== '') headers.set('Authorization', `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(address, { ...init, headers, cache: 'no-store' });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ProblemError(UNREACHABLE);
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => '');
  const retryAfter = response.headers.get('Retry-After');
  const problem = problemOfStatus(response.status, errorIn(text), retryAfter, key !== '');
  throw new ProblemError(problem);
}

/** The error in an answer, where it has OpenAI's shape. */
function errorIn(text: string): WireError | undefined {
  try {
    return (JSON.parse(text) as { readonly error?: WireError }).error;
  } catch {
    return undefined;
  }
}
