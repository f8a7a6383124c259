/**
 * What a caller may ask of a loaded model, checked: prompts, and options of generation and chat.
 *
 * Kinds of values are checked here; ranges belong to those who use them (engine, sampler).
 */
import { z } from 'zod';
import type {
  ExitPolicy,
  KvPolicy,
  PrefillMode,
  SamplingOptions,
  Speculation,
} from './engine/index.js';
import { KV_POLICIES, PREFILL_MODES, isExitPolicy } from './engine/index.js';
import { RequestError } from './errors.js';
import type { ChatTemplateOptions } from './tokenizer/index.js';
import { ChatTemplate } from './tokenizer/index.js';
import { abortSignal, numberWhere, parseFields, wordOf } from './util/parse-fields.js';
import { showValue } from './util/quote.js';

/** A text (needs a tokenizer) or the token ids themselves. */
export type Prompt = string | readonly number[];

/** How to continue a prompt. Everything has a default; `undefined` means the default. */
export interface GenerateOptions {
  /** Tokens to generate at most, from 1. Default 128; the context ends a sequence in any case. */
  readonly maxNewTokens?: number | undefined;
  /**
   * When a token stops looping: a policy or its spec. Default `cdf:Q`, Q from the model's config, or
   * `fixed:N` if the config names a depth; `full` for a model without an exit gate.
   */
  readonly exitPolicy?: ExitPolicy | string | undefined;
  /** Bounds on the exit depth, whatever the policy says; counted from 1. */
  readonly minDepth?: number | undefined;
  readonly maxDepth?: number | undefined;
  /** How the cache of tokens of other depths is read. Default `per-loop`, which is exact. */
  readonly kvPolicy?: KvPolicy | undefined;
  /**
   * `deferred` (default under `per-loop`, where it changes no result) runs only those loops of the prompt
   * that some token needs; `full` (default elsewhere) all of them; `adaptive` (under `last-exited`) lets
   * prompt tokens exit by the policy, which is another computation.
   */
  readonly prefill?: PrefillMode | undefined;
  /**
   * Guesses tokens at a shallow depth and goes on from there while their other loops run: `auto` as it
   * pays, or the depth. Changes no token, and works under `per-loop` only. Default `off`.
   */
  readonly speculation?: Speculation | undefined;
  /** Loops of full depth. Default the model's own. */
  readonly numLoops?: number | undefined;
  /** How tokens are drawn. Default what generation_config.json says, or else greedy. */
  readonly sampling?: { readonly [K in keyof SamplingOptions]?: SamplingOptions[K] | undefined };
  /** Ids that end a sequence, besides the model's end-of-text ids. */
  readonly stopIds?: readonly number[] | undefined;
  /** Texts that end a sequence; the text is cut where one begins. Needs a tokenizer. */
  readonly stopStrings?: readonly string[] | undefined;
  /** Does not stop at the model's end-of-text ids, nor at a template's end of turn. Default false. */
  readonly ignoreEos?: boolean | undefined;
  /**
   * Tells reasoning from the answer: a text that begins with `<think>`, or whose prompt ends in it,
   * is reasoning up to `</think>`. Default true for `chat`, else false: then all is answer.
   */
  readonly splitReasoning?: boolean | undefined;
  /**
   * Whether beginnings of prompts that other calls have computed are taken over, and kept for later
   * ones; changes no result. Default true.
   */
  readonly cachePrefix?: boolean | undefined;
  /** Adds a rollout record to every finish; costs a readout of every executed loop. Default false. */
  readonly record?: boolean | undefined;
  /** How many of the most likely tokens come with every token. Default none. */
  readonly topLogprobs?: number | undefined;
  /**
   * What every executed loop said comes with every token, and so many most likely tokens of each; costs
   * a readout of every executed loop. Default none.
   */
  readonly loopLogprobs?: number | undefined;
  /**
   * Scores the prompt: the first token comes with the log-probability of each of the prompt's tokens, at the
   * exit depth of the one before it, and so many most likely ones. Default none.
   */
  readonly promptLogprobs?: number | undefined;
  /** Divides the logits that score the prompt. Default 1. */
  readonly promptTemperature?: number | undefined;
  /**
   * How every token was drawn comes with it, after temperature and filters, and so many of the tokens most
   * likely to be. Default none.
   */
  readonly behaviorLogprobs?: number | undefined;
  /** Prompts share beginnings only with those of the same salt. Default none. */
  readonly cacheSalt?: string | undefined;
  /** Requests of larger priority go first. Default 0. */
  readonly priority?: number | undefined;
  /** Ends every sequence with `aborted` at the next loop boundary. */
  readonly signal?: AbortSignal | undefined;
}

/** How a conversation becomes a prompt. */
export interface ChatPromptOptions {
  /**
   * Whether the answer begins with reasoning, as `ChatTemplate.apply` takes it. Default true for a
   * model that `thinksByDefault`; else the template is left to its own default.
   */
  readonly enableThinking?: ChatTemplateOptions['enableThinking'] | undefined;
  /** Default: the template that came with the model. */
  readonly chatTemplate?: ChatTemplate | undefined;
  /** Tools that the model may call, as its template takes them. Default none. */
  readonly tools?: ChatTemplateOptions['tools'] | undefined;
  /** More variables for the template. Default none. */
  readonly templateArguments?: ChatTemplateOptions['variables'] | undefined;
}

