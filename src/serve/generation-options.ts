/**
 * Fields of a body as options of the library, in one place for all routes.
 */
import type { GenerateOptions } from '../loop-lm.js';
import { badRequest } from './errors.js';
import type { ServedModel } from './served-model.js';
import type { Server } from './server.js';
import type { CompletionBody } from './wire/completions.js';

/** Fields of sampling, depth and end, which mean the same in every body. */
export type GenerationFields = Pick<
  CompletionBody,
  | 'temperature'
  | 'top_p'
  | 'top_k'
  | 'min_p'
  | 'repetition_penalty'
  | 'presence_penalty'
  | 'frequency_penalty'
  | 'logit_bias'
  | 'seed'
  | 'stop'
  | 'stop_token_ids'
  | 'ignore_eos'
  | 'exit_policy'
  | 'min_depth'
  | 'max_depth'
  | 'num_loops'
  | 'kv_policy'
  | 'prefill'
  | 'speculation'
  | 'loop_logprobs'
  | 'rollout'
  | 'cache_salt'
  | 'priority'
>;

/** Seeds stay exact in JSON, and choices have the numbers after theirs. */
const NUM_SEEDS = 2 ** 32;

/** A seed by chance. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! % NUM_SEEDS;
}

/** What the fields mean, but for the number of tokens, stop ids of a template, and the seed of a choice. */
export function generationOptions(
  { model, settings }: Pick<Server, 'model' | 'settings'>,
  body: GenerationFields,
): GenerateOptions {
  const { stop, logit_bias: bias } = body;
  checkDepths(model, body);
  return {
    exitPolicy: body.exit_policy ?? settings.exitPolicy,
    minDepth: body.min_depth,
    maxDepth: body.max_depth,
    numLoops: body.num_loops,
    kvPolicy: body.kv_policy,
    prefill: body.prefill,
    speculation: body.speculation,
    stopStrings: typeof stop === 'string' ? [stop] : stop,
    stopIds: body.stop_token_ids,
    ignoreEos: body.ignore_eos,
    loopLogprobs: body.loop_logprobs,
    record: body.rollout,
    cacheSalt: body.cache_salt,
    priority: body.priority,
    sampling: {
      ...drawing(model, body),
      repetitionPenalty: body.repetition_penalty,
      presencePenalty: body.presence_penalty,
      frequencyPenalty: body.frequency_penalty,
      logitBias: bias && logitBias(bias, model.config.vocabSize),
    },
  };
}

/** What the fields mean for an answer to a conversation, which may begin with reasoning. */
export function answerOptions(
  server: Pick<Server, 'model' | 'settings'>,
  body: GenerationFields,
  { maxNewTokens, topLogprobs, endIds }: AnswerLimits,
): GenerateOptions {
  const options = generationOptions(server, body);
  return {
    ...options,
    maxNewTokens: maxNewTokens ?? server.model.config.maxPositionEmbeddings,
    stopIds: [...(options.ignoreEos ? [] : endIds), ...(options.stopIds ?? [])],
    splitReasoning: true,
    topLogprobs,
  };
}

/** What the bodies of the two chat APIs name differently. */
interface AnswerLimits {
  /** Default: what the context holds. */
  readonly maxNewTokens: number | undefined;
  /** Undefined without log-probabilities. */
  readonly topLogprobs: number | undefined;
  /** What ends the answer by the chat template. */
  readonly endIds: readonly number[];
}

/** Bounds that the library would report as those of its exit policy. */
function checkDepths({ config }: ServedModel, body: GenerationFields): void {
  const { num_loops: numLoops = config.numLoops, min_depth: min, max_depth: max } = body;
  for (const field of ['min_depth', 'max_depth'] as const) {
    const depth = body[field];
    if (depth === undefined || depth <= numLoops) continue;
    throw badRequest(field, `${field} is ${depth}; it must be at most ${numLoops}, all loops.`);
  }
  if (min === undefined || max === undefined || min <= max) return;
  throw badRequest(
    'min_depth',
    `min_depth is ${min} and max_depth ${max}; min must not be above max.`,
  );
}

/**
 * Temperature and filters. Clients send filters with temperature 0, too: the best token passes every
 * filter, so they change nothing there, and the library, which would take them for a mistake, is not
 * told of them.
 */
function drawing({ samplingDefaults }: ServedModel, body: GenerationFields) {
  const { temperature, top_p: topP, top_k: topK, min_p: minP } = body;
  const isGreedy = (temperature ?? samplingDefaults.temperature ?? 0) === 0;
  if (isGreedy) return { temperature };
  const keepsAll = topK !== undefined && topK < 1;
  return { temperature, topP, minP, topK: keepsAll ? undefined : topK };
}

function logitBias(
  bias: Readonly<Record<string, number>>,
  vocabSize: number,
): Record<number, number> {
  for (const id of Object.keys(bias)) {
    if (Number(id) < vocabSize) continue;
    throw badRequest(
      'logit_bias',
      `logit_bias has token id ${id}; ids of this model are below ${vocabSize}.`,
    );
  }
  return bias;
}

/** Fields that only mean something together with others. */
export function checkStreamOptions(body: Pick<CompletionBody, 'stream' | 'stream_options'>): void {
  if (body.stream_options === undefined || body.stream) return;
  throw badRequest('stream_options', 'stream_options is given without stream; set stream to true.');
}
