/**
 * What a caller asks of the engine, checked: requests, run options and the events that answer them.
 */
import { CapacityError, ConfigError, RequestError } from '../errors.js';
import type { LoopLMConfig } from '../model/index.js';
import { hasExitGate, resolveNumLoops } from '../model/index.js';
import { showValue } from '../util/quote.js';
import type { ExitPolicy } from './exit-policy.js';
import { checkExitPolicy, checkGateless } from './exit-policy.js';
import type { FinishReason, KvPolicy, PrefillMode, RolloutRecord } from './rollout.js';
import type { SamplingOptions } from './sampler.js';

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
}

/** Settings shared by the sequences of one run. */
export interface RunOptions {
  /** Default `per-loop`. */
  readonly kvPolicy?: KvPolicy;
  /** Default `full`. */
  readonly prefill?: PrefillMode;
  /** Loops of full depth; default the model's own. More than it was trained with is allowed. */
  readonly numLoops?: number;
  /** Returns a rollout record with every finish; costs a readout of every executed loop. */
  readonly record?: boolean;
  /** Ends every sequence with `aborted` at the next loop boundary. */
  readonly signal?: AbortSignal;
}

/** A new token of a sequence. */
export interface TokenEvent {
  readonly kind: 'token';
  /** Index into the requests of the run. */
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
}

/** The end of a sequence; every sequence has exactly one. */
export interface FinishEvent {
  readonly kind: 'finish';
  readonly requestIndex: number;
  readonly finishReason: FinishReason;
  /** (token, loop) pairs computed for this sequence, prompt and deferred loops included. */
  readonly executedLoops: number;
  /** The same if every token had run to full depth. */
  readonly fullDepthLoops: number;
  /** Present when the run records. */
  readonly rollout?: RolloutRecord;
}

export type EngineEvent = TokenEvent | FinishEvent;

/** @throws LoopLMError if a request or the combination of options cannot be served */
export function checkRun(
  config: LoopLMConfig,
  requests: readonly GenerationRequest[],
  options: RunOptions,
): void {
  const numLoops = resolveNumLoops(config, options.numLoops);
  if (requests.length === 0) throw new RequestError('The run has no requests; give at least one.');
  if (options.prefill === 'deferred' && (options.kvPolicy ?? 'per-loop') !== 'per-loop') {
    throw new ConfigError(
      'prefill',
      `prefill deferred does not work with KV policy ${options.kvPolicy}; use per-loop, or prefill full.`,
    );
  }
  for (const request of requests) checkRequest(config, request, numLoops);
}

function checkRequest(
  config: LoopLMConfig,
  { promptIds, maxNewTokens, exitPolicy, stopIds = [], forcedIds = [] }: GenerationRequest,
  numLoops: number,
): void {
  if (promptIds.length === 0) {
    throw new RequestError('The prompt is empty; give at least one token.');
  }
  checkIds(config, promptIds, 'The prompt');
  checkIds(config, stopIds, 'The stop ids');
  checkIds(config, forcedIds, 'The forced ids');
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

function checkIds(config: LoopLMConfig, ids: readonly number[], what: string): void {
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= config.vocabSize) {
      throw new RequestError(
        `${what} contain${what.endsWith('s') ? '' : 's'} token id ${showValue(id)}; ids must be whole numbers from 0 to ${config.vocabSize - 1}. Check the tokenizer.`,
      );
    }
  }
}
