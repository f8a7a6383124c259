/**
 * Nanbeige4.2: a norm before each branch and none after, no exit gate.
 *
 * The final norm stands between loops, too, unless `skip_loop_final_norm` is set. The release's code
 * knows more that its checkpoints do not use; a config that turns it on is refused by name.
 * Source: modelling code and config class of Nanbeige4.2-3B (arXiv 2607.22083); docs/math.md (block, loop).
 */
import { z } from 'zod';
import { add } from '../../graph/index.js';
import { showValue } from '../../util/quote.js';
import { MAX_NUM_LOOPS } from '../config.js';
import type { ConfigFields } from '../config-fields.js';
import { count, flag, rule } from '../config-fields.js';
import type { Architecture } from './architecture.js';
import { NORM_AT_READOUT, NORM_EVERY_LOOP } from './architecture.js';

/** Keys that make another model of it where they are on, and what they would do. */
const OTHER_MODELS: Readonly<Record<string, string>> = {
  enable_double_loop_split: 'it repeats some of the layers and not the others (LoopSplit)',
  loop_middle_layers: 'it says which layers LoopSplit repeats',
  loop_share_kv: 'later loops read the keys and values of the first',
  enable_hyper_connection: 'layers are joined by several residual streams',
  enable_mhc: 'layers are joined by several residual streams',
  enable_h_res_identity: 'layers are joined by several residual streams',
  mhc_diff_for_loop: 'layers are joined by several residual streams',
  mhc_double_stream_position_for_loop: 'layers are joined by several residual streams',
  enable_depth_attention: 'attention mixes the values of several layers',
  emb_neighbor_num: 'the embedding depends on the tokens before',
  insert_ngram_layer_idx: 'the embedding depends on the tokens before',
  ngram_insert_all_layers: 'the embedding depends on the tokens before',
  qk_layernorm: 'queries and keys are normed',
};

/** Settings of what is refused where it is on, and of how the model was trained. */
const WITHOUT_EFFECT = [
  'depth_attention_recent_window',
  'depth_attention_static_anchor_once',
  'depth_attention_stride',
  'emb_split_num',
  'emb_tp_num',
  'mhc_identity_nohresparam',
  'mhc_init_gating_factor',
  'mhc_sinkhorn_iterations',
  'ngram_compressed_tokenizer',
  'ngram_embedding_hidden_size',
  'ngram_fused_mode',
  'ngram_layer_downproject_size',
  'ngram_mod_force_prime',
  'ngram_vocab_size_ratio',
  'num_residual_streams',
  'pretraining_tp',
  'skip_ngram_for_input',
];

export const NANBEIGE: Architecture = {
  name: 'nanbeige',
  className: 'NanbeigeForCausalLM',
  hasExitGate: false,

  block: {
    attentionInput: (x, { norm }) => norm('inputLayernorm', x),
    output(x, attended, { norm, mlp }) {
      const a = add(x, attended);
      return add(a, mlp(norm('postAttentionLayernorm', a)));
    },
  },

  boundary: ({ skipLoopFinalNorm }) => (skipLoopFinalNorm ? NORM_AT_READOUT : NORM_EVERY_LOOP),

  layerTensors: [
    ['inputLayernorm', 'input_layernorm'],
    ['qProj', 'self_attn.q_proj'],
    ['kProj', 'self_attn.k_proj'],
    ['vProj', 'self_attn.v_proj'],
    ['oProj', 'self_attn.o_proj'],
    ['postAttentionLayernorm', 'post_attention_layernorm'],
    ['gateProj', 'mlp.gate_proj'],
    ['upProj', 'mlp.up_proj'],
    ['downProj', 'mlp.down_proj'],
  ],

  readConfig(fields) {
    for (const [key, effect] of Object.entries(OTHER_MODELS)) refuse(fields, key, effect);
    fields.ignore(WITHOUT_EFFECT);
    checkKvChannels(fields);
    return {
      numLoops: numLoops(fields),
      exitThreshold: 1,
      skipLoopFinalNorm: fields.optional('skip_loop_final_norm', flag),
    };
  },

  configJson: (config) => ({
    kv_channels: config.headDim,
    loop_loss_weights: [],
    num_loops: config.numLoops,
    skip_loop_final_norm: config.skipLoopFinalNorm ?? false,
  }),
};

/** A key that is on means another model. */
function refuse(fields: ConfigFields, key: string, effect: string): void {
  const value = fields.raw(key);
  const isOff = value === false || (Array.isArray(value) && value.length === 0);
  if (isOff || !fields.has(key)) return;
  fields.unsupported(
    key,
    `${key} is ${showValue(value)}; looplm computes Nanbeige models without it: where it is on, ${effect}. Use a checkpoint that has it off.`,
  );
}

/** `loop_loss_weights` has a weight for each loop but the last, and may be empty. */
function numLoops(fields: ConfigFields): number | undefined {
  const weights = fields.optional(
    'loop_loss_weights',
    rule(
      z.array(z.number()).max(MAX_NUM_LOOPS - 1),
      `a list of at most ${MAX_NUM_LOOPS - 1} numbers`,
    ),
  );
  if (weights === undefined || weights.length === 0) {
    return fields.required('num_loops', count(MAX_NUM_LOOPS));
  }
  const loops = fields.optional('num_loops', count(MAX_NUM_LOOPS));
  const implied = weights.length + 1;
  if (loops !== undefined && loops !== implied) {
    fields.fault(
      'num_loops',
      `num_loops is ${loops} and loop_loss_weights has ${weights.length} entries, which mean ${implied} loops; they must agree. Correct num_loops, or empty loop_loss_weights.`,
    );
  }
  return implied;
}

/** It repeats `head_dim`. */
function checkKvChannels(fields: ConfigFields): void {
  const [channels, headDim] = [fields.raw('kv_channels'), fields.raw('head_dim')];
  if (!fields.has('kv_channels') || channels === headDim) return;
  fields.fault(
    'kv_channels',
    `kv_channels is ${showValue(channels)} and head_dim ${fields.has('head_dim') ? `is ${showValue(headDim)}` : 'is missing'}; they must be equal. Correct them.`,
  );
}
