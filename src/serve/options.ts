/**
 * How a server is set up, checked. Everything has a default but the name of the model.
 */
import { z } from 'zod';
import { ChatTemplate } from '../tokenizer/index.js';
import { ConfigError } from '../errors.js';
import type { Folder } from '../util/folder.js';
import { callback, numberWhere, parseFields, wordOf } from '../util/parse-fields.js';

/** A built file of the playground. */
export interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
}

/** What happened, for a log; `fields` are plain data without prompt text unless that was asked for. */
export type Log = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields: Readonly<Record<string, unknown>>,
) => void;

/** What trainers may do. */
export interface TrainerSettings {
  /**
   * Opens a folder of weights.
   *
   * @throws LoopLMError if it is not there, or not one that the server may read
   */
  openFolder(path: string): Promise<Folder>;
}

/** `raw_logprobs`: of the model as it is. `processed_logprobs`: those with which tokens are drawn. */
export const LOGPROBS_MODES = ['raw_logprobs', 'processed_logprobs'] as const;

/** How to serve a model. */
export interface ServeOptions {
  /** What clients call the model. */
  readonly modelName: string;
  /** Version that `/version` tells. */
  readonly version?: string | undefined;
  /** Instead of the model's own. */
  readonly chatTemplate?: ChatTemplate | undefined;
  /** Exit policy of requests that name none, such as `full`. Default: the model's own. */
  readonly exitPolicy?: string | undefined;
  /** Prompts worth trying, for the playground. */
  readonly examples?: readonly string[] | undefined;
  /** Any of them lets a request in. None: no key is asked for. */
  readonly apiKeys?: readonly string[] | undefined;
  /** Names that a Host header may have, without port. Default: any. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Origins of other sites whose pages may ask; `*` for all. Default none. */
  readonly corsOrigins?: readonly string[] | undefined;
  /** Sequences that are computed at a time; a request has one for each prompt and choice. Default 64. */
  readonly maxSequences?: number | undefined;
  /** Sequences of one request; what is more than `maxSequences` follows. Default 1024. */
  readonly maxRequestSequences?: number | undefined;
  /** Requests that may wait; one more gets 429. Default 1024. */
  readonly maxQueue?: number | undefined;
  /** Default 2 MiB. */
  readonly maxBodyBytes?: number | undefined;
  /** After which a request is given up, its wait included. Default ten minutes. */
  readonly requestTimeoutMs?: number | undefined;
  /** Silence of a stream after which a comment is sent. Default 10 s. */
  readonly keepAliveMs?: number | undefined;
  /** What log-probabilities of new tokens are; default `raw_logprobs`. As vLLM's setting. */
  readonly logprobsMode?: (typeof LOGPROBS_MODES)[number] | undefined;
  /** Turns the routes of trainers on; needs a key, and a model that is updatable. Default: off. */
  readonly trainers?: TrainerSettings | undefined;
  /** Whether prompts and answers are in the log. Default false. */
  readonly logPrompts?: boolean | undefined;
  /** Default: nothing is logged. */
  readonly log?: Log | undefined;
  /** Built files of the playground by their path, such as `/index.html`. */
  readonly assets?: ReadonlyMap<string, Asset> | undefined;
}

/** `ServeOptions` with its defaults. */
export type ServeSettings = {
  readonly [K in Exclude<keyof ServeOptions, Optional>]-?: NonNullable<ServeOptions[K]>;
} & Pick<ServeOptions, Optional>;

type Optional = 'chatTemplate' | 'exitPolicy' | 'allowedHosts' | 'trainers';

const DEFAULT = 'Leave it out for the default.';
const count = (min: number) =>
  numberWhere(
    `it must be a whole number from ${min} up. ${DEFAULT}`,
    (value) => Number.isSafeInteger(value) && value >= min,
  );
const milliseconds = numberWhere(
  `it must be from 1 to ${2 ** 31 - 1}. ${DEFAULT}`,
  (value) => value >= 1 && value < 2 ** 31,
);
const text = z.string('it must be a text.').min(1, 'it must not be empty.');
const texts = z.array(text, 'it must be a list of texts.');

const schema = z.strictObject(
  {
    modelName: text,
    version: text.default('unknown'),
    chatTemplate: z
      .instanceof(ChatTemplate, { error: 'it must be a ChatTemplate. Leave it out for none.' })
      .optional(),
    exitPolicy: text.optional(),
    examples: texts.default([]),
    apiKeys: texts.default([]),
    allowedHosts: texts.optional(),
    corsOrigins: texts.default([]),
    maxSequences: count(1).default(64),
    maxRequestSequences: count(1).default(1024),
    maxQueue: count(0).default(1024),
    maxBodyBytes: count(1).default(2 * 2 ** 20),
    requestTimeoutMs: milliseconds.default(600_000),
    keepAliveMs: milliseconds.default(10_000),
    logprobsMode: wordOf(LOGPROBS_MODES, DEFAULT).default('raw_logprobs'),
    trainers: z
      .custom<TrainerSettings>(
        (value) => typeof (value as Partial<TrainerSettings> | null)?.openFolder === 'function',
        'it must be an object with openFolder. Leave it out to keep trainers out.',
      )
      .optional(),
    logPrompts: z.boolean('it must be true or false.').default(false),
    log: callback<Log>().default(() => () => {}),
    assets: z
      .custom<ReadonlyMap<string, Asset>>((value) => value instanceof Map, 'it must be a Map.')
      .default(() => new Map()),
  } satisfies Record<keyof ServeOptions, z.ZodType>,
  'they must be an object with a modelName.',
);

/** @throws ConfigError for an option that is unknown, missing or not allowed */
export function parseServeOptions(value: unknown): ServeSettings {
  const settings = parseFields(schema, value, 'the server options');
  if (settings.trainers && settings.apiKeys.length === 0) {
    throw new ConfigError(
      'apiKeys',
      'trainers may exchange weights, and there is no key; give apiKeys, so that only trainers may.',
    );
  }
  return settings;
}
