/**
 * What a looped model is: its shapes and constants, read from and written to a Hugging Face
 * config.json. Nothing that decides a shape has a default: a missing key is an error that names it.
 *
 * Shape letters used by all of looplm: B rows, T tokens of a row, N packed tokens, D hidden size,
 * H query heads, K key-value heads, Dh head dim, F MLP width, V vocabulary, L layers, R loops,
 * S cached positions. It does not know tensors or files.
 * Source: the config of the Ouro release (arXiv 2510.25741, model_type "ouro").
 */
import { z } from 'zod';
import { ConfigError, UnsupportedError } from '../errors.js';
import { quote, showValue } from '../util/quote.js';
import type { ModelFormat } from './weight-format.js';
import { parseModelFormat } from './weight-format.js';

/** The shapes and constants of one looped model. */
export interface LoopLMConfig {
  /** D: width of the residual stream. */
  readonly hiddenSize: number;
  /** F: inner width of the MLP. */
  readonly intermediateSize: number;
  /** L: layers of the shared stack (each is run once per loop). */
  readonly numHiddenLayers: number;
  /** H. */
  readonly numAttentionHeads: number;
  /** K; divides H. */
  readonly numKeyValueHeads: number;
  /** Dh; even. H * Dh need not equal D. */
  readonly headDim: number;
  /** V. */
  readonly vocabSize: number;
  /** Base of the rotary angles. */
  readonly ropeTheta: number;
  readonly rmsNormEps: number;
  /** Longest context in tokens. */
  readonly maxPositionEmbeddings: number;
  /** Whether the readout uses the embedding matrix. */
  readonly tieWordEmbeddings: boolean;
  /** R: the depth the model was trained for (`total_ut_steps`). */
  readonly numLoops: number;
  /** Default threshold of Q-exit in (0, 1]; 1 means full depth (`early_exit_threshold`). */
  readonly exitThreshold: number;
  /** Standard deviation of fresh matrices. */
  readonly initializerRange: number;
  readonly bosTokenId?: number;
  /** Ids that end a sequence; empty when the config names none. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId?: number;
}

/** A parsed config.json. */
export interface ParsedModelConfig {
  readonly config: LoopLMConfig;
  /** Keys of the file that looplm does not know and that had no effect, sorted. */
  readonly ignoredKeys: readonly string[];
  /** How the weights are stored, if looplm converted the model. */
  readonly format?: ModelFormat;
}

const ARCHITECTURE = 'OuroForCausalLM';
const MODEL_TYPE = 'ouro';

/** What a key's value must be, as a check and in words. */
interface Rule<T> {
  readonly schema: z.ZodType<T>;
  readonly allowed: string;
}

function rule<T>(schema: z.ZodType<T>, allowed: string): Rule<T> {
  return { schema, allowed };
}

const count = (max: number) => rule(z.int().min(1).max(max), `an integer from 1 to ${max}`);
const positive = rule(z.number().positive(), 'a number above 0');
const flag = rule(z.boolean(), 'true or false');
const tokenId = (vocabSize: number) =>
  rule(z.int().min(0).lt(vocabSize), `a token id from 0 to ${vocabSize - 1}`);

// Far above any real model; they keep a damaged file from asking for absurd amounts of memory.
const MAX_WIDTH = 2 ** 20;
const MAX_HEADS = 2 ** 14;
const MAX_VOCAB = 2 ** 24;
const MAX_CONTEXT = 2 ** 30;
const MAX_LAYERS = 4096;
const MAX_LOOPS = 1024;

/** Keys that other programs need and that change nothing here. */
const HARMLESS_KEYS = new Set([
  '_attn_implementation',
  '_name_or_path',
  'auto_map',
  'chunk_size',
  'dtype',
  'max_window_layers',
  'sliding_window',
  'torch_dtype',
  'transformers_version',
  'use_cache',
]);

/** Keys that may only be absent or have the given value: anything else is another model. */
const FIXED_KEYS: Readonly<Record<string, unknown>> = {
  attention_bias: false,
  mlp_bias: false,
  rope_parameters: null,
  rope_scaling: null,
  use_sliding_window: false,
};

/**
 * Reads a Hugging Face config of the Ouro architecture.
 *
 * `head_dim` may be absent: then it is `hidden_size / num_attention_heads`. Keys that looplm does
 * not know are returned in `ignoredKeys`, for the caller to show.
 *
 * @param json - the parsed content of config.json.
 * @throws ConfigError if a key is missing, out of range or contradicts another one.
 * @throws UnsupportedError if the config describes another architecture or variant.
 */
export function parseModelConfig(json: unknown): ParsedModelConfig {
  const object = z.record(z.string(), z.unknown()).safeParse(json);
  if (!object.success) {
    throw new ConfigError(
      'config.json',
      `config.json holds ${showValue(json)}; it must be an object.`,
    );
  }
  const fields = new Fields(object.data);
  checkArchitecture(fields);
  const vocabSize = fields.required('vocab_size', count(MAX_VOCAB));
  const hiddenSize = fields.required('hidden_size', count(MAX_WIDTH));
  const numAttentionHeads = fields.required('num_attention_heads', count(MAX_HEADS));
  const bosTokenId = fields.optional('bos_token_id', tokenId(vocabSize));
  const padTokenId = fields.optional('pad_token_id', tokenId(vocabSize));
  const config: LoopLMConfig = {
    hiddenSize,
    intermediateSize: fields.required('intermediate_size', count(MAX_WIDTH)),
    numHiddenLayers: fields.required('num_hidden_layers', count(MAX_LAYERS)),
    numAttentionHeads,
    numKeyValueHeads: fields.required('num_key_value_heads', count(MAX_HEADS)),
    headDim:
      fields.optional('head_dim', count(MAX_WIDTH)) ??
      derivedHeadDim(hiddenSize, numAttentionHeads),
    vocabSize,
    ropeTheta: fields.required('rope_theta', positive),
    rmsNormEps: fields.required('rms_norm_eps', positive),
    maxPositionEmbeddings: fields.required('max_position_embeddings', count(MAX_CONTEXT)),
    tieWordEmbeddings: fields.required('tie_word_embeddings', flag),
    numLoops: fields.required('total_ut_steps', count(MAX_LOOPS)),
    exitThreshold: fields.required(
      'early_exit_threshold',
      rule(z.number().gt(0).max(1), 'in (0, 1], 1 meaning full depth'),
    ),
    initializerRange: fields.required('initializer_range', positive),
    eosTokenIds: eosTokenIds(fields, vocabSize),
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    ...(padTokenId === undefined ? {} : { padTokenId }),
  };
  checkHeads(config);
  checkLayerTypes(fields, config.numHiddenLayers);
  checkFixedKeys(fields);
  const format = modelFormat(fields);
  return { config, ignoredKeys: fields.unread(), ...(format === undefined ? {} : { format }) };
}

/**
 * The config.json content of a model, in the key order and layout of the release.
 *
 * `parseModelConfig` gives the same config back.
 *
 * @param torchDtype - the storage type of the weights, as `torch_dtype`.
 */
export function modelConfigToJson(
  config: LoopLMConfig,
  torchDtype: 'float32' | 'bfloat16' | 'float16',
): Record<string, unknown> {
  const [firstEos, ...otherEos] = config.eosTokenIds;
  return {
    architectures: [ARCHITECTURE],
    attention_dropout: 0,
    bos_token_id: config.bosTokenId ?? null,
    early_exit_threshold: config.exitThreshold,
    eos_token_id: otherEos.length > 0 ? config.eosTokenIds : (firstEos ?? null),
    head_dim: config.headDim,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    initializer_range: config.initializerRange,
    intermediate_size: config.intermediateSize,
    layer_types: Array<string>(config.numHiddenLayers).fill('full_attention'),
    max_position_embeddings: config.maxPositionEmbeddings,
    max_window_layers: config.numHiddenLayers,
    model_type: MODEL_TYPE,
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    pad_token_id: config.padTokenId ?? null,
    rms_norm_eps: config.rmsNormEps,
    rope_scaling: null,
    rope_theta: config.ropeTheta,
    sliding_window: null,
    tie_word_embeddings: config.tieWordEmbeddings,
    torch_dtype: torchDtype,
    total_ut_steps: config.numLoops,
    use_cache: true,
    use_sliding_window: false,
    vocab_size: config.vocabSize,
  };
}

/** Reads keys of the file by rule and remembers which were asked for. */
class Fields {
  readonly #json: Readonly<Record<string, unknown>>;
  readonly #known = new Set(HARMLESS_KEYS);

