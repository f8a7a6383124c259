import { describe, expect, it } from 'vitest';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig } from './config.js';
import { modelCost } from './cost.js';

const released: LoopLMConfig = {
  architecture: 'ouro',
  hiddenSize: 2048,
  intermediateSize: 5632,
  numHiddenLayers: 24,
  numAttentionHeads: 16,
  numKeyValueHeads: 16,
  headDim: 128,
  vocabSize: 49152,
  ropeTheta: 1e6,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 65536,
  tieWordEmbeddings: false,
  numLoops: 4,
  exitThreshold: 1,
  initializerRange: 0.02,
  eosTokenIds: [0],
};
const bf16 = { weights: 'bf16', cacheDtype: 'f16' } as const;

/** A model of one layer, to count by hand. */
const oneLayer = {
  ...released,
  hiddenSize: 4,
  intermediateSize: 6,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 1,
  headDim: 2,
  vocabSize: 10,
  numLoops: 2,
};

describe('modelCost', () => {
  it('gives the published counts and cache sizes of the released models', () => {
    const small = modelCost(released, { context: 1, ...bf16 });
    expect(small.parameters).toMatchObject({ total: 1_434_652_673, perLayer: 51_388_416 });
    expect(small.numTensors).toBe(269);
    expect(small.weightBytes).toBe(2_869_336_434 - 31_088); // file size without its header
    expect(small.kvBytesPerToken).toEqual({
      'per-loop': 786_432,
      'last-exited': 786_432,
      shared: 196_608,
    });
    const large = modelCost({ ...released, numHiddenLayers: 48 }, { context: 1, ...bf16 });
    expect(large.parameters.total).toBe(2_667_974_657);
    expect(large.kvBytesPerToken).toMatchObject({ 'per-loop': 1_572_864, shared: 393_216 });
  });

  it('agrees with a count by hand for a model of one layer', () => {
    const cost = modelCost(oneLayer, { context: 3, weights: 'f32', cacheDtype: 'f16' });
    // q, o: 4x4 each; k, v: 2x4 each; gate, up, down: 24 each = 120; norms 4x4 = 16
    expect(cost.parameters).toEqual({
      total: 40 + 136 + 4 + 5 + 40,
      embedding: 40,
      perLayer: 136,
      layers: 136,
      finalNorm: 4,
      exitGate: 5,
      head: 40,
    });
    // matrices 2 * 120, gate 2 * 4, scores and values 2 * (2 * 2 heads * 2 wide * 3 positions)
    expect(cost.flopsPerLoop).toBe(240 + 8 + 48);
    expect(cost.flopsPerReadout).toBe(80);
    expect(cost.byDepth).toEqual([
      { depth: 1, flopsPerToken: 376, weightBytesPerToken: 4 * (145 + 4 + 40) },
      { depth: 2, flopsPerToken: 672, weightBytesPerToken: 4 * (290 + 4 + 40) },
    ]);
    // a key and a value, stored in 8 dimensions of 2 bytes
    expect(cost.kvBytesPerToken).toEqual({ 'per-loop': 64, 'last-exited': 64, shared: 32 });
  });

  it('reads what programs hold of a converted model, by hand for a model of one layer', () => {
    const weights = {
      body: { kind: 'blocks', bits: 4, blockSize: 32 },
      head: { kind: 'blocks', bits: 8, blockSize: 128 },
      embedding: { kind: 'float', dtype: 'f16' },
      method: 'round-to-nearest',
    } as const;
    // 28 rows of one padded block, each with a scale and a sum; norms and gate 25 floats
    const perLoop = 28 * (16 + 8) + 25 * 4;
    const head = 10 * (128 + 8);
    for (const tieWordEmbeddings of [false, true]) {
      const options = { context: 3, weights, cacheDtype: 'f16' } as const;
      const cost = modelCost({ ...oneLayer, tieWordEmbeddings }, options);
      expect(cost.byDepth.map(({ weightBytesPerToken }) => weightBytesPerToken)).toEqual([
        perLoop + head + 8,
        2 * perLoop + head + 8,
      ]);
      expect(cost.weightBytes).toBe(perLoop + head + 10 * 8);
    }
  });

  it('a tied head saves parameters but no compute and no traffic', () => {
    const options = { context: 100, ...bf16 };
    const [own, tied] = [false, true].map((tieWordEmbeddings) =>
      modelCost({ ...released, tieWordEmbeddings }, options),
    );
    expect(own!.parameters.total - tied!.parameters.total).toBe(49152 * 2048);
    expect(tied!.byDepth).toEqual(own!.byDepth);
  });

  it('refuses a context beyond the model', () => {
    for (const context of [0, 1.5, 65537]) {
      expect(() => modelCost(released, { context, ...bf16 })).toThrow(ConfigError);
    }
  });
});
