/**
 * The parameters of a looped model as data: names, shapes and kinds in one stable order, and fresh
 * values for training. The layers are listed once however many loops run them.
 *
 * Weights are a map from the tensor name of the release to a row-major float32 array; matrices are
 * [out, in]. Which tensors a layer has is its architecture's business (architectures/); the names
 * around the layers are those of all checkpoints of the kind. It does not know files or devices.
 */
import { ConfigError } from '../errors.js';
import { normalSampler } from '../util/normal.js';
import type { MatrixName, NormName } from './architectures/index.js';
import { architectureOf } from './architectures/index.js';
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

/** Name of the embedding in a checkpoint. */
export const EMBEDDING_NAME = 'model.embed_tokens.weight';
/** Name of the head in a checkpoint. */
export const HEAD_NAME = 'lm_head.weight';

/** Every parameter of a model in the order of the release; a tied head is not listed. */
export function parameterSpecs(config: LoopLMConfig): readonly ParameterSpec[] {
  const { hiddenSize: D } = config;
  const specs: ParameterSpec[] = [
    spec('embedTokens', EMBEDDING_NAME, [config.vocabSize, D], 'embedding'),
  ];
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    specs.push(...layerSpecs(config, layer));
  }
  specs.push(spec('norm', 'model.norm.weight', [D], 'norm'));
  if (architectureOf(config).hasExitGate) {
    specs.push(
      spec('exitGate.weight', 'model.early_exit_gate.weight', [1, D], 'gateWeight'),
      spec('exitGate.bias', 'model.early_exit_gate.bias', [1], 'gateBias'),
    );
  }
  if (!config.tieWordEmbeddings) specs.push(headSpec(config));
  return specs;
}

/** The head as a tensor of its own, which a tied one is in a converted model. */
export function headSpec({ vocabSize, hiddenSize }: LoopLMConfig): ParameterSpec {
  return spec('lmHead', HEAD_NAME, [vocabSize, hiddenSize], 'head');
}

/** Number of elements of a tensor. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Spread of fresh weights. The exit gate is always 0, and every norm 1 but those of `branchNorm`. */
export interface InitializeOptions {
  /**
   * Standard deviation of matrices and head: a number, or `fanIn` for 1 / sqrt(columns).
   * Default: the config's `initializerRange`.
   */
  readonly matrixStd?: number | 'fanIn';
  /** Standard deviation of the embedding. Default: the config's `initializerRange`. */
  readonly embeddingStd?: number;
  /**
   * Weights of the norms behind attention and feed-forward, where a model has them: they say how far
   * each moves its stream, and so how much of a token is left after all loops. Default 1.
   */
  readonly branchNorm?: number;
}

/**
 * Fresh weights for training: normal matrices, even norms, an exit gate of zero (so every loop
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
  const { branchNorm = 1 } = options;
  const nextNormal = normalSampler(seed);
  const weights = new Map<string, Float32Array>();
  for (const parameter of parameterSpecs(config)) {
    const values = new Float32Array(elementCount(parameter.shape));
    if (parameter.kind === 'norm') values.fill(isBehindBranch(parameter) ? branchNorm : 1);
    const std = initialStd(parameter, config, options);
    if (std > 0) for (let i = 0; i < values.length; i++) values[i] = std * nextNormal();
    weights.set(parameter.hfName, values);
  }
  return weights;
}

/** Whether a norm is of what a layer's attention or feed-forward adds to the stream. */
function isBehindBranch({ name }: ParameterSpec): boolean {
  return name.endsWith('Layernorm2');
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
  const matrices = matrixShapes(config);
  return architectureOf(config).layerTensors.map(([name, hfName]) => {
    const at = `model.layers.${layer}.${hfName}.weight`;
    return isMatrix(name)
      ? spec(`layers.${layer}.${name}`, at, matrices[name], 'matrix')
      : spec(`layers.${layer}.${name}`, at, [config.hiddenSize], 'norm');
  });
}

function matrixShapes(config: LoopLMConfig): Readonly<Record<MatrixName, readonly number[]>> {
  const { hiddenSize: D, intermediateSize: F, headDim } = config;
  const queryWidth = config.numAttentionHeads * headDim;
  const keyWidth = config.numKeyValueHeads * headDim;
  return {
    qProj: [queryWidth, D],
    kProj: [keyWidth, D],
    vProj: [keyWidth, D],
    oProj: [D, queryWidth],
    gateProj: [F, D],
    upProj: [F, D],
    downProj: [D, F],
  };
}

/** Tells the matrices of a layer from its norms. */
export function isMatrix(name: MatrixName | NormName): name is MatrixName {
  return name.endsWith('Proj');
}

function spec(
  name: string,
  hfName: string,
  shape: readonly number[],
  kind: ParameterKind,
): ParameterSpec {
  return { name, hfName, shape, kind };
}
