/**
 * A loaded model with its tokenizer: text in, text out, each token at its own depth.
 *
 * The one idea: the engine works on token ids; here prompts become ids, events gain the text that
 * has become certain, and stop strings end a sequence. Nothing here computes.
 * Knows no file system and no thread: it is given a `Folder` and a `Device`.
 */
import type {
  EngineEvent,
  ExitPolicy,
  FinishEvent,
  FinishReason,
  GenerationRequest,
  KvPolicy,
  PrefillMode,
  RolloutRecord,
  RunOptions,
  SamplingOptions,
  TokenEvent,
  Trace,
  TraceOptions,
} from './engine/index.js';
import {
  Engine,
  KV_POLICIES,
  PREFILL_MODES,
  StopStringMatcher,
  cdfThreshold,
  parseExitPolicy,
  parseSamplingOptions,
  parseStopOptions,
  withDepthBounds,
} from './engine/index.js';
import { CheckpointError, ConfigError, RequestError } from './errors.js';
import type { Folder, LoopLMConfig } from './model/index.js';
import { loadCheckpoint } from './model/index.js';
import type { Device } from './runtime/index.js';
import type { ChatMessage, ChatTemplateOptions, DecodeStream } from './tokenizer/index.js';
import { ChatTemplate, Tokenizer, parseTokenizerConfig } from './tokenizer/index.js';
import { quote, showValue } from './util/quote.js';

/** A text (needs a tokenizer) or the token ids themselves. */
export type Prompt = string | readonly number[];

/** How to continue a prompt. Everything has a default; `undefined` means the default. */
export interface GenerateOptions {
  /** Tokens to generate at most, from 1. Default 128; the context ends a sequence in any case. */
  readonly maxNewTokens?: number | undefined;
  /** When a token stops looping: a policy or its spec. Default `cdf:Q`, Q from the model's config. */
  readonly exitPolicy?: ExitPolicy | string | undefined;
  /** Bounds on the exit depth, whatever the policy says; counted from 1. */
  readonly minDepth?: number | undefined;
  readonly maxDepth?: number | undefined;
  /** How the cache of tokens of other depths is read. Default `per-loop`, which is exact. */
  readonly kvPolicy?: KvPolicy | undefined;
  /** `full` (default) runs all loops of the prompt; `deferred` only those that some token needs. */
  readonly prefill?: PrefillMode | undefined;
  /** Loops of full depth. Default the model's own. */
  readonly numLoops?: number | undefined;
  /** How tokens are drawn. Default greedy. */
  readonly sampling?: { readonly [K in keyof SamplingOptions]?: SamplingOptions[K] | undefined };
  /** Ids that end a sequence, besides the model's end-of-text ids. */
  readonly stopIds?: readonly number[] | undefined;
  /** Texts that end a sequence; the text is cut where one begins. Needs a tokenizer. */
  readonly stopStrings?: readonly string[] | undefined;
  /** Does not stop at the model's end-of-text ids. Default false. */
  readonly ignoreEos?: boolean | undefined;
  /** Adds a rollout record to every finish; costs a readout of every executed loop. Default false. */
  readonly record?: boolean | undefined;
  /** Ends every sequence with `aborted` at the next loop boundary. */
  readonly signal?: AbortSignal | undefined;
}

/** How to answer a conversation. */
export interface ChatOptions extends GenerateOptions, Pick<ChatTemplateOptions, 'enableThinking'> {
  /** Default: the template that came with the model. */
  readonly chatTemplate?: ChatTemplate | undefined;
}

/** A new token, with the text that it makes certain. */
export interface TextTokenEvent {
  readonly kind: 'token';
  /** Index into the prompts; 0 for a single one. */
  readonly promptIndex: number;
  /** Index among the new tokens of its prompt, from 0. */
  readonly tokenIndex: number;
  readonly tokenId: number;
  /** Well-formed text, empty while a character or a possible stop string is incomplete. */
  readonly text: string;
  /** Loops that this token took, 1 to R. */
  readonly exitDepth: number;
  /** log softmax(logits)[tokenId] at the exit depth: no temperature, no filters. */
  readonly logprob: number;
}

