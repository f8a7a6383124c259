import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, LoopLMError, UnsupportedError } from '../errors.js';
import type { LoopLMConfig } from './config.js';
import { modelConfigToJson, parseModelConfig } from './config-json.js';
import { RELEASED_SHAPES } from './released-shapes.js';
import { modelFormatToJson } from './weight-format.js';
import { thrownBy } from '../../test/thrown.js';

const tinyJson = JSON.parse(
  readFileSync(new URL('../../test/fixtures/tiny-gqa-tied/config.json', import.meta.url), 'utf8'),
) as Record<string, unknown>;

const tinyConfig: LoopLMConfig = {
  architecture: 'ouro',
  hiddenSize: 48,
  intermediateSize: 128,
  numHiddenLayers: 3,
  numAttentionHeads: 6,
  numKeyValueHeads: 2,
  headDim: 8,
  vocabSize: 256,
  ropeTheta: 500000,
  rmsNormEps: 1e-5,
  maxPositionEmbeddings: 512,
  tieWordEmbeddings: true,
  numLoops: 3,
  exitThreshold: 1,
  initializerRange: 0.02,
  bosTokenId: 1,
  eosTokenIds: [2],
  padTokenId: 0,
};

const NANBEIGE = RELEASED_SHAPES.get('nanbeige-4.2-3b')!;

const errorOf = (json: unknown) => thrownBy(() => parseModelConfig(json));

describe('parseModelConfig', () => {
  it('reads every field of a config of the release layout and ignores nothing', () => {
    expect(parseModelConfig(tinyJson)).toEqual({ config: tinyConfig, ignoredKeys: [], notes: [] });
  });

  it('derives an absent or null head_dim from hidden size and heads', () => {
    const { head_dim: _, ...withoutHeadDim } = tinyJson;
    expect(parseModelConfig(withoutHeadDim).config).toEqual(tinyConfig);
    expect(parseModelConfig({ ...tinyJson, head_dim: null }).config).toEqual(tinyConfig);
  });

  it('names unknown keys instead of dropping them silently', () => {
    const json = { ...tinyJson, zebra: 1, early_exit: 2, torch_dtype: 'x', auto_map: {} };
    expect(parseModelConfig(json).ignoredKeys).toEqual(['early_exit', 'zebra']);
  });

  it('takes one end id, several or none', () => {
    const eos = (value: unknown) =>
      parseModelConfig({ ...tinyJson, eos_token_id: value }).config.eosTokenIds;
    expect([eos(7), eos([2, 0]), eos(null)]).toEqual([[7], [2, 0], []]);
  });

  it.each([
    'model_type',
    'vocab_size',
    'hidden_size',
    'intermediate_size',
    'num_hidden_layers',
    'num_attention_heads',
    'num_key_value_heads',
    'rope_theta',
    'rms_norm_eps',
    'hidden_act',
    'max_position_embeddings',
    'tie_word_embeddings',
    'total_ut_steps',
    'initializer_range',
  ])('a missing %s is an error that names the key', (key) => {
    const error = errorOf({ ...tinyJson, [key]: undefined });
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({
      field: key,
      message: expect.stringContaining(`${key} is missing`),
    });
  });

  it.each<[string, unknown]>([
    ['hidden_size', 48.5],
    ['hidden_size', '48'],
    ['hidden_size', 1e15],
    ['num_hidden_layers', 0],
    ['num_hidden_layers', 1e9],
    ['num_key_value_heads', 4],
    ['num_attention_heads', -6],
    ['head_dim', 7],
    ['vocab_size', 2 ** 31],
    ['total_ut_steps', 0],
    ['early_exit_threshold', 0],
    ['early_exit_threshold', 1.01],
    ['rope_theta', 0],
    ['rope_theta', Number.POSITIVE_INFINITY],
    ['tie_word_embeddings', 1],
    ['hidden_act', 'gelu'],
    ['attention_dropout', 1],
    ['attention_dropout', -0.1],
    ['rms_norm_eps', 1e308],
    ['rms_norm_eps', 0],
    ['rms_norm_eps', -1e-6],
    ['rope_theta', JSON.parse('1e400')],
    ['rope_theta', 0.5],
    ['initializer_range', 1e308],
    ['total_ut_steps', 65],
    ['head_dim', 2 ** 20],
    ['layer_types', ['full_attention']],
    ['eos_token_id', 256],
    ['eos_token_id', [1, 'two']],
    ['pad_token_id', -1],
  ])('%s = %j is a ConfigError that names the key', (key, value) => {
    const error = errorOf({ ...tinyJson, [key]: value });
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ field: key, message: expect.stringContaining(key) });
  });

  it.each<[string, unknown]>([
    ['model_type', 'llama'],
    ['architectures', ['LlamaForCausalLM']],
    ['architectures', []],
    ['rope_scaling', { type: 'yarn' }],
    ['use_sliding_window', true],
    ['attention_bias', true],
    ['quantization_config', { quant_method: 'gptq', bits: 4 }],
    ['layer_types', ['full_attention', 'sliding_attention', 'full_attention']],
  ])('%s = %j is another model and unsupported', (key, value) => {
    const error = errorOf({ ...tinyJson, [key]: value });
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ message: expect.stringMatching(/config\.json/) });
  });

  it('a quantization_config of looplm is the format, and a wrong one an error that names it', () => {
    const blocks = { kind: 'blocks', bits: 4, blockSize: 64 } as const;
    const float = { kind: 'float', dtype: 'f16' } as const;
    const format = { body: blocks, head: float, embedding: float, method: 'scale-search' } as const;
    const quantization = modelFormatToJson(format);
    const parsed = parseModelConfig({ ...tinyJson, quantization_config: quantization });
    expect(parsed.format).toEqual(format);
    expect(parsed.ignoredKeys).toEqual(parseModelConfig(tinyJson).ignoredKeys);
    expect(parseModelConfig(tinyJson).format).toBeUndefined();
    for (const wrong of [{}, [], 'q4', { ...quantization, version: 2 }]) {
      expect(errorOf({ ...tinyJson, quantization_config: wrong })).toMatchObject({
        code: 'config',
        field: 'quantization_config',
      });
    }
  });

  it('an underivable head_dim is an error that asks for it', () => {
    expect(errorOf({ ...tinyJson, head_dim: undefined, hidden_size: 50 })).toMatchObject({
      field: 'head_dim',
      message: expect.stringContaining('Add head_dim'),
    });
  });

  it('any JSON whatever gives a config or a one-line LoopLMError', () => {
    const edited = (base: object, ...more: string[]) =>
      fc
        .array(fc.tuple(fc.constantFrom(...Object.keys(base), ...more), fc.jsonValue()), {
          maxLength: 3,
        })
        .map((list) => ({ ...base, ...Object.fromEntries(list) }));
    const json = fc.oneof(
      fc.jsonValue(),
      edited(tinyJson, 'rope_parameters', 'early_exit_step'),
      edited(modelConfigToJson(NANBEIGE, 'float32'), 'loop_share_kv', 'emb_neighbor_num'),
    );
    fc.assert(
      fc.property(json, (value) => {
        const result = errorOf(value);
        if (!(result instanceof Error)) return;
        expect(result).toBeInstanceOf(LoopLMError);
        expect(result.message).not.toMatch(/[\n\r\u2028\u2029]/);
      }),
      { seed: 1, numRuns: 1000 },
    );
  });
});

