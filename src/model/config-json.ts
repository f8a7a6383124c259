/**
 * A model's config as a Hugging Face config.json: read, checked and written.
 *
 * Nothing that decides a shape has a default: a missing key is an error that names it, and all that
 * is wrong with a file is told at once. Keys that only one architecture has are its own business
 * (architectures/). It does not know tensors or files.
 */
import { z } from 'zod';
import { ConfigError, UnsupportedError } from '../errors.js';
import { quote, showValue } from '../util/quote.js';
import { withoutUndefined } from '../util/without-undefined.js';
import type { Architecture } from './architectures/index.js';
import { ARCHITECTURES, architectureOf } from './architectures/index.js';
import type { LoopLMConfig } from './config.js';
import type { Rule } from './config-fields.js';
import { ConfigFields, count, flag, numberFrom, rule } from './config-fields.js';
import { elementCount, parameterSpecs } from './params.js';
import { readRopeTheta } from './rope-fields.js';
import type { ModelFormat } from './weight-format.js';
import { parseModelFormat } from './weight-format.js';

/** A parsed config.json. */
export interface ParsedModelConfig {
  readonly config: LoopLMConfig;
  /** Keys of the file that looplm does not know and that had no effect, sorted. */
  readonly ignoredKeys: readonly string[];
  /** What a user should know of the model's files though nothing is wrong, in sentences. */
  readonly notes: readonly string[];
  /** How the weights are stored, if looplm converted the model. */
  readonly format?: ModelFormat;
}

// Far above any real model; they keep a damaged file from asking for absurd amounts of memory.
const MAX_WIDTH = 2 ** 20;
const MAX_HEADS = 2 ** 14;
const MAX_VOCAB = 2 ** 24;
const MAX_CONTEXT = 2 ** 30;
const MAX_LAYERS = 4096;
const MAX_PARAMETERS = 1e12;

/** Keys that other programs need and that change nothing here. */
const HARMLESS_KEYS = [
  '_attn_implementation',
  '_name_or_path',
  'auto_map',
  'dtype',
  'torch_dtype',
  'transformers_version',
  'use_cache',
];

/** Keys that may only be absent, null or false: anything else is another model. */
const OFF_KEYS = ['attention_bias', 'mlp_bias', 'use_sliding_window'];

/**
 * Reads a Hugging Face config of an architecture that looplm computes.
 *
 * `head_dim` may be absent: then it is `hidden_size / num_attention_heads`. Keys that looplm does
 * not know are returned in `ignoredKeys`, for the caller to show, as are the `notes`.
 *
 * @param json - the parsed content of config.json.
 * @param file - what to call it in messages.
 * @throws ConfigError if keys are missing, out of range or contradict each other; it names them all.
 * @throws UnsupportedError if the config describes another architecture or variant.
 */