/** The end of a sequence; there is exactly one for every prompt. */
export interface TextFinishEvent {
  readonly kind: 'finish';
  readonly promptIndex: number;
  readonly finishReason: FinishReason;
  /** The whole new text, empty without a tokenizer. The pieces and `lastPiece` together. */
  readonly text: string;
  /** Text that was held back until the end was certain; belongs after the last token's piece. */
  readonly lastPiece: string;
  /** New ids, the stop id included. */
  readonly tokenIds: readonly number[];
  /** Loops that each new token took. */
  readonly exitDepths: readonly number[];
  /** Mean of `exitDepths`; 0 if there are none. */
  readonly meanDepth: number;
  /** (token, loop) pairs computed for this sequence, prompt and deferred loops included. */
  readonly executedLoops: number;
  /** The same if every token had run to full depth. */
  readonly fullDepthLoops: number;
  /** Present if the options ask to record. */
  readonly rollout?: RolloutRecord;
}

export type TextEvent = TextTokenEvent | TextFinishEvent;

/** How to load a model. */
export interface LoadOptions {
  readonly device: Device;
  /** Whether `dispose` of the model disposes the device too. Default false: it is borrowed. */
  readonly ownsDevice?: boolean;
}

const DEFAULT_MAX_NEW_TOKENS = 128;

const OPTION_NAMES: ReadonlySet<string> = new Set([
  'maxNewTokens',
  'exitPolicy',
  'minDepth',
  'maxDepth',
  'kvPolicy',
  'prefill',
  'numLoops',
  'sampling',
  'stopIds',
  'stopStrings',
  'ignoreEos',
  'record',
  'signal',
] satisfies (keyof GenerateOptions)[]);

/** A looped language model, loaded and ready. The owner disposes it. */
export class LoopLM {
  readonly config: LoopLMConfig;
  /** Absent if the folder has no tokenizer.json: then prompts are token ids. */
  readonly tokenizer: Tokenizer | undefined;
  /** The template that came with the model, if one did. */
  readonly chatTemplate: ChatTemplate | undefined;
  /** Ids that end a text: those of config.json and of tokenizer_config.json. */
  readonly eosTokenIds: readonly number[];
  /** Keys of config.json that looplm does not know and did not use. */
  readonly ignoredKeys: readonly string[];
  readonly #engine: Engine;
  readonly #ownedDevice: Device | undefined;

  private constructor(
    parts: Pick<LoopLM, 'config' | 'tokenizer' | 'chatTemplate' | 'eosTokenIds' | 'ignoredKeys'>,
    engine: Engine,
    ownedDevice: Device | undefined,
  ) {
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.chatTemplate = parts.chatTemplate;
    this.eosTokenIds = parts.eosTokenIds;
    this.ignoredKeys = parts.ignoredKeys;
    this.#engine = engine;
    this.#ownedDevice = ownedDevice;
  }

  /**
   * Loads a model folder in the Hugging Face layout: config.json and weights, and where they are
   * there tokenizer.json, tokenizer_config.json and chat_template.jinja.
   *
   * @throws LoopLMError if a file is missing, damaged or contradicts another.
   */
  static async load(folder: Folder, { device, ownsDevice = false }: LoadOptions): Promise<LoopLM> {
    const texts = await loadTextParts(folder);
    const { config, ignoredKeys, weights } = await loadCheckpoint(folder);
    const engine = await Engine.create({ device, config, weights });
    const { tokenizer, chatTemplate, eosTokenId } = texts;
    const eosTokenIds = [
      ...new Set([...config.eosTokenIds, ...(eosTokenId === undefined ? [] : [eosTokenId])]),
    ];
    const parts = { config, tokenizer, chatTemplate, eosTokenIds, ignoredKeys };
    return new LoopLM(parts, engine, ownsDevice ? device : undefined);
  }

