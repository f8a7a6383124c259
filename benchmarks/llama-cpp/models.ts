/** The body that is compared, Ouro 1.4B, and where its random weights lie for each side. */
import { execFileSync } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileExists } from 'looplm/node';
import { type BodyFormat, type DenseShape, writeRandomGguf } from './random-gguf.js';

export const SHAPE: DenseShape = {
  architecture: 'llama',
  numHiddenLayers: 24,
  hiddenSize: 2048,
  intermediateSize: 5632,
  numAttentionHeads: 16,
  numKeyValueHeads: 16,
  headDim: 128,
  vocabSize: 49152,
  maxPositionEmbeddings: 8192,
  ropeTheta: 1_000_000,
  rmsNormEps: 1e-6,
  tieWordEmbeddings: false,
};

/** Pairs of formats of the same number of bits. */
export const FORMAT_PAIRS = [
  { looplm: 'q4', llama: 'q4_0' },
  { looplm: 'q8', llama: 'q8_0' },
] as const satisfies readonly { looplm: string; llama: BodyFormat }[];

export type FormatPair = (typeof FORMAT_PAIRS)[number];

/** Cached positions that decoding is measured at. */
export const CONTEXTS = [16, 256, 1024, 4096];

/** Ways to run llama.cpp: attention, and whether the head is computed. */
export const LLAMA_VARIANTS = {
  flash: { attention: 'flash', head: true },
  plain: { attention: 'plain', head: true },
  'flash, q8_0 cache': { attention: 'flash, q8_0 cache', head: true },
  'flash, no head': { attention: 'flash', head: false },
  'plain, no head': { attention: 'plain', head: false },
  'flash, q8_0 cache, no head': { attention: 'flash, q8_0 cache', head: false },
} as const;

/** How llama.cpp attends: its keys and values are f16 unless the name says otherwise. */
export const LLAMA_ATTENTION = {
  flash: { flashAttention: true, cache: 'F16' },
  plain: { flashAttention: false, cache: 'F16' },
  'flash, q8_0 cache': { flashAttention: true, cache: 'Q8_0' },
} as const;

export type LlamaVariant = (typeof LLAMA_VARIANTS)[keyof typeof LLAMA_VARIANTS];

/** Depths that looplm decodes at: the head once, the body as often as the depth says. */
export const LOOPLM_VARIANTS = { 'depth 1': 1, 'depth 2': 2 } as const;

/** Bytes of a cached number: q8_0 has a half-precision scale for 32 of them, looplm's i8 a single. */
export const CACHE_BYTES = { F16: 2, Q8_0: 34 / 32, i8: 36 / 32 };

/** Bytes that attention reads for each cached position: keys and values of all layers. */
export const kvBytesPerPosition = (cache: keyof typeof CACHE_BYTES): number =>
  2 * SHAPE.numHiddenLayers * SHAPE.hiddenSize * CACHE_BYTES[cache];

/** Operations of a token in the products of the body, a multiply-add counted as two. */
export const BODY_FLOPS =
  2 *
  SHAPE.numHiddenLayers *
  (4 * SHAPE.hiddenSize ** 2 + 3 * SHAPE.hiddenSize * SHAPE.intermediateSize);

const CACHE = process.env['LOOPLM_BENCH_CACHE'] ?? resolve('.cache', 'llama-cpp');

/** The GGUF file of a shape in a format; written first if it is not there, a gigabyte in seconds. */
export async function ggufModel(
  name: string,
  shape: DenseShape,
  format: BodyFormat,
  seed: number,
): Promise<string> {
  const path = join(CACHE, `${name}-${format}-seed-${seed}.gguf`);
  if (!(await fileExists(path))) {
    process.stderr.write(`writing ${path}\n`);
    await writeRandomGguf(path, shape, format, seed);
  }
  return path;
}

const cli = (...args: readonly string[]) =>
  execFileSync(process.execPath, [join('dist', 'src', 'cli', 'main.js'), ...args], {
    stdio: ['ignore', 2, 2],
  });

/** The converted model folder of a format, head in 8 bits as on the other side; made where missing. */
export async function loopLMModel(format: FormatPair['looplm'], seed: number): Promise<string> {
  const folder = (name: string) => join(CACHE, `ouro-1.4b-${name}-seed-${seed}`);
  if (await fileExists(folder(format))) return folder(format);
  if (!(await fileExists(folder('bf16')))) {
    cli('random', folder('bf16'), '--shape', 'ouro-1.4b', '--seed', String(seed));
  }
  const method = ['--method', 'round-to-nearest']; // of random weights none is better
  cli(
    'convert',
    folder('bf16'),
    '--dtype',
    format,
    '--head',
    'q8',
    ...method,
    '--out',
    folder(format),
  );
  return folder(format);
}

/** Embedding in f16: of its rows a token reads one. */
const EMBEDDING_BYTES = 2 * SHAPE.vocabSize * SHAPE.hiddenSize;

/** Bytes of weights that a decoded token reads of a converted folder. */
export async function loopLMBytes(folder: string): Promise<number> {
  return (await stat(join(folder, 'model.safetensors'))).size - EMBEDDING_BYTES;
}
