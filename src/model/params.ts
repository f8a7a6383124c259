/**
 * The parameters of a looped model as data: names, shapes and kinds in one stable order, and fresh
 * values for training. The layers are listed once however many loops run them.
 *
 * Weights are a map from the tensor name of the release to a row-major float32 array; matrices are
 * [out, in]. It does not know files, graphs or devices.
 * Source: tensor names and order of the Ouro release (arXiv 2510.25741).
 */
import { ConfigError } from '../errors.js';
import { normalSampler } from '../util/normal.js';
import type { LoopLMConfig } from './config.js';

/** What a parameter is for; it decides initial value and weight decay. */
export type ParameterKind = 'embedding' | 'matrix' | 'norm' | 'gateWeight' | 'gateBias' | 'head';

/** One parameter tensor. */
export interface ParameterSpec {
  /** looplm's key path, such as `layers.0.qProj`. */
  readonly name: string;
  /** Name in a checkpoint file, such as `model.layers.0.self_attn.q_proj.weight`. */
  readonly hfName: string;
  readonly shape: readonly number[];
  readonly kind: ParameterKind;
}

/** Values of all parameters by `hfName`, row-major. A tied head has no entry of its own. */
export type ModelWeights = ReadonlyMap<string, Float32Array>;

/** Every parameter of a model in the order of the release; a tied head is not listed. */
export function parameterSpecs(config: LoopLMConfig): readonly ParameterSpec[] {
  const { hiddenSize: D, vocabSize: V } = config;
  const specs: ParameterSpec[] = [
    spec('embedTokens', 'model.embed_tokens.weight', [V, D], 'embedding'),
  ];
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    specs.push(...layerSpecs(config, layer));
  }
  specs.push(
    spec('norm', 'model.norm.weight', [D], 'norm'),
    spec('exitGate.weight', 'model.early_exit_gate.weight', [1, D], 'gateWeight'),
    spec('exitGate.bias', 'model.early_exit_gate.bias', [1], 'gateBias'),
  );
  if (!config.tieWordEmbeddings) specs.push(spec('lmHead', 'lm_head.weight', [V, D], 'head'));
  return specs;
}

/** Number of elements of a tensor. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Spread of fresh weights. Norms are always 1, the exit gate always 0. */
export interface InitializeOptions {
  /**
   * Standard deviation of matrices and head: a number, or `fanIn` for 1 / sqrt(columns).
   * Default: the config's `initializerRange`.
   */
  readonly matrixStd?: number | 'fanIn';
  /** Standard deviation of the embedding. Default: the config's `initializerRange`. */
  readonly embeddingStd?: number;
}

/**
 * Fresh weights for training: normal matrices, norms of one, an exit gate of zero (so every loop
 * starts with exit probability one half).
 *
 * @param seed - an integer in [0, 2^32); equal seeds give equal weights.
 * @throws ConfigError if the seed is out of range.
 */
export function initializeWeights(
  config: LoopLMConfig,
  seed: number,
  options: InitializeOptions = {},
): ModelWeights {
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw new ConfigError(
      'seed',
      `The seed is ${seed}; it must be an integer from 0 to 4294967295.`,
    );
  }
  const nextNormal = normalSampler(seed);
  const weights = new Map<string, Float32Array>();
  for (const parameter of parameterSpecs(config)) {
    const values = new Float32Array(elementCount(parameter.shape));
    if (parameter.kind === 'norm') values.fill(1);
    const std = initialStd(parameter, config, options);
    if (std > 0) for (let i = 0; i < values.length; i++) values[i] = std * nextNormal();
    weights.set(parameter.hfName, values);
  }
  return weights;
}

function initialStd(
  { kind, shape }: ParameterSpec,
  { initializerRange }: LoopLMConfig,
  { matrixStd = initializerRange, embeddingStd = initializerRange }: InitializeOptions,
): number {
  switch (kind) {
    case 'embedding':
      return embeddingStd;
    case 'matrix':
    case 'head':
      return matrixStd === 'fanIn' ? 1 / Math.sqrt(shape.at(-1)!) : matrixStd;
    case 'norm':
    case 'gateWeight':
    case 'gateBias':
      return 0;
    default:
      return kind satisfies never;
  }
}

function layerSpecs(config: LoopLMConfig, layer: number): ParameterSpec[] {
  const { hiddenSize: D, intermediateSize: F, headDim } = config;
  const queryWidth = config.numAttentionHeads * headDim;
  const keyWidth = config.numKeyValueHeads * headDim;
  const entry = (name: string, hfName: string, shape: readonly number[]) =>
    spec(
      `layers.${layer}.${name}`,
      `model.layers.${layer}.${hfName}.weight`,
      shape,
      shape.length === 1 ? 'norm' : 'matrix',
    );
  return [
    entry('inputLayernorm', 'input_layernorm', [D]),
    entry('inputLayernorm2', 'input_layernorm_2', [D]),
    entry('qProj', 'self_attn.q_proj', [queryWidth, D]),
    entry('kProj', 'self_attn.k_proj', [keyWidth, D]),
    entry('vProj', 'self_attn.v_proj', [keyWidth, D]),
    entry('oProj', 'self_attn.o_proj', [D, queryWidth]),
    entry('postAttentionLayernorm', 'post_attention_layernorm', [D]),
    entry('postAttentionLayernorm2', 'post_attention_layernorm_2', [D]),
    entry('gateProj', 'mlp.gate_proj', [F, D]),
    entry('upProj', 'mlp.up_proj', [F, D]),
    entry('downProj', 'mlp.down_proj', [D, F]),
  ];
}

function spec(
  name: string,
  hfName: string,
  shape: readonly number[],
  kind: ParameterKind,
): ParameterSpec {
  return { name, hfName, shape, kind };
}
