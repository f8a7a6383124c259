/**
 * A loaded model with its tokenizer: text in, text out, each token at its own depth.
 *
 * The one idea: the engine works on token ids; here prompts become ids, events gain the text that
 * has become certain, and stop strings end a sequence. Nothing here computes.
 * Knows no file system and no thread: it is given a `Folder` and a `Device`.
 */
import type {
  EngineEvent,
  EngineStats,
  StepReport,
  Trace,
  TracedPrompt,
  TraceOptions,
} from './engine/index.js';
import { Engine, UpdatableWeights, cutRollout } from './engine/index.js';
import { kvDtypeOn } from './device-storage.js';
import { ConfigError, DisposedError, RequestError } from './errors.js';
import type {
  ChatOptions,
  ChatPromptOptions,
  GenerateOptions,
  Prompt,
} from './generate-options.js';
import {
  checkPrompt,
  checkPrompts,
  parseChatOptions,
  parseChatPromptOptions,
  parseGenerateOptions,
} from './generate-options.js';
import type { ResolvedOptions } from './generation-request.js';
import { resolveOptions } from './generation-request.js';
import type { LoadOptions } from './load-options.js';
import { checkFolder, parseLoadOptions } from './load-options.js';
import type { Folder, LoopLMConfig } from './model/index.js';
import { loadWeights, readModelConfig } from './model/index.js';
import type { Device } from './runtime/index.js';
import type { PretrainedOptions } from './platform/node/pretrained-options.js';
import type { TextEvent, TextFiles, TextFinishEvent } from './text/index.js';
import { loadTextFiles, SequenceText, stopTokenNotesOf, stopTokensOf } from './text/index.js';
import type {
  ChatMessage,
  ChatTemplate,
  SamplingDefaults,
  StopToken,
  Tokenizer,
  TokenizerConfig,
} from './tokenizer/index.js';
import { isThinkingName, opensThinking, turnEndId } from './tokenizer/index.js';
import { checkSameModel, checkUnchanged, plainWeights } from './weight-exchange.js';

export type {
  ChatOptions,
  ChatPromptOptions,
  GenerateOptions,
  Prompt,
} from './generate-options.js';
export type { LoadOptions } from './load-options.js';
export type { TextEvent, TextFinishEvent, TextTokenEvent } from './text/index.js';

/** Tokens at the end of a prompt that surely hold a `<think>` that is open: more than its bytes. */
const THINK_TAIL = 16;

/** A looped language model, loaded and ready. The owner disposes it. */
export class LoopLM {
  readonly config: LoopLMConfig;
  /** Absent if the folder has no tokenizer.json: then prompts are token ids. */
  readonly tokenizer: Tokenizer | undefined;
  /** The template that came with the model, if one did. */
  readonly chatTemplate: ChatTemplate | undefined;
  /** What tokenizer_config.json says: the special tokens that a template of one's own may use. */
  readonly tokenizerConfig: TokenizerConfig;
  /** Tokens that end a text, and which file of the model names each. */
  readonly stopTokens: readonly StopToken[];
  /** How the model wants its tokens drawn, by its generation_config.json; empty without. */
  readonly samplingDefaults: SamplingDefaults;
  /** Whether `chat` begins with reasoning if not told: the model's name contains "Thinking". */
  readonly thinksByDefault: boolean;
  /** Keys of config.json that looplm does not know and did not use. */
  readonly ignoredKeys: readonly string[];
  /** What one should know of the model's files though nothing is wrong with them, in sentences. */
  readonly notes: readonly string[];
  readonly #name: string;
  readonly #engine: Engine;
  readonly #weights: UpdatableWeights | undefined;
  readonly #ownedDevice: Device | undefined;
  #disposed: Promise<void> | undefined;

  private constructor(
    texts: TextFiles,
    model: Pick<LoopLM, 'config' | 'ignoredKeys' | 'notes'>,
    name: string,
    engine: Engine,
    weights: UpdatableWeights | undefined,
    ownedDevice: Device | undefined,
  ) {
    this.config = model.config;
    this.ignoredKeys = model.ignoredKeys;
    this.notes = [...model.notes, ...stopTokenNotesOf(texts, model.config)];
    this.tokenizer = texts.tokenizer;
    this.chatTemplate = texts.chatTemplate;
    this.tokenizerConfig = texts.tokenizerConfig;
    this.stopTokens = stopTokensOf(texts, model.config);
    this.samplingDefaults = texts.generationConfig.sampling;
    this.thinksByDefault = isThinkingName(name);
    this.#name = name;
    this.#engine = engine;
    this.#weights = weights;
    this.#ownedDevice = ownedDevice;
  }

