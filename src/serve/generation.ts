/**
 * From the sequences that a request asks for to their events: checked, admitted, run side by side,
 * counted, and ended by whatever comes first: their end, the client's, or the time limit.
 */
import type { GenerateOptions, TextEvent, TextFinishEvent } from '../loop-lm.js';
import type { Ticket } from './admission.js';
import { wireFinishReason } from './answers/pieces.js';
import { UsageCount } from './answers/usage.js';
import { ApiError, toApiError } from './errors.js';
import { merge } from './merge.js';
import type { RequestTimes } from './metrics.js';
import type { Scope, Server } from './server.js';
import { checkTextLength } from './text-limit.js';
import type { WireUsage } from './wire/usage.js';

/** Prompts to continue, each as often as there are choices. */
export interface GenerationPlan {
  /** Texts or token ids. */
  readonly prompts: readonly (string | readonly number[])[];
  /** For each prompt. */
  readonly numChoices: number;
  /** Of choice i of every prompt, seed + i. */
  readonly seed: number;
  readonly options: GenerateOptions;
  /** The field of the body that holds the prompts, for errors. */
  readonly param: string;
  /** Who asks, for the log. */
  readonly user?: string | undefined;
}

/** An event of one sequence; sequences of a prompt follow each other. */
export interface SequenceEvent {
  readonly index: number;
  readonly event: TextEvent;
}

/** A request that was let in. */
export interface Generation {
  /** Token ids of each prompt. */
  readonly promptIds: readonly (readonly number[])[];
  /** Must be read, or left. */
  readonly events: AsyncGenerator<SequenceEvent>;
  /** Gives it up. */
  readonly stop: (reason: unknown) => void;
  /** What it took, as far as it has ended. */
  readonly usage: UsageCount;
}

/**
 * Lets a request in.
 *
 * @throws ApiError, before anything is computed, if it cannot be served, or not now
 */
export function startGeneration(server: Server, scope: Scope, plan: GenerationPlan): Generation {
  const size = plan.prompts.length * plan.numChoices;
  server.admission.check(size);
  const promptIds = plan.prompts.map((prompt) => checkPrompt(server, prompt, plan));
  const controller = new AbortController();
  const stop = (reason: unknown) => controller.abort(reason);
  const signal = AbortSignal.any([scope.signal, controller.signal]);
  const ticket = server.admission.enter(size, plan.options.priority ?? 0, signal);
  const usage = new UsageCount(plan.numChoices);
  const run = new GenerationRun(server, scope, plan, { promptIds, ticket, signal, usage, stop });
  return { promptIds, events: run.events(), stop, usage };
}

/** What `generate` would refuse is told now, with the field that it is about. */
function checkPrompt(
  { model, maxTextBytes }: Server,
  prompt: string | readonly number[],
  { options, param }: GenerationPlan,
): readonly number[] {
  if (typeof prompt === 'string') checkTextLength(prompt, maxTextBytes, param);
  try {
    return model.check(prompt, options);
  } catch (error) {
    const { status, message, code, param: own, cause } = toApiError(error, { isChecking: true });
    throw new ApiError(status, message, { code, param: own ?? param, cause });
  }
}

interface Admitted {
  readonly promptIds: readonly (readonly number[])[];
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
  readonly usage: UsageCount;
  readonly stop: (reason: unknown) => void;
}

class GenerationRun {
  readonly #server: Server;
  readonly #scope: Scope;
  readonly #plan: GenerationPlan;
  readonly #admitted: Admitted;
  readonly #times: RequestTimes;
  readonly #lastTokenAt = new Map<number, number>();
  readonly #finishes = new Map<number, TextFinishEvent>();
  /** Ends its sequences with the tokens that they have. */
  readonly #ending = new AbortController();

  constructor(server: Server, scope: Scope, plan: GenerationPlan, admitted: Admitted) {
    this.#server = server;
    this.#scope = scope;
    this.#plan = plan;
    this.#admitted = admitted;
    this.#times = { arrivedAt: scope.arrivedAt };
  }

