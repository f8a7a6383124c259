/** Models that are measured: random weights, four loops, one kv head for each query head. */
import { join, resolve } from 'node:path';
import type { LoopLMConfig } from 'looplm/model';
import { describeFormat, readModelConfig } from 'looplm/model';
import { convertedFolder, fileExists, nodeFolder, writeRandomCheckpoint } from 'looplm/node';

type Sizes = Pick<
  LoopLMConfig,
  'hiddenSize' | 'intermediateSize' | 'numHiddenLayers' | 'numAttentionHeads' | 'vocabSize'
>;

export function benchmarkConfig(sizes: Sizes): LoopLMConfig {
  return {
    architecture: 'ouro',
    ...sizes,
    numKeyValueHeads: sizes.numAttentionHeads,
    headDim: sizes.hiddenSize / sizes.numAttentionHeads,
    ropeTheta: 10_000,
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 4096,
    tieWordEmbeddings: false,
    numLoops: 4,
    exitThreshold: 1,
    initializerRange: 0.02,
    eosTokenIds: [],
  };
}

const OURO_1_4B = benchmarkConfig({
  hiddenSize: 2048,
  intermediateSize: 5632,
  numHiddenLayers: 24,
  numAttentionHeads: 16,
  vocabSize: 49_152,
});
const SEED = 1;
const CACHE = process.env['LOOPLM_BENCH_CACHE'] ?? resolve('.cache', 'benchmarks');

const OUROS = {
  'ouro-1.4b': OURO_1_4B,
  'ouro-2.6b': { ...OURO_1_4B, numHiddenLayers: 48 },
};

export type OuroName = keyof typeof OUROS;

export interface ConvertedOuroOptions {
  readonly dtype?: 'q4' | 'q8';
  /** Fewer than the shape has, to try something out. */
  readonly numHiddenLayers?: number | undefined;
}

/** Folder of a random model of a released shape in few bits; made where it is missing, in minutes. */
export async function convertedOuro(
  name: OuroName = 'ouro-1.4b',
  { dtype = 'q4', numHiddenLayers }: ConvertedOuroOptions = {},
): Promise<string> {
  const source = join(CACHE, `${withLayers(name, numHiddenLayers)}-seed-${SEED}`);
  if (!(await fileExists(source))) {
    process.stderr.write(`writing ${source}\n`);
    const config = OUROS[name];
    await writeRandomCheckpoint(
      source,
      { ...config, numHiddenLayers: numHiddenLayers ?? config.numHiddenLayers },
      { seed: SEED },
    );
  }
  // Of random weights no method is better than rounding.
  const settings = { dtype, method: 'round-to-nearest' } as const;
  return convertedFolder({ path: source }, settings, { cacheDir: CACHE });
}

/** What a model is called that has fewer layers than its shape, or as many. */
export function withLayers(name: string, numHiddenLayers?: number): string {
  return numHiddenLayers === undefined ? name : `${name}-${numHiddenLayers}-layers`;
}

/** A model folder in a few words, such as "24 layers x 2048, body 4 bits in blocks of 64". */
export async function describeModel(path: string): Promise<string> {
  const { config, format } = await readModelConfig(nodeFolder(path));
  const shape = `${config.numHiddenLayers} layers x ${config.hiddenSize}`;
  if (!format) return `${shape}, f32`;
  return `${shape}, body ${describeFormat(format.body)}, head ${describeFormat(format.head)}`;
}