  /** Ids of `stopTokens`. */
  get eosTokenIds(): readonly number[] {
    return this.stopTokens.map(({ id }) => id);
  }

  /**
   * Loads a model by its folder or its name on the Hugging Face hub (`ORG/NAME`): downloads what is
   * not cached, converts a large checkpoint once, and plans the memory before it loads. The model
   * owns its device.
   *
   * @throws CapacityError if the memory that it needs is not there; LoopLMError as `load` does, and
   *   if the model cannot be had.
   */
  static async fromPretrained(idOrPath: string, options: PretrainedOptions = {}): Promise<LoopLM> {
    const { openPretrained } = await import('#platform');
    return openPretrained(idOrPath, options, LoopLM.load);
  }

  /**
   * Loads a model folder in the Hugging Face layout: config.json and weights, and where they are
   * there tokenizer.json, tokenizer_config.json, chat_template.jinja and generation_config.json.
   * Weights that looplm converted stay in their file, which is mapped into memory: the folder's path
   * must then be one on disk, without symbolic links out of it. Others are read as float32.
   *
   * @throws LoopLMError if a file is missing, damaged or contradicts another, or if the device cannot
   *   compute with the model's weights or the type of keys and values; the reason of the signal
   *   when it aborts, before the next tensor or program.
   */
  static async load(folder: Folder, options: LoadOptions): Promise<LoopLM> {
    checkFolder(folder);
    const checked = parseLoadOptions(options);
    const { device, ownsDevice = false, name = folder.path, parsedConfig, ...others } = checked;
    const { updatable = false, maxSequences, adapter, gate, ...rest } = others;
    if (updatable) checkUnchanged({ adapter, gate });
    const texts = await loadTextFiles(folder);
    const parsed = parsedConfig ?? (await readModelConfig(folder));
    const kvDtype = kvDtypeOn(device, parsed, rest.kvDtype);
    const { weights: loaded, ...model } = await loadWeights(folder, {
      signal: rest.signal,
      parsed,
      adapter,
      gate,
    });
    const { config } = model;
    const exchanged = updatable
      ? await UpdatableWeights.create(device, config, plainWeights(loaded, 'updatable'))
      : undefined;
    const weights = exchanged ?? loaded;
    const limits = maxSequences === undefined ? {} : { maxSequences };
    const parts = { ...rest, kvDtype, device, config, weights, limits };
    const engine = await Engine.create(parts).catch(async (error: unknown) => {
      await exchanged?.dispose();
      throw error;
    });
    return new LoopLM(texts, model, name, engine, exchanged, ownsDevice ? device : undefined);
  }

  /**
   * Token ids of a prompt; ids are passed through.
   *
   * @throws RequestError for a text without a tokenizer, or one that the vocabulary cannot spell, and
   *   for what is no prompt.
   */
  encode(prompt: Prompt): readonly number[] {
    checkPrompt(prompt);
    if (typeof prompt !== 'string') return prompt;
    if (this.tokenizer) return this.tokenizer.encode(prompt);
    throw new RequestError(
      'The prompt is a text, but the model folder has no tokenizer.json; give token ids, or add the file.',
    );
  }

