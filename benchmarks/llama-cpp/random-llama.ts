/**
 * A random model of the llama architecture as a GGUF file: the body of Ouro 1.4B run once.
 *
 * Every tensor has a seed of its own: equal layers would stay in the processor's cache and run up to
 * twice too fast. Has no tokenizer; the benchmark sends ids.
 */
import { writeFileAtomic } from 'looplm/node';
import { FORMATS, BLOCK_SIZE, gaussian } from './formats.js';
import { type GgufTensor, type GgufValue, ggufFile } from './gguf.js';

export interface LlamaShape {
  readonly numHiddenLayers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numAttentionHeads: number;
  readonly vocabSize: number;
  readonly maxPositionEmbeddings: number;
  readonly ropeTheta: number;
  readonly rmsNormEps: number;
}

export type BodyFormat = 'q4_0' | 'q8_0';
/** Of the head and the embedding, whatever the body's. */
export const HEAD_FORMAT = 'q8_0';

const INITIALIZER_RANGE = 0.02;
/** Divides the rows of every matrix. */
const ROWS_PER_PIECE = 128;
const NORMAL_TOKEN = 1;

function matrix(
  name: string,
  rows: number,
  columns: number,
  format: BodyFormat,
  seed: number,
): GgufTensor {
  const { type, bytesPerBlock, encode } = FORMATS[format];
  const count = rows * columns;
  return {
    name,
    dimensions: [columns, rows],
    type,
    sizeBytes: (count / BLOCK_SIZE) * bytesPerBlock,
    *bytes() {
      const fill = gaussian(seed, INITIALIZER_RANGE);
      const values = new Float32Array(columns * ROWS_PER_PIECE);
      const out = new Uint8Array((values.length / BLOCK_SIZE) * bytesPerBlock);
      for (let row = 0; row < rows; row += ROWS_PER_PIECE) {
        fill(values);
        encode(values, out);
        yield out;
      }
    },
  };
}

function norm(name: string, size: number): GgufTensor {
  return {
    name,
    dimensions: [size],
    type: FORMATS.f32.type,
    sizeBytes: 4 * size,
    *bytes() {
      yield new Uint8Array(new Float32Array(size).fill(1).buffer);
    },
  };
}

function tensorsOf(shape: LlamaShape, body: BodyFormat, seed: number): GgufTensor[] {
  const { hiddenSize, intermediateSize, vocabSize } = shape;
  let nextSeed = seed;
  const random = (name: string, rows: number, columns: number, format: BodyFormat = body) =>
    matrix(`${name}.weight`, rows, columns, format, nextSeed++);
  const layers = Array.from({ length: shape.numHiddenLayers }, (_, layer) => [
    norm(`blk.${layer}.attn_norm.weight`, hiddenSize),
    random(`blk.${layer}.attn_q`, hiddenSize, hiddenSize),
    random(`blk.${layer}.attn_k`, hiddenSize, hiddenSize),
    random(`blk.${layer}.attn_v`, hiddenSize, hiddenSize),
    random(`blk.${layer}.attn_output`, hiddenSize, hiddenSize),
    norm(`blk.${layer}.ffn_norm.weight`, hiddenSize),
    random(`blk.${layer}.ffn_gate`, intermediateSize, hiddenSize),
    random(`blk.${layer}.ffn_up`, intermediateSize, hiddenSize),
    random(`blk.${layer}.ffn_down`, hiddenSize, intermediateSize),
  ]);
  return [
    random('token_embd', vocabSize, hiddenSize, HEAD_FORMAT),
    ...layers.flat(),
    norm('output_norm.weight', hiddenSize),
    random('output', vocabSize, hiddenSize, HEAD_FORMAT),
  ];
}

function metadataOf(shape: LlamaShape): Record<string, GgufValue> {
  const uint32 = (value: number) => ({ kind: 'uint32', value }) as const;
  const float32 = (value: number) => ({ kind: 'float32', value }) as const;
  const text = (value: string) => ({ kind: 'string', value }) as const;
  return {
    'general.architecture': text('llama'),
    'general.name': text('random'),
    'general.alignment': uint32(32),
    'llama.block_count': uint32(shape.numHiddenLayers),
    'llama.context_length': uint32(shape.maxPositionEmbeddings),
    'llama.embedding_length': uint32(shape.hiddenSize),
    'llama.feed_forward_length': uint32(shape.intermediateSize),
    'llama.attention.head_count': uint32(shape.numAttentionHeads),
    'llama.attention.head_count_kv': uint32(shape.numAttentionHeads),
    'llama.attention.layer_norm_rms_epsilon': float32(shape.rmsNormEps),
    'llama.rope.dimension_count': uint32(shape.hiddenSize / shape.numAttentionHeads),
    'llama.rope.freq_base': float32(shape.ropeTheta),
    'llama.vocab_size': uint32(shape.vocabSize),
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
export async function writeRandomLlama(
  path: string,
  shape: LlamaShape,
  body: BodyFormat,
  seed: number,
): Promise<void> {
  await writeFileAtomic(path, ggufFile(metadataOf(shape), tensorsOf(shape, body, seed)));
}

/** Bytes of weights a decoded token reads: all matrices but the embedding, of which it reads a row. */
export function weightBytesPerToken(shape: LlamaShape, body: BodyFormat): number {
  return tensorsOf(shape, body, 0)
    .filter(({ name }) => !name.startsWith('token_embd'))
    .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Share of the body's weights that llama.cpp leaves out of a token without a head: one MLP. */
export function skippedShare({
  numHiddenLayers,
  hiddenSize,
  intermediateSize,
}: LlamaShape): number {
  const mlp = 3 * hiddenSize * intermediateSize;
  return mlp / (numHiddenLayers * (4 * hiddenSize ** 2 + mlp));
}