describe('modelConfigToJson', () => {
  it('writes the file that parseModelConfig read', () => {
    const written = modelConfigToJson(tinyConfig, 'bfloat16');
    expect(written).toEqual(tinyJson);
    expect(Object.keys(written)).toEqual(Object.keys(tinyJson));
  });

  it('is undone by parseModelConfig for any valid config', () => {
    const { bosTokenId: _, padTokenId: __, ...withoutIds } = tinyConfig;
    const configs = fc
      .record({
        kvHeads: fc.integer({ min: 1, max: 8 }),
        groups: fc.integer({ min: 1, max: 8 }),
        halfHead: fc.integer({ min: 1, max: 64 }),
        layers: fc.integer({ min: 1, max: 40 }),
        eosTokenIds: fc.uniqueArray(fc.nat(255), { maxLength: 3 }),
        own: fc.oneof(
          fc.record({ exitThreshold: fc.double({ min: 0.01, max: 1, noNaN: true }) }),
          fc.record({ exitThreshold: fc.constant(1), exitDepth: fc.integer({ min: 1, max: 3 }) }),
          fc.record({
            architecture: fc.constant('nanbeige' as const),
            numLoops: fc.integer({ min: 1, max: 64 }),
          }),
          fc.constant({ architecture: 'nanbeige' as const, skipLoopFinalNorm: true }),
        ),
        ids: fc.boolean(),
      })
      .map(({ kvHeads, groups, halfHead, layers, ids, own, ...rest }): LoopLMConfig => ({
        ...(ids ? tinyConfig : withoutIds),
        ...rest,
        ...own,
        numKeyValueHeads: kvHeads,
        numAttentionHeads: kvHeads * groups,
        headDim: 2 * halfHead,
        numHiddenLayers: layers,
      }));
    fc.assert(
      fc.property(configs, (config) => {
        const text = JSON.stringify(modelConfigToJson(config, 'float32'));
        expect(parseModelConfig(JSON.parse(text))).toEqual({ config, ignoredKeys: [], notes: [] });
      }),
      { seed: 2 },
    );
  });
});
