/**
 * The models that are compared, and where their random weights lie: an Ouro and the dense model that the
 * Ouro paper finds equal to it.
 *
 * Sources: arXiv 2510.25741, tables 7 and 8; config.json of Qwen/Qwen3-4B and Qwen/Qwen3-8B.
 */
import type { OuroName } from '../lib/models.js';
import { convertedOuro, withLayers } from '../lib/models.js';
import { FORMAT_PAIRS, ggufModel } from '../llama-cpp/models.js';
import type { DenseShape } from '../llama-cpp/random-gguf.js';

const QWEN3_4B: DenseShape = {
  architecture: 'qwen3',
  numHiddenLayers: 36,
  hiddenSize: 2560,
  intermediateSize: 9728,
  numAttentionHeads: 32,
  numKeyValueHeads: 8,
  headDim: 128,
  vocabSize: 151_936,
  maxPositionEmbeddings: 40_960,
  ropeTheta: 1_000_000,
  rmsNormEps: 1e-6,
  tieWordEmbeddings: true,
};

const QWEN3_8B: DenseShape = {
  ...QWEN3_4B,
  hiddenSize: 4096,
  intermediateSize: 12_288,
  tieWordEmbeddings: false,
};

export const DENSE_SHAPES = { 'qwen3-4b': QWEN3_4B, 'qwen3-8b': QWEN3_8B };

const EQUALS = [
  ['ouro-1.4b', 'qwen3-4b'],
  ['ouro-2.6b', 'qwen3-8b'],
] as const satisfies readonly (readonly [OuroName, keyof typeof DENSE_SHAPES])[];

/** Models that are compared, in formats of the same number of bits. */
export const PAIRS = EQUALS.flatMap(([looped, dense]) =>
  FORMAT_PAIRS.map((formats) => ({ looped, dense, formats })),
);

export type Pair = (typeof PAIRS)[number];

/** "Ouro 1.4B q4" and "Qwen3 4B Q4_0", of fewer layers where so many are given. */
export function namesOf({ looped, dense, formats }: Pair, numHiddenLayers?: number) {
  const titled = (name: string) =>
    name.replace(/^\w/, (letter) => letter.toUpperCase()).replace(/-([\d.]+)b/, ' $1B');
  return {
    looplm: `${titled(withLayers(looped, numHiddenLayers))} ${formats.looplm}`,
    llama: `${titled(withLayers(dense, numHiddenLayers))} ${formats.llama.toUpperCase()}`,
  };
}

/** The files of both sides; made where they are missing. */
export async function modelsOf({ looped, dense, formats }: Pair, seed: number, layers?: number) {
  const shape = DENSE_SHAPES[dense];
  const numHiddenLayers = layers ?? shape.numHiddenLayers;
  return {
    llama: await ggufModel(
      withLayers(dense, layers),
      { ...shape, numHiddenLayers },
      formats.llama,
      seed,
    ),
    looplm: await convertedOuro(looped, { dtype: formats.looplm, numHiddenLayers: layers }),
  };
}
