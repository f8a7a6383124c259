/**
 * What a looped model costs, from its config alone: parameters, floating point operations and
 * weight traffic of a token by depth, cache bytes of a token by KV policy.
 *
 * Depth multiplies compute and traffic of the layers, never their parameters. Counted are matrix
 * products (two operations per multiply-add) and attention over the context; norms, rotary
 * positions, softmax and the embedding look-up are left out, as is the cache in the traffic.
 */
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import type { KvDtype } from '../util/kv-dtype.js';
import { KV_DTYPES } from '../util/kv-dtype.js';
import { parseFields } from '../util/parse-fields.js';
import { showValue } from '../util/quote.js';
import type { WeightDtype } from './checkpoint.js';
import type { LoopLMConfig } from './config.js';
import { convertedParameters } from './converted.js';
import type { KvPolicy } from './kv-bytes.js';
import { kvBytesPerPosition } from './kv-bytes.js';
import { multipliedBytes, tableBytes } from './memory-plan.js';
import type { ParameterSpec } from './params.js';
import { elementCount, parameterSpecs } from './params.js';
import type { ModelFormat } from './weight-format.js';
import { isModelFormat } from './weight-format.js';
import { formatOf } from './weights.js';

/** Bytes of one element of each storage type. */
const DTYPE_BYTES: Readonly<Record<WeightDtype, number>> = { f32: 4, bf16: 2, f16: 2 };

/** Numbers of parameters. The parts `embedding`, `layers`, `finalNorm`, `exitGate`, `head` sum to `total`. */
export interface ParameterCounts {
  readonly total: number;
  readonly embedding: number;
  readonly perLayer: number;
  /** All layers of the stack, each once. */
  readonly layers: number;
  readonly finalNorm: number;
  readonly exitGate: number;
  /** 0 for a tied head. */
  readonly head: number;
}

/** Cost of one token that runs `depth` loops and is read out once, at its exit. */
export interface DepthCost {
  readonly depth: number;
  readonly flopsPerToken: number;
  /** Bytes of weights that a token alone in its batch makes the machine read. */
  readonly weightBytesPerToken: number;
}

/** Cost of a model under given storage types and context. */
export interface ModelCost {
  readonly parameters: ParameterCounts;
  /** Number of tensors in a checkpoint. */
  readonly numTensors: number;
  /** Size of the weights, without file headers; of a converted model as programs hold them. */
  readonly weightBytes: number;
  /** Positions that the token attends to, itself included. */
  readonly context: number;
  /** One loop of one token: the layers over the context, and the gate. */
  readonly flopsPerLoop: number;
  /** Logits of one token. */
  readonly flopsPerReadout: number;
  /** Depths 1 to R. */
  readonly byDepth: readonly DepthCost[];
  /** Cache bytes that one token occupies at full depth, by KV policy; once its prompt has run. */
  readonly kvBytesPerToken: Readonly<Record<KvPolicy, number>>;
}

/** Assumptions of a cost. */
export interface CostOptions {
  /** Positions that the token attends to, itself included; 1 to `maxPositionEmbeddings`. */
  readonly context: number;
  /** One type for all weights, or the formats of a converted model. */
  readonly weights: WeightDtype | ModelFormat;
  readonly cacheDtype: KvDtype;
}

/**
 * The cost of a model; the `--context` of `looplm inspect` and its storage types are the options.
 *
 * @throws ConfigError if an option is out of range.
 */
export function modelCost(config: LoopLMConfig, options: CostOptions): ModelCost {
  const { context, weights, cacheDtype } = checkOptions(config, options);
  const specs = parameterSpecs(config);
  const parameters = countParameters(config, specs);
  const bytes = readBytes(config, weights);
  const flopsPerLoop = loopFlops(config, specs, context);
  const flopsPerReadout = 2 * config.hiddenSize * config.vocabSize;
  const byDepth = Array.from({ length: config.numLoops }, (_, loopIndex): DepthCost => {
    const depth = loopIndex + 1;
    return {
      depth,
      flopsPerToken: depth * flopsPerLoop + flopsPerReadout,
      weightBytesPerToken: depth * bytes.perLoop + bytes.once,
    };
  });
  return {
    parameters,
    numTensors: specs.length,
    weightBytes: bytes.all,
    context,
    flopsPerLoop,
    flopsPerReadout,
    byDepth,
    kvBytesPerToken: kvBytesPerPosition(config, config.numLoops, cacheDtype),
  };
}

