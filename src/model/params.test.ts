import { describe, expect, it } from 'vitest';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig } from './config.js';
import { parseModelConfig } from './config-json.js';
import { elementCount, initializeWeights, parameterSpecs } from './params.js';

/** The released configs, written out from the published values. */
function releasedConfig(numHiddenLayers: number): LoopLMConfig {
  return parseModelConfig({
    architectures: ['OuroForCausalLM'],
    model_type: 'ouro',
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: numHiddenLayers,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    head_dim: 128,
    hidden_act: 'silu',
    rms_norm_eps: 1e-6,
    initializer_range: 0.02,
    attention_dropout: 0,
    max_position_embeddings: 65536,
    rope_theta: 1000000,
    rope_scaling: null,
    vocab_size: 49152,
    tie_word_embeddings: false,
    use_sliding_window: false,
    layer_types: Array(numHiddenLayers).fill('full_attention'),
    total_ut_steps: 4,
    early_exit_threshold: 1,
    bos_token_id: 0,
    eos_token_id: 0,
  }).config;
}

const small: LoopLMConfig = {
  ...releasedConfig(2),
  hiddenSize: 32,
  intermediateSize: 48,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  headDim: 6,
  vocabSize: 64,
};

describe('parameterSpecs', () => {
  it.each([
    { numHiddenLayers: 24, tensors: 269, parameters: 1_434_652_673 },
    { numHiddenLayers: 48, tensors: 533, parameters: 2_667_974_657 },
  ])(
    'the released model of $numHiddenLayers layers has $parameters parameters in $tensors tensors',
    ({ numHiddenLayers, tensors, parameters }) => {
      const specs = parameterSpecs(releasedConfig(numHiddenLayers));
      expect(specs).toHaveLength(tensors);
      expect(specs.reduce((sum, { shape }) => sum + elementCount(shape), 0)).toBe(parameters);
    },
  );

  it('names are unique, and a tied head is the only difference of a tied model', () => {
    const specs = parameterSpecs(small);
    for (const key of ['name', 'hfName'] as const) {
      expect(new Set(specs.map((spec) => spec[key])).size).toBe(specs.length);
    }
    const tied = parameterSpecs({ ...small, tieWordEmbeddings: true });
    expect(tied).toEqual(specs.filter(({ kind }) => kind !== 'head'));
  });

  it('projections are [out, in] with widths from heads, not from the hidden size', () => {
    const shapes = Object.fromEntries(
      parameterSpecs(small).map(({ name, shape }) => [name, shape]),
    );
    expect(shapes).toMatchObject({
      'layers.1.qProj': [24, 32],
      'layers.1.kProj': [12, 32],
      'layers.1.vProj': [12, 32],
      'layers.1.oProj': [32, 24],
      'layers.1.downProj': [32, 48],
    });
  });
});

describe('initializeWeights', () => {
  const std = (values: Float32Array) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  };

  it('gives every parameter its shape, equal for equal seeds and different for others', () => {
    const [a, b, c] = [7, 7, 8].map((seed) => initializeWeights(small, seed));
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    for (const { hfName, shape } of parameterSpecs(small)) {
      expect(a!.get(hfName)).toHaveLength(elementCount(shape));
    }
    expect(a!.size).toBe(parameterSpecs(small).length);
  });

  it('has norms of one, a gate of zero and matrices of the config spread by default', () => {
    const weights = initializeWeights(small, 1);
    for (const { hfName, kind } of parameterSpecs(small)) {
      const values = weights.get(hfName)!;
      if (kind === 'norm') expect(values.every((value) => value === 1)).toBe(true);
      else if (kind.startsWith('gate')) expect(values.every((value) => value === 0)).toBe(true);
      else expect(std(values) / small.initializerRange).toBeCloseTo(1, 0);
    }
  });

  it('sets what a layer adds apart from all other norms', () => {
    const [even, narrow] = [{}, { branchNorm: 0.25 }].map((options) =>
      initializeWeights(small, 1, options),
    );
    const changed = parameterSpecs(small).filter(({ hfName }) => /layernorm_2/.test(hfName));
    expect(changed).toHaveLength(2 * small.numHiddenLayers);
    const expected = new Map(even);
    for (const { hfName, shape } of changed) {
      expected.set(hfName, new Float32Array(elementCount(shape)).fill(0.25));
    }
    expect(narrow).toEqual(expected);
  });

  it('takes the spread of matrices from their columns with fanIn, and the embedding apart', () => {
    const weights = initializeWeights(small, 1, { matrixStd: 'fanIn', embeddingStd: 1 });
    expect(std(weights.get('model.embed_tokens.weight')!)).toBeCloseTo(1, 1);
    expect(std(weights.get('lm_head.weight')!) * Math.sqrt(32)).toBeCloseTo(1, 1);
    const down = weights.get('model.layers.0.mlp.down_proj.weight')!;
    expect(std(down) * Math.sqrt(48)).toBeCloseTo(1, 1);
  });

  it('refuses a seed that is not a 32-bit unsigned integer', () => {
    for (const seed of [-1, 1.5, 2 ** 32, Number.NaN]) {
      expect(() => initializeWeights(small, seed)).toThrow(ConfigError);
    }
  });
});