  /**
   * Token ids of a prompt; ids are passed through.
   *
   * @throws RequestError for a text without a tokenizer, or one that the vocabulary cannot spell.
   */
  encode(prompt: Prompt): readonly number[] {
    if (typeof prompt !== 'string') return prompt;
    if (this.tokenizer) return this.tokenizer.encode(prompt);
    throw new RequestError(
      'The prompt is a text, but the model folder has no tokenizer.json; give token ids, or add the file.',
    );
  }

  /**
   * Continues a prompt, token by token. Leaving the loop early ends the computation.
   *
   * @throws LoopLMError, before anything is computed, if the prompt or an option is not valid.
   */
  async *generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<TextEvent> {
    yield* this.generateBatch([prompt], options);
  }

  /**
   * Continues several prompts together with the same options. Events of different prompts
   * interleave; `promptIndex` tells them apart. A sequence that a stop string ended is computed on
   * until the others end too, but shows no more tokens; its finish event comes then.
   *
   * @throws LoopLMError, before anything is computed, if a prompt or an option is not valid.
   */
  async *generateBatch(
    prompts: readonly Prompt[],
    options: GenerateOptions = {},
  ): AsyncGenerator<TextEvent> {
    const { request, stopStrings, ...run } = this.#resolve(options);
    const requests = prompts.map((prompt) => ({ ...request, promptIds: this.encode(prompt) }));
    const texts = requests.map(
      () => new SequenceText(this.tokenizer, request.stopIds ?? [], stopStrings),
    );
    const stop = new AbortController();
    const signals = [stop.signal, ...(options.signal ? [options.signal] : [])];
    for await (const event of this.#engine.generate(requests, {
      ...run,
      signal: AbortSignal.any(signals),
    })) {
      const shown = texts[event.requestIndex]!.take(event);
      if (shown) yield shown;
      if (texts.every(({ hasEnded }) => hasEnded)) stop.abort();
    }
  }

  /** Continues a prompt and returns the result as a whole. Throws as `generate` does. */
  async complete(prompt: Prompt, options: GenerateOptions = {}): Promise<TextFinishEvent> {
    return lastOf(this.generate(prompt, options));
  }

  /**
   * Answers a conversation.
   *
   * @throws ConfigError if neither the model nor the options have a chat template.
   * @throws LoopLMError as `generate` and `ChatTemplate.apply` do.
   */
  async *chat(
    messages: readonly ChatMessage[],
    options: ChatOptions = {},
  ): AsyncGenerator<TextEvent> {
    const { chatTemplate = this.chatTemplate, enableThinking, ...rest } = options;
    if (!chatTemplate) {
      throw new ConfigError(
        'chatTemplate',
        'The model has no chat template, and chat needs one. It may not be a chat model: use generate, or give chatTemplate, such as new ChatTemplate(CHATML_TEMPLATES.corrected).',
      );
    }
    const prompt = chatTemplate.apply(messages, {
      addGenerationPrompt: true,
      ...(enableThinking !== undefined && { enableThinking }),
    });
    yield* this.generate(prompt, rest);
  }

  /** All that full depth computes for a prompt: states, gates and logits of every loop. */
  async trace(prompt: Prompt, options: TraceOptions = {}): Promise<Trace> {
    return this.#engine.trace(this.encode(prompt), options);
  }

  /** Frees the model, and the device if it is owned. Later calls throw `DisposedError`. */
  async dispose(): Promise<void> {
    await this.#engine.dispose();
    await this.#ownedDevice?.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #resolve(options: GenerateOptions): ResolvedOptions {
    const unknown = Object.keys(options).find((name) => !OPTION_NAMES.has(name));
    if (unknown !== undefined) {
      throw new ConfigError(
        unknown,
        `The generation options hold ${quote(unknown)}, which is not known; use ${[...OPTION_NAMES].join(', ')}.`,
      );
    }
    const { numLoops, record } = options;
    const stop = parseStopOptions({
      stopIds: options.stopIds ?? [],
      stopStrings: options.stopStrings ?? [],
    });
    if (stop.stopStrings.length > 0 && !this.tokenizer) {
      throw new ConfigError(
        'stopStrings',
        'stopStrings are given, but the model folder has no tokenizer.json to make text with; use stopIds, or add the file.',
      );
    }
    return {
      request: {
        maxNewTokens: options.maxNewTokens ?? DEFAULT_MAX_NEW_TOKENS,
        exitPolicy: this.#exitPolicy(options),
        sampling: parseSamplingOptions(options.sampling ?? {}),
        stopIds: [...(options.ignoreEos ? [] : this.eosTokenIds), ...stop.stopIds],
      },
      stopStrings: stop.stopStrings,
      kvPolicy: oneOf(KV_POLICIES, options.kvPolicy ?? 'per-loop', 'kvPolicy'),
      prefill: oneOf(PREFILL_MODES, options.prefill ?? 'full', 'prefill'),
      ...(numLoops !== undefined && { numLoops }),
      ...(record !== undefined && { record }),
    };
  }

  #exitPolicy({ exitPolicy, minDepth, maxDepth }: GenerateOptions): ExitPolicy {
    const policy = exitPolicy ?? cdfThreshold(this.config.exitThreshold);
    return withDepthBounds(typeof policy === 'string' ? parseExitPolicy(policy) : policy, {
      ...(minDepth !== undefined && { minDepth }),
      ...(maxDepth !== undefined && { maxDepth }),
    });
  }
}