const optionsSchema = z.strictObject(
  {
    context: z.unknown(),
    weights: z.unknown(),
    cacheDtype: z.enum(KV_DTYPES, `it must be one of ${KV_DTYPES.join(', ')}.`),
  } satisfies Record<keyof CostOptions, z.ZodType>,
  'they must be an object with context, weights and cacheDtype.',
);

function checkOptions({ maxPositionEmbeddings }: LoopLMConfig, options: CostOptions): CostOptions {
  const { context, weights, cacheDtype } = parseFields(
    optionsSchema,
    options,
    'the options of a cost',
  );
  const isPosition = Number.isInteger(context) && Number(context) >= 1;
  if (!isPosition || Number(context) > maxPositionEmbeddings) {
    throw new ConfigError(
      'context',
      `The context is ${showValue(context)}; it must be an integer from 1 to ${maxPositionEmbeddings}.`,
    );
  }
  const isDtype = typeof weights === 'string' && Object.hasOwn(DTYPE_BYTES, weights);
  if (!isDtype && !isModelFormat(weights)) {
    throw new ConfigError(
      'weights',
      `The weights are ${showValue(weights)}; they must be one of ${Object.keys(DTYPE_BYTES).join(', ')}, or the formats of a converted model.`,
    );
  }
  return { context: Number(context), weights: weights as CostOptions['weights'], cacheDtype };
}

/** What is read of the weights: by every loop, once by a token (embedding row, readout), at most. */
function readBytes(
  config: LoopLMConfig,
  weights: CostOptions['weights'],
): { readonly perLoop: number; readonly once: number; readonly all: number } {
  const isOneType = typeof weights === 'string';
  const specs = isOneType ? parameterSpecs(config) : convertedParameters(config);
  const bytesOf = (spec: ParameterSpec): number => {
    if (isOneType) return DTYPE_BYTES[weights] * elementCount(spec.shape);
    return spec.kind === 'embedding'
      ? tableBytes(spec, weights)
      : multipliedBytes(spec, formatOf(spec, weights));
  };
  let perLoop = 0;
  let all = 0;
  for (const spec of specs) {
    const bytes = bytesOf(spec);
    all += bytes;
    if (spec.kind !== 'embedding' && spec.kind !== 'head') perLoop += bytes;
  }
  const embedding = bytesOf(specs.find(({ kind }) => kind === 'embedding')!);
  const head = specs.find(({ kind }) => kind === 'head');
  const once = embedding / config.vocabSize + (head ? bytesOf(head) : embedding);
  return { perLoop, once, all };
}

function countParameters(
  { numHiddenLayers }: LoopLMConfig,
  specs: readonly ParameterSpec[],
): ParameterCounts {
  const sum = (matches: (spec: ParameterSpec) => boolean) =>
    specs.filter(matches).reduce((total, { shape }) => total + elementCount(shape), 0);
  const layers = sum(isInLayer);
  return {
    total: sum(() => true),
    embedding: sum(({ kind }) => kind === 'embedding'),
    perLayer: layers / numHiddenLayers,
    layers,
    finalNorm: sum((spec) => spec.kind === 'norm' && !isInLayer(spec)),
    exitGate: sum(({ kind }) => kind === 'gateWeight' || kind === 'gateBias'),
    head: sum(({ kind }) => kind === 'head'),
  };
}

function isInLayer({ name }: ParameterSpec): boolean {
  return name.startsWith('layers.');
}

function loopFlops(config: LoopLMConfig, specs: readonly ParameterSpec[], context: number): number {
  const multiplied = specs
    .filter(({ kind }) => kind === 'matrix' || kind === 'gateWeight')
    .reduce((total, { shape }) => total + elementCount(shape), 0);
  // Scores and weighted values: two products of [H, Dh] with S positions in each layer.
  const attended = 2 * config.numHiddenLayers * config.numAttentionHeads * config.headDim * context;
  return 2 * (multiplied + attended);
}
