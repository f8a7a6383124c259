/** What the config files of each architecture say, and how other programs write them. */
import { describe, expect, it } from 'vitest';
import { ConfigError, UnsupportedError } from '../../errors.js';
import type { LoopLMConfig } from '../config.js';
import { modelConfigToJson, parseModelConfig } from '../config-json.js';
import { elementCount, parameterSpecs } from '../params.js';
import { RELEASED_SHAPES } from '../released-shapes.js';
import { thrownBy } from '../../../test/thrown.js';

/** Nanbeige/Nanbeige4.2-3B, as published. */
const NANBEIGE_JSON = {
  architectures: ['NanbeigeForCausalLM'],
  attention_bias: false,
  attention_dropout: 0,
  auto_map: { AutoConfig: 'configuration_nanbeige.NanbeigeConfig' },
  bos_token_id: 166100,
  eos_token_id: 166101,
  head_dim: 128,
  hidden_act: 'silu',
  hidden_size: 3072,
  initializer_range: 0.02,
  intermediate_size: 10752,
  kv_channels: 128,
  loop_loss_weights: [],
  max_position_embeddings: 262144,
  mlp_bias: false,
  model_type: 'nanbeige',
  num_attention_heads: 48,
  num_hidden_layers: 22,
  num_key_value_heads: 8,
  num_loops: 2,
  pad_token_id: 0,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_scaling: null,
  rope_theta: 70000000,
  skip_loop_final_norm: false,
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
  transformers_version: '4.42.4',
  use_cache: true,
  vocab_size: 166144,
};

const OURO_JSON = modelConfigToJson(RELEASED_SHAPES.get('ouro-1.4b')!, 'bfloat16');

const read = (json: object): LoopLMConfig => parseModelConfig(json).config;
const errorOf = (json: unknown) => thrownBy(() => parseModelConfig(json));

describe('an architecture that looplm does not compute', () => {
  it.each<[string, object]>([
    ['another model type', { model_type: 'loopcoder', architectures: ['LoopCoderForCausalLM'] }],
    ['another class', { architectures: ['IQuestLoopCoderForCausalLM'] }],
    ['the class of the other architecture', { architectures: ['NanbeigeForCausalLM'] }],
    ['no class', { architectures: [] }],
  ])('%s: refused with the ones that it does, and nothing else is judged', (_, edits) => {
    const error = errorOf({ ...OURO_JSON, hidden_size: -1, ...edits }) as Error;
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(/OuroForCausalLM \(model_type "ouro"\)/);
    expect(error.message).toMatch(/NanbeigeForCausalLM \(model_type "nanbeige"\)/);
    expect(error.message).not.toContain('hidden_size');
  });
});

describe('nanbeige', () => {
  const released = { ...RELEASED_SHAPES.get('nanbeige-4.2-3b')!, eosTokenIds: [166101] };

  it('reads the published config and ignores nothing of it', () => {
    expect(parseModelConfig(NANBEIGE_JSON)).toEqual({
      config: released,
      ignoredKeys: [],
      notes: [],
    });
  });

  it('has 201 tensors and 4,169,800,704 parameters, none of a gate or a second norm', () => {
    const specs = parameterSpecs(released);
    expect(specs).toHaveLength(201);
    expect(specs.reduce((sum, { shape }) => sum + elementCount(shape), 0)).toBe(4_169_800_704);
    const names = specs.map(({ hfName }) => hfName).filter((name) => !/layers\.[^0]/.test(name));
    expect(names.join()).not.toMatch(/_2\.weight|gate\.weight|early_exit/);
    const shapes = Object.fromEntries(specs.map(({ hfName, shape }) => [hfName, shape]));
    expect(shapes['model.layers.21.self_attn.q_proj.weight']).toEqual([6144, 3072]);
    expect(shapes['model.layers.21.self_attn.k_proj.weight']).toEqual([1024, 3072]);
    expect(shapes['model.layers.21.self_attn.o_proj.weight']).toEqual([3072, 6144]);
  });

  it('takes the loops from loop_loss_weights, one more than they are, and from nowhere twice', () => {
    const { num_loops: _, ...withoutLoops } = NANBEIGE_JSON;
    expect(read({ ...withoutLoops, loop_loss_weights: [0.2, 0.3] }).numLoops).toBe(3);
    expect(read({ ...NANBEIGE_JSON, loop_loss_weights: [0.5] }).numLoops).toBe(2);
    expect(read({ ...NANBEIGE_JSON, loop_loss_weights: null, num_loops: 5 }).numLoops).toBe(5);
    expect(errorOf({ ...NANBEIGE_JSON, loop_loss_weights: [0.2, 0.3] })).toMatchObject({
      field: 'num_loops',
      message: expect.stringMatching(/num_loops is 2.*2 entries.*3 loops.*agree/),
    });
    expect(errorOf(withoutLoops)).toMatchObject({ field: 'num_loops' });
    for (const weights of [0.5, ['a'], Array(64).fill(0.01)]) {
      expect(errorOf({ ...NANBEIGE_JSON, loop_loss_weights: weights })).toBeInstanceOf(ConfigError);
    }
  });

  it('reads where the final norm stands, and writes what it read', () => {
    const skipping = read({ ...NANBEIGE_JSON, skip_loop_final_norm: true });
    expect(skipping).toEqual({ ...released, skipLoopFinalNorm: true });
    expect(read(modelConfigToJson(skipping, 'float32'))).toEqual(skipping);
    const { auto_map: _, mlp_bias: __, attention_bias: ___, ...rest } = NANBEIGE_JSON;
    const { pretraining_tp: ____, transformers_version: _____, ...own } = rest;
    expect(modelConfigToJson(released, 'bfloat16')).toEqual(own);
  });

  it('wants kv_channels to repeat head_dim', () => {
    const { kv_channels: _, ...without } = NANBEIGE_JSON;
    expect(read(without)).toEqual(released);
    expect((errorOf({ ...NANBEIGE_JSON, kv_channels: 64 }) as Error).message).toMatch(
      /kv_channels is 64 and head_dim is 128; they must be equal/,
    );
  });

  it('takes the settings of what is off, and says what a key would do that is on', () => {
    const settings = { num_residual_streams: 4, mhc_sinkhorn_iterations: 20, emb_split_num: null };
    const off = { enable_mhc: false, emb_neighbor_num: null, insert_ngram_layer_idx: [] };
    expect(parseModelConfig({ ...NANBEIGE_JSON, ...settings, ...off }).ignoredKeys).toEqual([]);
    const error = errorOf({ ...NANBEIGE_JSON, loop_share_kv: true }) as Error;
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(/loop_share_kv is true.*keys and values of the first.*Use a/);
  });
});

