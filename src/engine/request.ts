/**
 * What a caller asks of the engine, checked, and the events that answer it.
 */
import { CapacityError, ConfigError, RequestError } from '../errors.js';
import type { KvPolicy, LoopLMConfig } from '../model/index.js';
import { hasExitGate, resolveNumLoops } from '../model/index.js';
import { showValue } from '../util/quote.js';
import type { ExitPolicy } from './exit-policy.js';
import { checkExitPolicy, checkGateless } from './exit-policy.js';
import type { FinishReason, PrefillMode, RolloutRecord } from './rollout.js';
import type { SamplingOptions } from './sampler.js';
import type { Speculation } from './speculation/speculation.js';
import type { BehaviorLogprobs, LoopDetail, ScoredToken, TokenLogprob } from './token-logprobs.js';

/** One sequence to continue. */
export interface GenerationRequest {
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  readonly exitPolicy: ExitPolicy;
  readonly sampling: SamplingOptions;
  /** Generating one of these ends the sequence. */
  readonly stopIds?: readonly number[];
  /**
   * Tokens that are taken whatever the logits say: token n is `forcedIds[n]`. What would have been
   * chosen is still reported (teacher forcing).
   */
  readonly forcedIds?: readonly number[];
  /** Default `per-loop`. */
  readonly kvPolicy?: KvPolicy;
  /** Default: that of `prefillOf`. */
  readonly prefill?: PrefillMode;
  /** Loops of full depth; default the model's own. More than it was trained with is allowed. */
  readonly numLoops?: number;
  /** Returns a rollout record with the finish; costs a readout of every executed loop. */
  readonly record?: boolean;
  /** How many of the most likely tokens come with every token. Default none. */
  readonly topLogprobs?: number;
  /**
   * What every executed loop said comes with every token, and so many most likely ones of each; costs a
   * readout of every loop.
   */
  readonly loopLogprobs?: number;
  /**
   * Scores the prompt, each token at the exit depth of the one before it, with so many most likely ones.
   * Runs all of the prompt, and takes nothing over from others.
   */
  readonly promptLogprobs?: number;
  /** Divides the logits that score the prompt. Default 1. */
  readonly promptTemperature?: number;
  /** How every token was drawn comes with it, and so many of the tokens most likely to be. */
  readonly behaviorLogprobs?: number;
  /** Default `off`. Works under `per-loop`, and changes no token, only the time and the loops run. */
  readonly speculation?: Speculation;
  /**
   * Whether what was computed of prompts that begin alike is shared with other requests; changes no
   * result. Default true.
   */
  readonly cachePrefix?: boolean;
  /** Prompts share beginnings only with those of the same salt. */
  readonly cacheSalt?: string;
  /** Requests of larger priority go first; default 0. */
  readonly priority?: number;
  /** Ends the sequence with `aborted` before the next step. */
  readonly signal?: AbortSignal;
}

/** A new token of a sequence. */
export interface TokenEvent {
  readonly kind: 'token';
  /** Index into the requests of the call. */
  readonly requestIndex: number;
  /** Index among the sequence's new tokens, from 0. */
  readonly tokenIndex: number;
  readonly tokenId: number;
  /** The token that sampling chose; differs from `tokenId` only where one was forced. */
  readonly sampledId: number;
  /** Depth whose readout gave the token, 1 to R. */
  readonly exitDepth: number;
  /** log softmax(logits)[tokenId] at the exit depth: no temperature, no filters. */
  readonly logprob: number;
  /** The most likely tokens at the exit depth, falling, if they were asked for. */
  readonly topLogprobs?: readonly TokenLogprob[];
  /** How it was drawn, if that was asked for. */
  readonly behavior?: BehaviorLogprobs;
  /** What every executed loop said, if that was asked for. */
  readonly loops?: readonly LoopDetail[];
  /** Of the first token: all tokens of the prompt, if they were to be scored. */
  readonly promptTokens?: readonly ScoredToken[];
}

/** The end of a sequence; every sequence has exactly one. */
export interface FinishEvent {
  readonly kind: 'finish';
  readonly requestIndex: number;
  readonly finishReason: FinishReason;
  /**
   * (token, loop) pairs computed for this sequence: prompt, deferred loops, and what was computed again
   * after its memory had gone to another.
   */
  readonly executedLoops: number;
  /** The same if every token had run to full depth. */
  readonly fullDepthLoops: number;
  readonly numPromptTokens: number;
  /** Prompt tokens that earlier requests had run through the first loop, or deeper. */
  readonly cachedTokens: number;
  /** Tokens that were guessed at a shallow depth, and how many of the guesses were right. */
  readonly draftedTokens: number;
  readonly acceptedTokens: number;
  /** Of the weights now: updates behind them, 0 for weights that do not change. */
  readonly weightsVersion: number;
  /** Present when the request records. */
  readonly rollout?: RolloutRecord;
}

export type EngineEvent = TokenEvent | FinishEvent;

