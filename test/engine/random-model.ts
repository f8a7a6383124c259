/**
 * Small looped models of any shape with random weights, saved and loaded again as a user's would be.
 */
import fc from 'fast-check';
import type { LoopLMConfig, ModelWeights, WeightDtype } from '../../src/model/index.js';
import {
  elementCount,
  loadCheckpoint,
  memoryFolder,
  parameterSpecs,
  saveCheckpoint,
} from '../../src/model/index.js';
import { normalSampler } from '../../src/util/normal.js';

export const VOCAB_SIZE = 11;

/** What a random model is made from. */
export interface ModelDraw {
  readonly config: LoopLMConfig;
  readonly dtype: Extract<WeightDtype, 'f32' | 'bf16'>;
  /** config.json says head_dim; without it, heads share the hidden size. */
  readonly namesHeadDim: boolean;
  readonly seed: number;
}

export interface RandomModel {
  readonly draw: ModelDraw;
  /** As loaded from the written files. */
  readonly config: LoopLMConfig;
  readonly weights: ModelWeights;
  /** What the weights should be after loading, computed here. */
  readonly expectedWeights: ModelWeights;
}

export const modelDraw: fc.Arbitrary<ModelDraw> = fc
  .record({
    heads: fc.constantFrom([1, 1], [2, 1], [2, 2], [4, 1], [4, 2]),
    headDim: fc.constantFrom(2, 4, 6),
    hiddenSize: fc.constantFrom(8, 12, 15),
    namesHeadDim: fc.boolean(),
    intermediateSize: fc.integer({ min: 3, max: 20 }),
    numHiddenLayers: fc.integer({ min: 1, max: 3 }),
    numLoops: fc.integer({ min: 1, max: 6 }),
    ropeTheta: fc.constantFrom(100, 10_000),
    rmsNormEps: fc.constantFrom(1e-6, 1e-3),
    tieWordEmbeddings: fc.boolean(),
    dtype: fc.constantFrom('f32' as const, 'bf16' as const),
    seed: fc.nat(1e6),
  })
  .map(({ heads, hiddenSize, namesHeadDim, dtype, seed, ...sizes }) => {
    const [numAttentionHeads, numKeyValueHeads] = heads as [number, number];
    const config: LoopLMConfig = {
      architecture: 'ouro',
      ...sizes,
      hiddenSize: namesHeadDim ? hiddenSize : numAttentionHeads * sizes.headDim,
      numAttentionHeads,
      numKeyValueHeads,
      vocabSize: VOCAB_SIZE,
      maxPositionEmbeddings: 1024,
      exitThreshold: 1,
      initializerRange: 0.02,
      eosTokenIds: [],
    };
    return { config, dtype, namesHeadDim, seed };
  });

/**
 * As `modelDraw`, of the architecture without gate: with and without norms between loops, and half of
 * them with six query heads to a key-value head, as the release.
 */
export const nanbeigeDraw: fc.Arbitrary<ModelDraw> = fc
  .tuple(modelDraw, fc.boolean(), fc.boolean())
  .map(([draw, skipLoopFinalNorm, isGrouped]) => ({
    ...draw,
    namesHeadDim: draw.namesHeadDim || isGrouped,
    config: {
      ...draw.config,
      architecture: 'nanbeige',
      ...(skipLoopFinalNorm && { skipLoopFinalNorm }),
      ...(isGrouped && { numAttentionHeads: 6 * draw.config.numKeyValueHeads }),
    },
  }));

/** Writes a model to files, edits config.json where asked, and loads it. */
export async function makeModel(draw: ModelDraw): Promise<RandomModel> {
  const files = new Map<string, Uint8Array>();
  const folder = memoryFolder('random-model', files);
  const written = randomWeights(draw.config, draw.seed);
  await saveCheckpoint(folder, draw.config, written, { dtype: draw.dtype });
  if (!draw.namesHeadDim) {
    const json = JSON.parse(await folder.readText('config.json')) as Record<string, unknown>;
    delete json['head_dim'];
    delete json['kv_channels'];
    await folder.write('config.json', JSON.stringify(json));
  }
  const { config, weights } = await loadCheckpoint(folder);
  const expectedWeights =
    draw.dtype === 'f32'
      ? written
      : new Map([...written].map(([name, values]) => [name, values.map(nearestBfloat16)]));
  return { draw, config, weights, expectedWeights };
}

/** Weights with a lively gate: matrices keep a row's size, so that depth matters at every loop. */
export function randomWeights(config: LoopLMConfig, seed: number): ModelWeights {
  const next = normalSampler(seed);
  return new Map(
    parameterSpecs(config).map(({ hfName, shape, kind }) => {
      const [mean, std] = {
        embedding: [0, 1] as const,
        matrix: [0, 1 / Math.sqrt(shape.at(-1)!)] as const,
        head: [0, 1 / Math.sqrt(shape.at(-1)!)] as const,
        norm: [1, 0.2] as const,
        gateWeight: [0, 1 / Math.sqrt(shape.at(-1)!)] as const,
        gateBias: [-0.5, 0.3] as const,
      }[kind];
      const values = new Float32Array(elementCount(shape));
      for (let i = 0; i < values.length; i++) values[i] = mean + std * next();
      return [hfName, values];
    }),
  );
}

/** The closer of the two bfloat16 neighbours of a float32; the even one on a tie. */
function nearestBfloat16(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  const at = (word: number) => {
    view.setUint32(0, word);
    return view.getFloat32(0);
  };
  view.setFloat32(0, value);
  const down = (view.getUint32(0) & 0xffff0000) >>> 0;
  const up = (down + 0x10000) >>> 0;
  const [toDown, toUp] = [Math.abs(value - at(down)), Math.abs(at(up) - value)];
  const isDownEven = (down & 0x10000) === 0;
  return toDown < toUp || (toDown === toUp && isDownEven) ? at(down) : at(up);
}

/** A fixed model with grouped heads, two layers and four loops. */
export const SMALL_MODEL: ModelDraw = {
  config: {
    architecture: 'ouro',
    hiddenSize: 12,
    intermediateSize: 16,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
    headDim: 4,
    vocabSize: VOCAB_SIZE,
    ropeTheta: 10_000,
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 64,
    tieWordEmbeddings: false,
    numLoops: 4,
    exitThreshold: 1,
    initializerRange: 0.02,
    eosTokenIds: [],
  },
  dtype: 'f32',
  namesHeadDim: true,
  seed: 3,
};

/** The same with room for long prompts. */
export const LONG_MODEL: ModelDraw = {
  ...SMALL_MODEL,
  config: { ...SMALL_MODEL.config, maxPositionEmbeddings: 512 },
};

/** Token ids of a prompt. */
export const promptArbitrary = (maxLength: number): fc.Arbitrary<number[]> =>
  fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength });

const { numHiddenLayers, numKeyValueHeads } = SMALL_MODEL.config;

/** A page of keys and values of SMALL_MODEL in f32: heads are stored in multiples of 8 dimensions. */
export const PAGE_BYTES = 2 * numHiddenLayers * numKeyValueHeads * 128 * 8 * 4;