  constructor(json: Readonly<Record<string, unknown>>) {
    this.#json = json;
  }

  required<T>(key: string, allowed: Rule<T>): T {
    const value = this.optional(key, allowed);
    if (value !== undefined) return value;
    throw new ConfigError(
      key,
      `config.json has no ${key}; it must be ${allowed.allowed}. Add it: looplm assumes no defaults.`,
    );
  }

  /** `undefined` when the key is absent or null. */
  optional<T>(key: string, { schema, allowed }: Rule<T>): T | undefined {
    const value = this.raw(key);
    if (value === undefined || value === null) return undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new ConfigError(
      key,
      `config.json: ${key} is ${showValue(value)}; it must be ${allowed}.`,
    );
  }

  raw(key: string): unknown {
    this.#known.add(key);
    return Object.hasOwn(this.#json, key) ? this.#json[key] : undefined;
  }

  unread(): string[] {
    return Object.keys(this.#json)
      .filter((key) => !this.#known.has(key))
      .toSorted();
  }
}

function checkArchitecture(fields: Fields): void {
  const modelType = fields.required('model_type', rule(z.string(), `"${MODEL_TYPE}"`));
  const names = fields.optional('architectures', rule(z.array(z.string()), 'a list of names'));
  if (modelType === MODEL_TYPE && (names === undefined || names.includes(ARCHITECTURE))) return;
  const got =
    modelType === MODEL_TYPE ? names?.map(quote).slice(0, 3).join(', ') : quote(modelType);
  throw new UnsupportedError(
    `config.json describes the architecture ${got || 'none'}; looplm reads ${ARCHITECTURE} (model_type "${MODEL_TYPE}"). Use a looped checkpoint in that layout.`,
  );
}

function derivedHeadDim(hiddenSize: number, numAttentionHeads: number): number {
  if (hiddenSize % numAttentionHeads === 0) return hiddenSize / numAttentionHeads;
  throw new ConfigError(
    'head_dim',
    `config.json has no head_dim, and hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${numAttentionHeads}. Add head_dim.`,
  );
}

function checkHeads({ numAttentionHeads, numKeyValueHeads, headDim }: LoopLMConfig): void {
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw new ConfigError(
      'num_key_value_heads',
      `config.json: num_key_value_heads is ${numKeyValueHeads}; it must divide num_attention_heads, ${numAttentionHeads}.`,
    );
  }
  if (headDim % 2 !== 0) {
    throw new ConfigError(
      'head_dim',
      `config.json: head_dim is ${headDim}; it must be even, since rotary positions turn pairs.`,
    );
  }
}

function eosTokenIds(fields: Fields, vocabSize: number): number[] {
  const one = tokenId(vocabSize);
  const ids = rule(z.union([one.schema, z.array(one.schema)]), `${one.allowed}, or a list of them`);
  return [fields.optional('eos_token_id', ids) ?? []].flat();
}

function checkLayerTypes(fields: Fields, numHiddenLayers: number): void {
  const types = fields.optional('layer_types', rule(z.array(z.string()), 'a list of names'));
  if (types === undefined) return;
  if (types.length !== numHiddenLayers) {
    throw new ConfigError(
      'layer_types',
      `config.json: layer_types has ${types.length} entries; it must have num_hidden_layers, ${numHiddenLayers}.`,
    );
  }
  const other = types.find((type) => type !== 'full_attention');
  if (other === undefined) return;
  throw new UnsupportedError(
    `config.json: layer_types holds ${quote(other)}; looplm computes "full_attention" only.`,
  );
}

function modelFormat(fields: Fields): ModelFormat | undefined {
  const found = fields.optional(
    'quantization_config',
    rule(z.looseObject({ quant_method: z.string() }), 'absent, or an object with a quant_method'),
  );
  if (found === undefined) return undefined;
  if (found.quant_method === 'looplm') return parseModelFormat(found);
  throw new UnsupportedError(
    `config.json: the weights are quantised by ${quote(found.quant_method)}; looplm reads models that it quantised itself. Start from the unquantised checkpoint and run looplm convert.`,
  );
}

function checkFixedKeys(fields: Fields): void {
  fields.required('hidden_act', rule(z.literal('silu'), '"silu"'));
  fields.optional('attention_dropout', rule(z.literal(0), '0: looplm has no dropout'));
  for (const [key, expected] of Object.entries(FIXED_KEYS)) {
    const value = fields.raw(key);
    if (value === undefined || value === null || value === expected) continue;
    throw new UnsupportedError(
      `config.json: ${key} is ${showValue(value)}; looplm computes models with ${String(expected)} only.`,
    );
  }
}