  async *events(): AsyncGenerator<SequenceEvent> {
    const { ticket, signal, stop } = this.#admitted;
    const { requestTimeoutMs } = this.#server.settings;
    const limit = setTimeout(() => stop(timeoutError(requestTimeoutMs)), requestTimeoutMs);
    let failure: unknown;
    const leave = this.#server.running.add(() => this.#ending.abort());
    try {
      await ticket.turn;
      this.#times.admittedAt = performance.now();
      for await (const { index, value } of merge(this.#sequences())) {
        signal.throwIfAborted();
        this.#note(index, value);
        yield { index, event: this.#isProcessed ? processed(value) : value };
      }
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      clearTimeout(limit);
      leave();
      stop(new Error('The request was left.'));
      ticket.release();
      this.#close(failure);
    }
  }

  #sequences(): AsyncGenerator<TextEvent>[] {
    const { numChoices, seed, options } = this.#plan;
    const { promptIds } = this.#admitted;
    const signal = AbortSignal.any([this.#admitted.signal, this.#ending.signal]);
    const { topLogprobs: behaviorLogprobs } = options;
    const shown = this.#isProcessed ? { topLogprobs: undefined, behaviorLogprobs } : {};
    return promptIds.flatMap((ids) => {
      this.#server.metrics.prompt(ids.length);
      return Array.from({ length: numChoices }, (_, choice) => {
        const sampling = { ...options.sampling, seed: seed + choice };
        return this.#server.model.generate(ids, { ...options, ...shown, sampling, signal });
      });
    });
  }

  /** Whether log-probabilities are those with which tokens are drawn. */
  get #isProcessed(): boolean {
    return this.#server.settings.logprobsMode === 'processed_logprobs';
  }

  #note(index: number, event: TextEvent): void {
    const { metrics } = this.#server;
    this.#admitted.usage.take(index, event);
    if (event.kind === 'finish') {
      this.#finishes.set(index, event);
      metrics.sequence(wireFinishReason(event), event);
      return;
    }
    const now = performance.now();
    const before = this.#lastTokenAt.get(index);
    this.#lastTokenAt.set(index, now);
    this.#times.firstTokenAt ??= now;
    this.#times.lastTokenAt = now;
    metrics.token(event.exitDepth, before === undefined ? undefined : now - before);
  }

  /** Counts and logs the request, once. */
  #close(failure: unknown): void {
    const { metrics, settings } = this.#server;
    const { prompts, numChoices, user } = this.#plan;
    const now = performance.now();
    const numLost = prompts.length * numChoices - this.#finishes.size;
    const error = failure === undefined ? undefined : toApiError(failure);
    const wasLeft = error === undefined || this.#scope.signal.aborted;
    metrics.failed(wasLeft || error.status === 408 ? 'abort' : 'error', numLost);
    metrics.request(this.#times, now);
    const usage = this.#admitted.usage.total();
    const isFault = error !== undefined && error.status >= 500 && !wasLeft;
    settings.log(isFault ? 'error' : 'info', 'generation', {
      requestId: this.#scope.id,
      ...(user !== undefined && { user }),
      sequences: prompts.length * numChoices,
      ended: [...this.#finishes.values()].map(({ finishReason }) => finishReason),
      ...(numLost > 0 && { lost: numLost }),
      ...(error && !wasLeft && { error: error.message }),
      ...(isFault && { cause: describeCause(error) }),
      ...logUsage(usage),
      ...msSince(this.#times, now),
      ...(settings.logPrompts && {
        prompts,
        answers: [...this.#finishes.values()].map(({ text }) => text),
      }),
    });
  }
}

/** A token with the log-probabilities with which it was drawn in place of the model's. */
function processed(event: TextEvent): TextEvent {
  if (event.kind === 'finish' || !event.behavior) return event;
  const { logprob, topLogprobs } = event.behavior;
  return { ...event, logprob: logprob ?? -Infinity, topLogprobs };
}

function timeoutError(limitMs: number): ApiError {
  return new ApiError(
    408,
    `The request took longer than the ${limitMs / 1000} s that this server gives one. Ask for fewer tokens.`,
    { code: 'request_timeout' },
  );
}

function describeCause({ cause }: ApiError): string | undefined {
  return cause instanceof Error ? (cause.stack ?? cause.message) : undefined;
}

function logUsage(usage: WireUsage) {
  return {
    promptTokens: usage.prompt_tokens,
    newTokens: usage.completion_tokens,
    meanDepth: Number(usage.mean_depth.toFixed(3)),
    loopsSaved: usage.loops_saved,
  };
}

function msSince({ arrivedAt, admittedAt, firstTokenAt }: RequestTimes, now: number) {
  const ms = (at: number | undefined) => at && Math.round(at - arrivedAt);
  return { waitedMs: ms(admittedAt), firstTokenMs: ms(firstTokenAt), ms: ms(now) };
}