export function parseModelConfig(json: unknown, file = 'config.json'): ParsedModelConfig {
  const object = z.record(z.string(), z.unknown()).safeParse(json);
  if (!object.success) {
    throw new ConfigError(
      file,
      `${file} holds ${showValue(json)}; it must be an object. Give the config.json of a model.`,
    );
  }
  const fields = new ConfigFields(file, object.data);
  const architecture = findArchitecture(fields, file);
  const values = readConfig(fields, architecture);
  checkHeads(fields, values);
  checkLayerTypes(fields, values.numHiddenLayers);
  checkComputation(fields);
  const format = modelFormat(fields);
  fields.ignore(HARMLESS_KEYS);
  fields.finish();
  // No fault was noted, so what is required is there.
  const config = withoutUndefined(values) as unknown as LoopLMConfig;
  checkSize(config, file);
  return {
    config,
    ignoredKeys: fields.unread(),
    notes: fields.notes,
    ...(format === undefined ? {} : { format }),
  };
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
  const architecture = architectureOf(config);
  const [firstEos, ...otherEos] = config.eosTokenIds;
  const json = {
    architectures: [architecture.className],
    attention_dropout: 0,
    bos_token_id: config.bosTokenId ?? null,
    eos_token_id: otherEos.length > 0 ? config.eosTokenIds : (firstEos ?? null),
    head_dim: config.headDim,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    initializer_range: config.initializerRange,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositionEmbeddings,
    model_type: architecture.name,
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    pad_token_id: config.padTokenId ?? null,
    rms_norm_eps: config.rmsNormEps,
    rope_scaling: null,
    rope_theta: config.ropeTheta,
    tie_word_embeddings: config.tieWordEmbeddings,
    torch_dtype: torchDtype,
    use_cache: true,
    vocab_size: config.vocabSize,
    ...architecture.configJson(config),
  };
  return Object.fromEntries(Object.entries(json).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The architecture that a file names; without one no other key can be judged. */
function findArchitecture(fields: ConfigFields, file: string): Architecture {
  const known = Object.values(ARCHITECTURES);
  const names = known.map(({ name }) => quote(name)).join(' or ');
  const modelType = fields.required('model_type', rule(z.string(), names));
  const classes = fields.optional('architectures', rule(z.array(z.string()), 'a list of names'));
  fields.finish();
  const found = known.find(({ name }) => name === modelType);
  if (found && (classes === undefined || classes.includes(found.className))) return found;
  const got = found ? classes?.map(quote).slice(0, 3).join(', ') : quote(modelType!);
  const layouts = known.map(({ name, className }) => `${className} (model_type ${quote(name)})`);
  throw new UnsupportedError(
    `${file} describes the architecture ${got || 'none'}; looplm reads ${layouts.join(' and ')}. Use a looped checkpoint in one of these layouts.`,
  );
}

/** A config under construction: a value is `undefined` where it may be absent, or is wrong. */
type Values = { readonly [K in keyof Required<LoopLMConfig>]: LoopLMConfig[K] | undefined };

function readConfig(fields: ConfigFields, architecture: Architecture): Values {
  const vocabSize = fields.required('vocab_size', count(MAX_VOCAB));
  const hiddenSize = fields.required('hidden_size', count(MAX_WIDTH));
  const numAttentionHeads = fields.required('num_attention_heads', count(MAX_HEADS));
  const id = tokenId(vocabSize);
  const own = architecture.readConfig(fields);
  return {
    architecture: architecture.name,
    hiddenSize,
    intermediateSize: fields.required('intermediate_size', count(MAX_WIDTH)),
    numHiddenLayers: fields.required('num_hidden_layers', count(MAX_LAYERS)),
    numAttentionHeads,
    numKeyValueHeads: fields.required('num_key_value_heads', count(MAX_HEADS)),
    headDim: readHeadDim(fields, hiddenSize, numAttentionHeads),
    vocabSize,
    ropeTheta: readRopeTheta(fields),
    rmsNormEps: fields.required('rms_norm_eps', numberFrom(1e-12, 1)),
    maxPositionEmbeddings: fields.required('max_position_embeddings', count(MAX_CONTEXT)),
    tieWordEmbeddings: fields.required('tie_word_embeddings', flag),
    numLoops: own.numLoops,
    skipLoopFinalNorm: own.skipLoopFinalNorm || undefined,
    exitThreshold: own.exitThreshold,
    exitDepth: own.exitDepth,
    initializerRange: fields.required('initializer_range', numberFrom(1e-12, 100)),
    bosTokenId: fields.optional('bos_token_id', id),
    eosTokenIds: [
      fields.optional(
        'eos_token_id',
        rule(z.union([id.schema, z.array(id.schema)]), `${id.allowed}, or a list of them`),
      ) ?? [],
    ].flat(),
    padTokenId: fields.optional('pad_token_id', id),
  };
}

function tokenId(vocabSize: number | undefined): Rule<number> {
  const last = (vocabSize ?? MAX_VOCAB) - 1;
  const allowed =
    vocabSize === undefined ? 'a token id of the vocabulary' : `a token id from 0 to ${last}`;
  return rule(z.int().min(0).max(last), allowed);
}

function readHeadDim(
  fields: ConfigFields,
  hiddenSize: number | undefined,
  numAttentionHeads: number | undefined,
): number | undefined {
  const headDim = fields.optional('head_dim', count(MAX_WIDTH));
  if (fields.has('head_dim')) return headDim;
  if (hiddenSize === undefined || numAttentionHeads === undefined) return undefined;
  if (hiddenSize % numAttentionHeads === 0) return hiddenSize / numAttentionHeads;
  fields.fault(
    'head_dim',
    `head_dim is missing, and hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${numAttentionHeads}. Add head_dim.`,
  );
  return undefined;
}

function checkHeads(
  fields: ConfigFields,
  { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim }: Values,
): void {
  if (heads !== undefined && kvHeads !== undefined && heads % kvHeads !== 0) {
    fields.fault(
      'num_key_value_heads',
      `num_key_value_heads is ${kvHeads}; it must divide num_attention_heads, ${heads}. Correct one of them.`,
    );
  }
  if (headDim !== undefined && headDim % 2 !== 0) {
    fields.fault(
      'head_dim',
      `head_dim is ${headDim}; it must be even, since rotary positions turn pairs. Correct it.`,
    );
  }
  if (heads !== undefined && headDim !== undefined && heads * headDim > MAX_WIDTH) {
    fields.fault(
      'head_dim',
      `num_attention_heads times head_dim is ${heads * headDim}; it must be at most ${MAX_WIDTH}. Correct one of them.`,
    );
  }
}

function checkLayerTypes(fields: ConfigFields, numHiddenLayers: number | undefined): void {
  const types = fields.optional('layer_types', rule(z.array(z.string()), 'a list of names'));
  if (types === undefined) return;
  if (numHiddenLayers !== undefined && types.length !== numHiddenLayers) {
    fields.fault(
      'layer_types',
      `layer_types has ${types.length} entries; it must have num_hidden_layers, ${numHiddenLayers}. Correct one of them.`,
    );
  }
  const other = types.find((type) => type !== 'full_attention');
  if (other === undefined) return;
  fields.unsupported(
    'layer_types',
    `layer_types holds ${quote(other)}; looplm computes "full_attention" only. Use a checkpoint without it.`,
  );
}

/** Keys that say how layers compute, where looplm computes in one way only. */
function checkComputation(fields: ConfigFields): void {
  fields.required('hidden_act', rule(z.literal('silu'), '"silu"'));
  const dropout = fields.optional(
    'attention_dropout',
    rule(z.number().min(0).lt(1), 'a number from 0 to below 1'),
  );
  if (dropout !== undefined && dropout > 0) {
    fields.notes.push(
      `attention_dropout is ${dropout}: it concerns training, and looplm has none, neither in training nor in inference.`,
    );
  }
  for (const key of OFF_KEYS) {
    const value = fields.raw(key);
    if (!fields.has(key) || value === false) continue;
    fields.unsupported(
      key,
      `${key} is ${showValue(value)}; looplm computes models with false only. Use a checkpoint without it.`,
    );
  }
}

function modelFormat(fields: ConfigFields): ModelFormat | undefined {
  const key = 'quantization_config';
  const found = fields.optional(
    key,
    rule(z.looseObject({ quant_method: z.string() }), 'absent, or an object with a quant_method'),
  );
  if (found === undefined) return undefined;
  if (found.quant_method !== 'looplm') {
    fields.unsupported(
      key,
      `the weights are quantised by ${quote(found.quant_method)} (${key}); looplm reads models that it quantised itself. Start from the unquantised checkpoint and run looplm convert.`,
    );
    return undefined;
  }
  try {
    const { format, notes } = parseModelFormat(found);
    fields.notes.push(...notes.filter((note) => !fields.notes.includes(note)));
    return format;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    fields.fault(key, error.message);
    return undefined;
  }
}

/** Widths that are legal each may come to an absurd whole. */
function checkSize(config: LoopLMConfig, file: string): void {
  const size = parameterSpecs(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  if (size <= MAX_PARAMETERS) return;
  throw new ConfigError(
    'hidden_size',
    `${file}: its sizes come to ${size.toPrecision(3)} parameters; looplm reads models of at most ${MAX_PARAMETERS}. Correct hidden_size, intermediate_size, num_hidden_layers or vocab_size.`,
  );
}