  /**
   * Throws what `generate` would throw before it computes anything.
   *
   * @returns token ids of the prompt
   * @throws LoopLMError if the prompt or an option is not valid
   */
  check(prompt: Prompt, options: GenerateOptions = {}): readonly number[] {
    this.#checkAlive();
    const { request } = this.#resolve(parseGenerateOptions(options), this.eosTokenIds);
    const promptIds = this.encode(prompt);
    this.#engine.check([{ ...request, promptIds }]);
    return promptIds;
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
   * interleave; `promptIndex` tells them apart, and each ends on its own.
   *
   * @throws LoopLMError, before anything is computed, if a prompt or an option is not valid.
   */
  async *generateBatch(
    prompts: readonly Prompt[],
    options: GenerateOptions = {},
  ): AsyncGenerator<TextEvent> {
    yield* this.#run(prompts, parseGenerateOptions(options), this.eosTokenIds);
  }

  /** Continues a prompt and returns the result as a whole. Throws as `generate` does. */
  async complete(prompt: Prompt, options: GenerateOptions = {}): Promise<TextFinishEvent> {
    return lastOf(this.generate(prompt, options));
  }

  /**
   * Answers a conversation. Stops at the end of a turn of the template, too. Reasoning and answer
   * come apart (`splitReasoning`); what is put back into the messages for the next turn should be
   * the `answer` alone: chat models read their earlier turns without the reasoning.
   *
   * @throws ConfigError if neither the model nor the options have a chat template.
   * @throws LoopLMError as `generate` and `ChatTemplate.apply` do.
   */
  async *chat(
    messages: readonly ChatMessage[],
    options: ChatOptions = {},
  ): AsyncGenerator<TextEvent> {
    const { chatTemplate, enableThinking, tools, templateArguments, ...rest } =
      parseChatOptions(options);
    const of = { chatTemplate, enableThinking, tools, templateArguments };
    const { prompt, endIds } = this.chatPrompt(messages, of);
    const splitReasoning = rest.splitReasoning ?? true;
    yield* this.#run([prompt], { ...rest, splitReasoning }, endIds);
  }

  /**
   * What `chat` continues: the conversation as the template renders it, and the ids that end the answer
   * (as `stopIds` of `generate`).
   *
   * @throws ConfigError if neither the model nor the options have a chat template
   * @throws RequestError as `ChatTemplate.apply` does
   */
  chatPrompt(
    messages: readonly ChatMessage[],
    options: ChatPromptOptions = {},
  ): { readonly prompt: string; readonly endIds: readonly number[] } {
    const parsed = parseChatPromptOptions(options);
    const { chatTemplate = this.chatTemplate, enableThinking, tools, templateArguments } = parsed;
    if (!chatTemplate) {
      throw new ConfigError(
        'chatTemplate',
        'The model has no chat template, and chat needs one. It may not be a chat model: use generate, or give chatTemplate, such as new ChatTemplate(CHATML_TEMPLATES.corrected).',
      );
    }
    const prompt = chatTemplate.apply(messages, {
      addGenerationPrompt: true,
      enableThinking: enableThinking ?? (this.thinksByDefault || undefined),
      tools,
      variables: templateArguments,
    });
    const turnEnd = this.tokenizer && turnEndId(chatTemplate, this.tokenizer);
    const endIds = turnEnd === undefined ? this.eosTokenIds : [...this.eosTokenIds, turnEnd];
    return { prompt, endIds };
  }

  /**
   * All that full depth computes for a prompt: states, gates and logits of every loop. After an abort
   * the model can be used as before.
   *
   * @throws LoopLMError if the prompt or an option is not valid; the reason of the signal when it aborts
   */
  async trace(prompt: Prompt, options: TraceOptions = {}): Promise<Trace> {
    this.#checkAlive();
    return this.#engine.trace(this.encode(prompt), options).catch((error: unknown) => {
      throw this.#named(error);
    });
  }

  /** As `Engine.tracePieces`: traces of chosen positions that are never held as a whole. */
  async *tracePieces(
    prompts: readonly TracedPrompt[],
    options: TraceOptions = {},
  ): AsyncGenerator<Trace> {
    this.#checkAlive();
    try {
      yield* this.#engine.tracePieces(prompts, options);
    } catch (error) {
      throw this.#named(error);
    }
  }

  /** What the engine is doing now, and has done. */
  get stats(): EngineStats {
    return this.#engine.stats;
  }

  /** Calls a listener after every step of the engine, until what is returned is called. */
  onStep(listener: (report: StepReport) => void): () => void {
    return this.#engine.onStep(listener);
  }

  /** Computes nothing more, so that requests stay where they are; returns once nothing runs. */
  async pause(): Promise<void> {
    await this.#engine.pause();
  }

  /** Goes on after `pause`. */
  resume(): void {
    this.#engine.resume();
  }

  /** Forgets what earlier prompts have left for those that begin alike. */
  clearPrefixes(): void {
    this.#engine.clearPrefixes();
  }

  /**
   * Exchanges all weights between two steps, for those of another folder of the same model. Requests under
   * way keep the tokens that they have, compute the rest of their past again and go on with the new weights.
   *
   * @returns the version of the weights, which counts updates
   * @throws ConfigError if the model was not loaded as `updatable`, or the folder holds another model
   * @throws LoopLMError as `load` does, and the reason of the signal; then the weights are as before
   */
  async updateWeights(
    folder: Folder,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<number> {
    this.#checkAlive();
    checkFolder(folder);
    if (!this.#weights) {
      throw new ConfigError(
        'updatable',
        `The model ${this.#name} was not loaded as updatable, so its weights cannot be exchanged; load it with updatable: true.`,
      );
    }
    const parsed = await readModelConfig(folder);
    checkSameModel(this.config, parsed.config);
    const { weights } = await loadWeights(folder, { signal, parsed });
    return this.#weights.update(plainWeights(weights, 'folder'));
  }

  /**
   * Frees the model, and the device if it is owned. Later calls throw `DisposedError`, and so do those
   * that are under way, before their next program.
   */
  dispose(): Promise<void> {
    // all that the model has on a device goes with it, and at once
    this.#disposed ??= this.#ownedDevice
      ? this.#ownedDevice.dispose()
      : this.#engine.dispose().then(() => this.#weights?.dispose());
    return this.#disposed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async *#run(
    prompts: readonly Prompt[],
    options: GenerateOptions,
    endIds: readonly number[],
  ): AsyncGenerator<TextEvent> {
    this.#checkAlive();
    checkPrompts(prompts);
    const { request, stopStrings } = this.#resolve(options, endIds);
    const stops = prompts.map(() => new AbortController());
    const requests = prompts.map((prompt, index) => ({
      ...request,
      promptIds: this.encode(prompt),
      signal: AbortSignal.any([stops[index]!.signal, ...(options.signal ? [options.signal] : [])]),
    }));
    const texts = prompts.map(
      (prompt) =>
        new SequenceText(this.tokenizer, {
          stopIds: request.stopIds ?? [],
          stopStrings,
          ...(options.splitReasoning && { thinking: this.#opensThinking(prompt) }),
        }),
    );
    try {
      for await (const event of this.#engine.generate(requests)) {
        const text = texts[event.requestIndex]!;
        const shown = text.take(event);
        if (shown) yield withRollout(shown, event);
        if (text.hasEnded) stops[event.requestIndex]!.abort();
      }
    } catch (error) {
      throw this.#named(error);
    }
  }

  #checkAlive(): void {
    if (this.#disposed) throw disposedModel(this.#name);
  }

  /** The error as a caller knows it, who has a model and neither an engine nor a program. */
  #named(error: unknown): unknown {
    if (!(error instanceof DisposedError)) return error;
    return this.#disposed ? disposedModel(this.#name, error) : disposedDevice(this.#name, error);
  }

  #resolve(options: GenerateOptions, endIds: readonly number[]): ResolvedOptions {
    if (options.stopStrings?.length && !this.tokenizer) {
      throw new ConfigError(
        'stopStrings',
        'stopStrings are given, but the model folder has no tokenizer.json to make text with; use stopIds, or add the file.',
      );
    }
    return resolveOptions(options, {
      endIds,
      config: this.config,
      samplingDefaults: this.samplingDefaults,
    });
  }

  /** Whether a prompt ends in an open `<think>`; of ids, the last ones tell. */
  #opensThinking(prompt: Prompt): boolean {
    if (typeof prompt === 'string') return opensThinking(prompt);
    const known = prompt.slice(-THINK_TAIL).filter((id) => this.tokenizer?.idToToken(id));
    return this.tokenizer !== undefined && opensThinking(this.tokenizer.decode(known));
  }
}

/** The end of a text with the record of the sequence, without what was computed behind the end. */
function withRollout(shown: TextEvent, event: EngineEvent): TextEvent {
  if (shown.kind !== 'finish' || event.kind !== 'finish' || !event.rollout) return shown;
  const { tokenIds, finishReason } = shown;
  return { ...shown, rollout: cutRollout(event.rollout, tokenIds.length, finishReason) };
}

async function lastOf(events: AsyncGenerator<TextEvent>): Promise<TextFinishEvent> {
  for await (const event of events) if (event.kind === 'finish') return event;
  throw new Error('Internal error (please report it): a generation ended without a finish event');
}

const disposedModel = (name: string, cause?: unknown) =>
  new DisposedError(
    `The model ${name}`,
    'load it again, with LoopLM.fromPretrained or LoopLM.load',
    { cause },
  );

const disposedDevice = (name: string, cause: unknown) =>
  new DisposedError(
    `The device of the model ${name}`,
    'load the model again on another device, and dispose a device after its models',
    { cause },
  );
