/**
 * A random model of the llama or the qwen3 architecture as a GGUF file.
 *
 * Every tensor has a seed of its own: equal layers would stay in the processor's cache and run up to
 * twice too fast. Has no tokenizer; the benchmarks send ids.
 * Source of names and keys: ggml-org/llama.cpp, gguf-py/gguf/constants.py.
 */
import { writeFileAtomic } from 'looplm/node';
import { BLOCK_SIZE, F32_TYPE, FORMATS, randomBlocks } from './formats.js';
import { type GgufTensor, type GgufValue, ggufFile } from './gguf.js';

export interface DenseShape {
  /** qwen3 is llama with a norm for the queries and one for the keys of each head. */
  readonly architecture: 'llama' | 'qwen3';
  readonly numHiddenLayers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly maxPositionEmbeddings: number;
  readonly ropeTheta: number;
  readonly rmsNormEps: number;
  readonly tieWordEmbeddings: boolean;
}

export type BodyFormat = 'q4_0' | 'q8_0';
/** Of the head, whatever the body's; a tied embedding is the head. */
const HEAD_FORMAT = 'q8_0';

const INITIALIZER_RANGE = 0.02;
const NORMAL_TOKEN = 1;

function matrix(
  name: string,
  rows: number,
  columns: number,
  format: BodyFormat,
  seed: number,
): GgufTensor {
  const { type, bytesPerBlock } = FORMATS[format];
  const numBlocks = (rows * columns) / BLOCK_SIZE;
  return {
    name,
    dimensions: [columns, rows],
    type,
    sizeBytes: numBlocks * bytesPerBlock,
    bytes: () => randomBlocks(FORMATS[format], { numBlocks, seed, deviation: INITIALIZER_RANGE }),
  };
}

function norm(name: string, size: number): GgufTensor {
  return {
    name,
    dimensions: [size],
    type: F32_TYPE,
    sizeBytes: 4 * size,
    *bytes() {
      yield new Uint8Array(new Float32Array(size).fill(1).buffer);
    },
  };
}

/** All tensors in the order of the file. */
export function tensorsOf(shape: DenseShape, body: BodyFormat, seed: number): GgufTensor[] {
  const { hiddenSize, intermediateSize, vocabSize, headDim, tieWordEmbeddings } = shape;
  const queriesSize = shape.numAttentionHeads * headDim;
  const keysSize = shape.numKeyValueHeads * headDim;
  let nextSeed = seed;
  const random = (name: string, rows: number, columns: number, format: BodyFormat = body) =>
    matrix(`${name}.weight`, rows, columns, format, nextSeed++);
  const headNorms = (layer: number) =>
    shape.architecture === 'qwen3'
      ? ['q', 'k'].map((what) => norm(`blk.${layer}.attn_${what}_norm.weight`, headDim))
      : [];
  const layers = Array.from({ length: shape.numHiddenLayers }, (_, layer) => [
    norm(`blk.${layer}.attn_norm.weight`, hiddenSize),
    random(`blk.${layer}.attn_q`, queriesSize, hiddenSize),
    random(`blk.${layer}.attn_k`, keysSize, hiddenSize),
    random(`blk.${layer}.attn_v`, keysSize, hiddenSize),
    ...headNorms(layer),
    random(`blk.${layer}.attn_output`, hiddenSize, queriesSize),
    norm(`blk.${layer}.ffn_norm.weight`, hiddenSize),
    random(`blk.${layer}.ffn_gate`, intermediateSize, hiddenSize),
    random(`blk.${layer}.ffn_up`, intermediateSize, hiddenSize),
    random(`blk.${layer}.ffn_down`, hiddenSize, intermediateSize),
  ]);
  return [
    random('token_embd', vocabSize, hiddenSize, tieWordEmbeddings ? HEAD_FORMAT : body),
    ...layers.flat(),
    norm('output_norm.weight', hiddenSize),
    ...(tieWordEmbeddings ? [] : [random('output', vocabSize, hiddenSize, HEAD_FORMAT)]),
  ];
}

function metadataOf(shape: DenseShape): Record<string, GgufValue> {
  const { architecture } = shape;
  const uint32 = (value: number) => ({ kind: 'uint32', value }) as const;
  const float32 = (value: number) => ({ kind: 'float32', value }) as const;
  const text = (value: string) => ({ kind: 'string', value }) as const;
  return {
    'general.architecture': text(architecture),
    'general.name': text('random'),
    'general.alignment': uint32(32),
    [`${architecture}.block_count`]: uint32(shape.numHiddenLayers),
    [`${architecture}.context_length`]: uint32(shape.maxPositionEmbeddings),
    [`${architecture}.embedding_length`]: uint32(shape.hiddenSize),
    [`${architecture}.feed_forward_length`]: uint32(shape.intermediateSize),
    [`${architecture}.attention.head_count`]: uint32(shape.numAttentionHeads),
    [`${architecture}.attention.head_count_kv`]: uint32(shape.numKeyValueHeads),
    [`${architecture}.attention.key_length`]: uint32(shape.headDim),
    [`${architecture}.attention.value_length`]: uint32(shape.headDim),
    [`${architecture}.attention.layer_norm_rms_epsilon`]: float32(shape.rmsNormEps),
    [`${architecture}.rope.dimension_count`]: uint32(shape.headDim),
    [`${architecture}.rope.freq_base`]: float32(shape.ropeTheta),
    [`${architecture}.vocab_size`]: uint32(shape.vocabSize),
    // A tokenizer that reads nothing: node-llama-cpp asks for one while it loads.
    'tokenizer.ggml.model': text('gpt2'),
    'tokenizer.ggml.tokens': {
      kind: 'strings',
      value: Array.from({ length: shape.vocabSize }, (_, id) => `<${id}>`),
    },
    'tokenizer.ggml.token_type': {
      kind: 'int32s',
      value: Array.from({ length: shape.vocabSize }, () => NORMAL_TOKEN),
    },
    'tokenizer.ggml.merges': { kind: 'strings', value: [] },
  };
}

/** Writes the model; the same arguments give the same bytes. */
export async function writeRandomGguf(
  path: string,
  shape: DenseShape,
  body: BodyFormat,
  seed: number,
): Promise<void> {
  await writeFileAtomic(path, ggufFile(metadataOf(shape), tensorsOf(shape, body, seed)));
}

/**
 * Bytes of weights a decoded token reads: all matrices but the embedding, of which it reads a row, unless
 * the embedding is the head, too.
 */
export function weightBytesPerToken(shape: DenseShape, body: BodyFormat): number {
  return tensorsOf(shape, body, 0)
    .filter(({ name }) => shape.tieWordEmbeddings || !name.startsWith('token_embd'))
    .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Share of the body's weights that llama.cpp leaves out of a token without a head: one MLP. */
export function skippedShare({
  numHiddenLayers,
  hiddenSize,
  intermediateSize,
}: DenseShape): number {
  const mlp = 3 * hiddenSize * intermediateSize;
  return mlp / (numHiddenLayers * (4 * hiddenSize ** 2 + mlp));
}