describe('ouro, saved again by other programs', () => {
  const { rope_theta: theta, rope_scaling: _, ...withoutRope } = OURO_JSON;
  const released = RELEASED_SHAPES.get('ouro-1.4b')!;

  it.each<[string, object]>([
    ['rope_theta at the top', { rope_theta: theta }],
    ['rope_parameters alone', { rope_parameters: { rope_theta: theta, rope_type: 'default' } }],
    ['rope_parameters without a base', { rope_theta: theta, rope_parameters: { type: 'default' } }],
    ['empty rope_parameters', { rope_theta: theta, rope_parameters: {} }],
    ['rope_scaling of type default', { rope_theta: theta, rope_scaling: { type: 'default' } }],
    ['a base in rope_scaling', { rope_scaling: { rope_theta: theta, rope_type: 'default' } }],
    ['both, equal', { rope_theta: theta, rope_parameters: { rope_theta: theta } }],
    [
      'the whole head, said',
      { rope_parameters: { rope_theta: theta, rope_type: 'default', partial_rotary_factor: 1 } },
    ],
  ])('takes %s', (__, rope) => {
    expect(read({ ...withoutRope, ...rope })).toEqual(released);
  });

  it.each<[string, object, RegExp]>([
    ['no base', { rope_parameters: { rope_type: 'default' } }, /rope_theta is missing/],
    [
      'two bases',
      { rope_theta: 10_000, rope_parameters: { rope_theta: theta } },
      /rope_parameters\.rope_theta is 1000000 and rope_theta is 10000; they must agree/,
    ],
    ['an absurd base', { rope_parameters: { rope_theta: 0 } }, /rope_theta is 0; it must be/],
    ['a list', { rope_theta: theta, rope_parameters: [] }, /rope_parameters is a list of 0/],
    [
      'scaled angles',
      { rope_parameters: { rope_theta: theta, rope_type: 'yarn', factor: 4 } },
      /rope_parameters is of type "yarn"/,
    ],
    [
      'a part of the head',
      { rope_parameters: { rope_theta: theta, partial_rotary_factor: 0.5 } },
      /partial_rotary_factor is 0\.5/,
    ],
  ])('refuses %s', (__, rope, told) => {
    expect((errorOf({ ...withoutRope, ...rope }) as Error).message).toMatch(told);
  });

  it('has full depth without a threshold, absent or null', () => {
    const { early_exit_threshold: __, ...absent } = OURO_JSON;
    expect(read(absent)).toEqual(released);
    expect(read({ ...absent, early_exit_threshold: null })).toEqual(released);
  });

  it('counts early_exit_step from 0, and null is none', () => {
    expect(read({ ...OURO_JSON, early_exit_step: 0 }).exitDepth).toBe(1);
    expect(read({ ...OURO_JSON, early_exit_step: 3 }).exitDepth).toBe(4);
    expect(read({ ...OURO_JSON, early_exit_step: null })).toEqual(released);
    for (const step of [4, -1, 1.5, 'last']) {
      expect(errorOf({ ...OURO_JSON, early_exit_step: step })).toMatchObject({
        field: 'early_exit_step',
        message: expect.stringMatching(/from 0 to 3/),
      });
    }
  });

  it('says that a dropout has no effect', () => {
    const { config, notes } = parseModelConfig({ ...OURO_JSON, attention_dropout: 0.1 });
    expect(config).toEqual(released);
    expect(notes).toEqual([expect.stringMatching(/attention_dropout is 0\.1.*training/)]);
  });
});
