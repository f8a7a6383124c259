/** All that is wrong with a config.json is told at once, each fault with its value and its rule. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, UnsupportedError } from '../errors.js';
import { modelConfigToJson, parseModelConfig } from './config-json.js';
import { RELEASED_SHAPES } from './released-shapes.js';
import { thrownBy } from '../../test/thrown.js';

/** Without kv_channels, which repeats head_dim: two faults from one edit. */
function jsonOf(shape: string): Record<string, unknown> {
  const { kv_channels: _, ...json } = modelConfigToJson(RELEASED_SHAPES.get(shape)!, 'bfloat16');
  return json;
}

interface Fault {
  readonly key: string;
  readonly value: unknown;
  /** What the message must hold. */
  readonly told: string;
}

/** Faults that do not touch each other: each is one whatever the others are. */
const COMMON_FAULTS: readonly Fault[] = [
  {
    key: 'hidden_size',
    value: 1e15,
    told: 'hidden_size is 1000000000000000; it must be an integer',
  },
  { key: 'intermediate_size', value: '5632', told: 'intermediate_size is "5632"' },
  { key: 'num_hidden_layers', value: undefined, told: 'num_hidden_layers is missing' },
  { key: 'num_attention_heads', value: -16, told: 'num_attention_heads is -16' },
  { key: 'num_key_value_heads', value: 0, told: 'num_key_value_heads is 0' },
  { key: 'head_dim', value: 127, told: 'head_dim is 127; it must be even' },
  { key: 'rms_norm_eps', value: 1e308, told: 'rms_norm_eps is 1e+308' },
  { key: 'rope_theta', value: JSON.parse('1e400') as number, told: 'rope_theta is Infinity' },
  { key: 'max_position_embeddings', value: 0, told: 'max_position_embeddings is 0' },
  { key: 'tie_word_embeddings', value: 'yes', told: 'tie_word_embeddings is "yes"' },
  { key: 'initializer_range', value: -1, told: 'initializer_range is -1' },
  { key: 'hidden_act', value: 'gelu', told: 'hidden_act is "gelu"; it must be "silu"' },
  { key: 'eos_token_id', value: 1e6, told: 'eos_token_id is 1000000; it must be a token id' },
  { key: 'bos_token_id', value: 0.5, told: 'bos_token_id is 0.5' },
  { key: 'attention_dropout', value: 2, told: 'attention_dropout is 2' },
  { key: 'attention_bias', value: true, told: 'attention_bias is true; looplm computes' },
  { key: 'rope_scaling', value: { type: 'yarn' }, told: 'rope_scaling is of type "yarn"' },
  { key: 'quantization_config', value: { quant_method: 'gptq' }, told: 'quantised by "gptq"' },
];

const OWN_FAULTS: Readonly<Record<string, readonly Fault[]>> = {
  'ouro-1.4b': [
    { key: 'total_ut_steps', value: 0, told: 'total_ut_steps is 0; it must be an integer from 1' },
    { key: 'early_exit_threshold', value: 1.5, told: 'early_exit_threshold is 1.5' },
    { key: 'early_exit_step', value: 64, told: 'early_exit_step is 64; it must be an integer' },
  ],
  'nanbeige-4.2-3b': [
    {
      key: 'num_loops',
      value: 1000,
      told: 'num_loops is 1000; it must be an integer from 1 to 64',
    },
    { key: 'skip_loop_final_norm', value: 1, told: 'skip_loop_final_norm is 1' },
    ...(
      [
        ['loop_share_kv', true],
        ['loop_middle_layers', 4],
        ['enable_double_loop_split', true],
        ['enable_hyper_connection', true],
        ['enable_mhc', true],
        ['enable_h_res_identity', true],
        ['enable_depth_attention', true],
        ['emb_neighbor_num', 3],
        ['insert_ngram_layer_idx', [1]],
        ['qk_layernorm', true],
        ['mlp_bias', true],
      ] as const
    ).map(([key, value]) => ({ key, value, told: key })),
  ],
};

const errorOf = (json: unknown) => thrownBy(() => parseModelConfig(json));

describe.each(Object.entries(OWN_FAULTS))('a config of %s', (shape, own) => {
  const faults = [...COMMON_FAULTS, ...own];

  it('without a fault is read', () => {
    expect(parseModelConfig(jsonOf(shape)).config).toEqual(RELEASED_SHAPES.get(shape));
  });

  it('names every fault of any set of them, in one line, and no other key', () => {
    const numbered = faults.map((fault, index) => ({ ...fault, index }));
    fc.assert(
      fc.property(fc.subarray(numbered, { minLength: 1 }), (chosen) => {
        const edits = Object.fromEntries(chosen.map(({ key, value }) => [key, value]));
        const error = errorOf({ ...jsonOf(shape), ...edits }) as Error;
        expect(error).toBeInstanceOf(Error);
        for (const { told } of chosen) expect(error.message).toContain(told);
        expect(error.message).not.toContain('\n');
        const listed = /has (\d+) faults/.exec(error.message)?.[1] ?? '1';
        expect(Number(listed)).toBe(chosen.length);
      }),
      { seed: 4, numRuns: 300 },
    );
  });

  it('is a ConfigError where a value is wrong, UnsupportedError where it means another model', () => {
    const right = jsonOf(shape);
    expect(errorOf({ ...right, attention_bias: true, rms_norm_eps: 2 })).toMatchObject({
      field: 'rms_norm_eps',
    });
    expect(errorOf({ ...right, rms_norm_eps: 2 })).toBeInstanceOf(ConfigError);
    const unsupported = errorOf({ ...right, attention_bias: true, mlp_bias: true });
    expect(unsupported).toBeInstanceOf(UnsupportedError);
    expect((unsupported as Error).message).toMatch(/2 faults.*attention_bias.*mlp_bias/);
  });

  it('of sizes that are legal each and absurd together is refused with their sum', () => {
    const sizes = { vocab_size: 2 ** 24, hidden_size: 2 ** 20 };
    expect(errorOf({ ...jsonOf(shape), ...sizes })).toMatchObject({
      field: 'hidden_size',
      message: expect.stringMatching(/\d\.\d\de\+13 parameters.*at most/),
    });
  });
});