/** How to answer a conversation. */
export interface ChatOptions extends GenerateOptions, ChatPromptOptions {}

const DEFAULT = 'Leave it out for the default.';
const NUMBER = z.number(`it must be a whole number. ${DEFAULT}`);
const SWITCH = z.boolean(`it must be true or false. ${DEFAULT}`);

const TOKEN_ID = numberWhere(
  'it must be a whole number from 0 up. Use ids of the vocabulary.',
  (value) => Number.isSafeInteger(value) && value >= 0,
);
const STOP_STRING_RULE = 'it must be a text of at least one character. Leave it out for none.';
const STOP_STRING = z.string(STOP_STRING_RULE).min(1, STOP_STRING_RULE);

const exitPolicySchema = z.custom<ExitPolicy | string>(
  (value) => typeof value === 'string' || isExitPolicy(value),
  "it must be the text of a policy, such as 'cdf:0.5', or a policy itself, such as cdfThreshold(0.5). Leave it out for the model's own.",
);

const speculationSchema = z.union(
  [z.enum(['auto', 'off']), z.number()],
  `it must be 'auto', 'off' or the depth at which to guess. ${DEFAULT}`,
);

const generateSchema = z.strictObject(
  {
    maxNewTokens: NUMBER.optional(),
    exitPolicy: exitPolicySchema.optional(),
    minDepth: NUMBER.optional(),
    maxDepth: NUMBER.optional(),
    kvPolicy: wordOf(KV_POLICIES, DEFAULT).optional(),
    prefill: wordOf(PREFILL_MODES, DEFAULT).optional(),
    speculation: speculationSchema.optional(),
    numLoops: NUMBER.optional(),
    // the engine knows its fields
    sampling: z.record(z.string(), z.unknown(), `it must be an object. ${DEFAULT}`).optional(),
    stopIds: z.array(TOKEN_ID, 'it must be a list of token ids. Use [] for none.').optional(),
    stopStrings: z.array(STOP_STRING, 'it must be a list of texts. Use [] for none.').optional(),
    ignoreEos: SWITCH.optional(),
    splitReasoning: SWITCH.optional(),
    cachePrefix: SWITCH.optional(),
    record: SWITCH.optional(),
    topLogprobs: NUMBER.optional(),
    loopLogprobs: NUMBER.optional(),
    promptLogprobs: NUMBER.optional(),
    promptTemperature: NUMBER.optional(),
    behaviorLogprobs: NUMBER.optional(),
    cacheSalt: z.string(`it must be a text. ${DEFAULT}`).optional(),
    priority: NUMBER.optional(),
    signal: abortSignal.optional(),
  } satisfies Record<keyof GenerateOptions, z.ZodType>,
  'they must be an object. Use {} for the defaults.',
);

const chatPromptFields = {
  enableThinking: SWITCH.optional(),
  chatTemplate: z
    .instanceof(ChatTemplate, {
      error: `it must be a ChatTemplate. Make one with new ChatTemplate(source). ${DEFAULT}`,
    })
    .optional(),
  // the template knows what they may be
  tools: z.array(z.unknown(), `it must be a list. ${DEFAULT}`).optional(),
  templateArguments: z
    .record(z.string(), z.unknown(), `it must be an object. ${DEFAULT}`)
    .optional(),
} satisfies Record<keyof ChatPromptOptions, z.ZodType>;

const chatPromptSchema = z.strictObject(
  chatPromptFields,
  'they must be an object. Use {} for the defaults.',
);

const chatSchema = generateSchema.extend(chatPromptFields);

/** @throws ConfigError for an option that is unknown or of the wrong kind */
export function parseGenerateOptions(value: unknown): GenerateOptions {
  return parseFields(generateSchema, value, 'the generation options') as GenerateOptions;
}

/** @throws ConfigError for an option that is unknown or of the wrong kind */
export function parseChatOptions(value: unknown): ChatOptions {
  return parseFields(chatSchema, value, 'the chat options') as ChatOptions;
}

/** @throws ConfigError for an option that is unknown or of the wrong kind */
export function parseChatPromptOptions(value: unknown): ChatPromptOptions {
  return parseFields(chatPromptSchema, value, 'the options of the prompt');
}

/** @throws RequestError if it is neither a text nor a list; what a list holds is the engine's business */
export function checkPrompt(prompt: unknown): asserts prompt is Prompt {
  if (typeof prompt === 'string' || Array.isArray(prompt)) return;
  throw new RequestError(
    `The prompt is ${showValue(prompt)}; it must be a text or a list of token ids, such as [5, 9, 2].`,
  );
}

/** @throws RequestError unless it is a list of prompts */
export function checkPrompts(prompts: unknown): asserts prompts is readonly Prompt[] {
  if (!Array.isArray(prompts)) {
    throw new RequestError(
      `The prompts are ${showValue(prompts)}; they must be a list of texts or of lists of token ids. Use generate for a single prompt.`,
    );
  }
  for (const prompt of prompts) checkPrompt(prompt);
}