interface ResolvedOptions extends Omit<RunOptions, 'signal'> {
  readonly request: Omit<GenerationRequest, 'promptIds'>;
  readonly stopStrings: readonly string[];
}

/** Turns the engine's events of one sequence into events with text. */
class SequenceText {
  readonly #tokenizer: Tokenizer | undefined;
  readonly #stopIds: readonly number[];
  readonly #decoder: DecodeStream | undefined;
  readonly #matcher: StopStringMatcher;
  readonly #tokenIds: number[] = [];
  readonly #exitDepths: number[] = [];
  #text = '';
  #stoppedByString = false;
  #hasFinished = false;

  constructor(
    tokenizer: Tokenizer | undefined,
    stopIds: readonly number[],
    stopStrings: readonly string[],
  ) {
    this.#tokenizer = tokenizer;
    this.#stopIds = stopIds;
    this.#decoder = tokenizer?.decodeStream({ skipSpecialTokens: true });
    this.#matcher = new StopStringMatcher(stopStrings);
  }

  /** Whether no more tokens of the sequence are wanted. */
  get hasEnded(): boolean {
    return this.#stoppedByString || this.#hasFinished;
  }

  /** The event with text; undefined for a token behind the end of the text. */
  take(event: EngineEvent): TextEvent | undefined {
    if (event.kind === 'finish') return this.#finish(event);
    return this.#stoppedByString ? undefined : this.#token(event);
  }