/**
 * How deep the prompt of a request goes. Without a wish: where it changes no result, no deeper than some
 * token asks for; else, and if all of it is to be scored, all the way.
 */
export function prefillOf({
  kvPolicy = 'per-loop',
  promptLogprobs,
  prefill = kvPolicy === 'per-loop' && promptLogprobs === undefined ? 'deferred' : 'full',
}: Pick<GenerationRequest, 'kvPolicy' | 'promptLogprobs' | 'prefill'>): PrefillMode {
  return prefill;
}

/** @throws LoopLMError if there is no request, or one that cannot be served */
export function checkRequests(config: LoopLMConfig, requests: readonly GenerationRequest[]): void {
  if (requests.length === 0) throw new RequestError('There are no requests; give at least one.');
  for (const request of requests) checkRequest(config, request);
}

function checkRequest(config: LoopLMConfig, request: GenerationRequest): void {
  const { promptIds, maxNewTokens, exitPolicy, sampling, stopIds = [], forcedIds = [] } = request;
  const { kvPolicy = 'per-loop', prefill, priority = 0 } = request;
  const numLoops = resolveNumLoops(config, request.numLoops);
  if (prefill === 'deferred' && kvPolicy !== 'per-loop') {
    throw new ConfigError(
      'prefill',
      `prefill deferred does not work with KV policy ${kvPolicy}; use per-loop, or prefill full.`,
    );
  }
  if (prefill === 'deferred' && request.promptLogprobs !== undefined) {
    throw new ConfigError(
      'prefill',
      'prefill deferred does not work with promptLogprobs, which read every token of the prompt; leave one of them out.',
    );
  }
  for (const field of LOGPROB_COUNTS) checkLogprobCount(field, request[field]);
  const { promptTemperature = 1 } = request;
  if (!(promptTemperature > 0 && promptTemperature < Infinity)) {
    throw new ConfigError(
      'promptTemperature',
      `promptTemperature is ${showValue(promptTemperature)}; it must be a number above 0. Use 1 for the model as it is.`,
    );
  }
  checkSpeculation(request.speculation ?? 'off', kvPolicy, numLoops);
  if (prefill === 'adaptive' && kvPolicy !== 'last-exited') {
    throw new ConfigError(
      'prefill',
      `prefill adaptive does not work with KV policy ${kvPolicy}; use last-exited, or prefill full.`,
    );
  }
  if (!Number.isFinite(priority)) {
    throw new ConfigError('priority', `priority is ${priority}; it must be a finite number.`);
  }
  if (promptIds.length === 0) {
    throw new RequestError('The prompt is empty; give at least one token.');
  }
  checkIds(config, promptIds, 'The prompt');
  checkIds(config, stopIds, 'The stop ids');
  checkIds(config, forcedIds, 'The forced ids');
  checkIds(config, Object.keys(sampling.logitBias ?? {}).map(Number), 'The ids of logitBias');
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
    throw new ConfigError(
      'maxNewTokens',
      `maxNewTokens is ${showValue(maxNewTokens)}; it must be a whole number from 1 up.`,
    );
  }
  if (promptIds.length > config.maxPositionEmbeddings) {
    throw new CapacityError(
      `The prompt has ${promptIds.length} tokens; the model's context holds ${config.maxPositionEmbeddings}. Shorten the prompt.`,
    );
  }
  checkExitPolicy(exitPolicy, numLoops);
  if (!hasExitGate(config)) checkGateless(exitPolicy, config.architecture);
}

const LOGPROB_COUNTS = [
  'topLogprobs',
  'loopLogprobs',
  'promptLogprobs',
  'behaviorLogprobs',
] as const;

function checkLogprobCount(field: string, count = 0): void {
  if (Number.isInteger(count) && count >= 0) return;
  throw new ConfigError(
    field,
    `${field} is ${showValue(count)}; it must be a whole number from 0 up, of most likely tokens.`,
  );
}

function checkSpeculation(speculation: Speculation, kvPolicy: KvPolicy, numLoops: number): void {
  if (speculation === 'off') return;
  if (kvPolicy !== 'per-loop') {
    throw new ConfigError(
      'speculation',
      `speculation does not work with KV policy ${kvPolicy}, whose tokens cannot go deeper after others have read them; use per-loop, or speculation off.`,
    );
  }
  if (speculation === 'auto') return;
  if (Number.isInteger(speculation) && speculation >= 1 && speculation < numLoops) return;
  throw new ConfigError(
    'speculation',
    numLoops === 1
      ? 'speculation needs a run of at least two loops, and this one has one; use speculation off.'
      : `speculation is at depth ${showValue(speculation)}; it must be a whole number from 1 to ${numLoops - 1}, less than the loops of the run.`,
  );
}

function checkIds(config: LoopLMConfig, ids: readonly number[], what: string): void {
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= config.vocabSize) {
      throw new RequestError(
        `${what} contain${what.endsWith('s') ? '' : 's'} token id ${showValue(id)}; ids must be whole numbers from 0 to ${config.vocabSize - 1}. Check the tokenizer.`,
      );
    }
  }
}