  #token(event: TokenEvent): TextTokenEvent {
    const { requestIndex: promptIndex, tokenIndex, tokenId, exitDepth, logprob } = event;
    this.#tokenIds.push(tokenId);
    this.#exitDepths.push(exitDepth);
    const text = this.#add(this.#decode(tokenId));
    return { kind: 'token', promptIndex, tokenIndex, tokenId, text, exitDepth, logprob };
  }

  /** Text of a token; none for stop ids, and for ids that the vocabulary leaves out. */
  #decode(tokenId: number): string {
    if (this.#stopIds.includes(tokenId)) return '';
    if (this.#tokenizer?.idToToken(tokenId) === undefined) return '';
    return this.#decoder?.push(tokenId) ?? '';
  }

  #add(piece: string): string {
    const { text, stoppedBy } = this.#matcher.push(piece);
    this.#stoppedByString = stoppedBy !== undefined;
    this.#text += text;
    return text;
  }

  #finish(event: FinishEvent): TextFinishEvent {
    const lastPiece = this.#end();
    this.#hasFinished = true;
    const finishReason = this.#stoppedByString ? 'stop-string' : event.finishReason;
    const rollout = event.rollout && this.#cut(event.rollout, finishReason);
    return {
      kind: 'finish',
      promptIndex: event.requestIndex,
      finishReason,
      text: this.#text,
      lastPiece,
      tokenIds: this.#tokenIds,
      exitDepths: this.#exitDepths,
      meanDepth: meanOf(this.#exitDepths),
      executedLoops: event.executedLoops,
      fullDepthLoops: event.fullDepthLoops,
      ...(rollout && { rollout }),
    };
  }

  /** Releases what was held back; an unfinished character becomes U+FFFD. */
  #end(): string {
    if (this.#stoppedByString) return '';
    const piece = this.#add(this.#decoder?.flush() ?? '');
    const held = this.#matcher.flush();
    this.#text += held;
    return piece + held;
  }

  /** The record without the tokens that were computed behind the end of the text. */
  #cut(rollout: RolloutRecord, finishReason: FinishReason): RolloutRecord {
    const length = this.#tokenIds.length;
    return {
      ...rollout,
      tokenIds: rollout.tokenIds.slice(0, length),
      exitDepths: rollout.exitDepths.slice(0, length),
      logprobs: rollout.logprobs.slice(0, length),
      loopLogprobs: rollout.loopLogprobs.slice(0, length),
      gateLogits: rollout.gateLogits.slice(0, length),
      meanDepth: meanOf(this.#exitDepths),
      finishReason,
    };
  }
}

function meanOf(depths: readonly number[]): number {
  return depths.reduce((sum, depth) => sum + depth, 0) / Math.max(1, depths.length);
}

async function lastOf(events: AsyncGenerator<TextEvent>): Promise<TextFinishEvent> {
  for await (const event of events) if (event.kind === 'finish') return event;
  throw new Error('Internal error (please report it): a generation ended without a finish event');
}

function oneOf<T extends string>(names: readonly T[], value: T, field: string): T {
  if (names.includes(value)) return value;
  throw new ConfigError(
    field,
    `${field} is ${showValue(value)}; it must be one of ${names.join(', ')}.`,
  );
}

interface TextParts {
  readonly tokenizer: Tokenizer | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
  readonly eosTokenId: number | undefined;
}

/**
 * The tokenizer of a model folder; undefined if it has none.
 *
 * @throws LoopLMError if tokenizer.json is damaged or not a byte-level BPE.
 */
export async function loadTokenizer(folder: Folder): Promise<Tokenizer | undefined> {
  const json = await readJson(folder, 'tokenizer.json');
  return json === undefined ? undefined : Tokenizer.fromJson(json);
}

async function loadTextParts(folder: Folder): Promise<TextParts> {
  const tokenizer = await loadTokenizer(folder);
  const tokens = parseTokenizerConfig((await readJson(folder, 'tokenizer_config.json')) ?? {});
  const template = (await readText(folder, 'chat_template.jinja')) ?? tokens.chatTemplate;
  return {
    tokenizer,
    chatTemplate: template === undefined ? undefined : new ChatTemplate(template, tokens),
    eosTokenId: tokens.eosToken === undefined ? undefined : tokenizer?.tokenToId(tokens.eosToken),
  };
}

async function readText(folder: Folder, name: string): Promise<string | undefined> {
  return (await folder.exists(name)) ? folder.readText(name) : undefined;
}

async function readJson(folder: Folder, name: string): Promise<unknown> {
  const text = await readText(folder, name);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new CheckpointError(`${name} in ${folder.path} is not valid JSON. Copy the file again.`, {
      cause,
    });
  }
}
