/**
 * Ouro: sandwich norms, the final norm between loops, an exit gate.
 *
 * Source: Ouro (arXiv 2510.25741) and its released code; docs/math.md (block, loop, gate).
 */
import { z } from 'zod';
import { add } from '../../graph/index.js';
import { MAX_NUM_LOOPS } from '../config.js';
import type { ConfigFields } from '../config-fields.js';
import { count, rule } from '../config-fields.js';
import type { Architecture, OwnConfig } from './architecture.js';
import { NORM_EVERY_LOOP } from './architecture.js';

const EXIT_THRESHOLD = rule(z.number().gt(0).max(1), 'in (0, 1], 1 meaning full depth');

export const OURO: Architecture = {
  name: 'ouro',
  className: 'OuroForCausalLM',
  hasExitGate: true,

  block: {
    attentionInput: (x, { norm }) => norm('inputLayernorm', x),
    output(x, attended, { norm, mlp }) {
      const a = add(x, norm('inputLayernorm2', attended));
      return add(a, norm('postAttentionLayernorm2', mlp(norm('postAttentionLayernorm', a))));
    },
  },

  boundary: () => NORM_EVERY_LOOP,

  layerTensors: [
    ['inputLayernorm', 'input_layernorm'],
    ['inputLayernorm2', 'input_layernorm_2'],
    ['qProj', 'self_attn.q_proj'],
    ['kProj', 'self_attn.k_proj'],
    ['vProj', 'self_attn.v_proj'],
    ['oProj', 'self_attn.o_proj'],
    ['postAttentionLayernorm', 'post_attention_layernorm'],
    ['postAttentionLayernorm2', 'post_attention_layernorm_2'],
    ['gateProj', 'mlp.gate_proj'],
    ['upProj', 'mlp.up_proj'],
    ['downProj', 'mlp.down_proj'],
  ],

  readConfig(fields) {
    const numLoops = fields.required('total_ut_steps', count(MAX_NUM_LOOPS));
    // The release's class has 1 where the key is absent, and goes to full depth where it is null.
    const exitThreshold = fields.has('early_exit_threshold')
      ? fields.required('early_exit_threshold', EXIT_THRESHOLD)
      : 1;
    fields.ignore(['chunk_size', 'max_window_layers', 'sliding_window']);
    return { numLoops, exitThreshold, ...exitDepth(fields, numLoops) };
  },

  configJson: (config) => ({
    early_exit_threshold: config.exitThreshold,
    ...(config.exitDepth !== undefined && { early_exit_step: config.exitDepth - 1 }),
    layer_types: Array<string>(config.numHiddenLayers).fill('full_attention'),
    max_window_layers: config.numHiddenLayers,
    sliding_window: null,
    total_ut_steps: config.numLoops,
    use_sliding_window: false,
  }),
};

/** `early_exit_step` counts loops from 0 and comes before the threshold. */
function exitDepth(
  fields: ConfigFields,
  numLoops: number | undefined,
): Pick<OwnConfig, 'exitDepth'> {
  const last = (numLoops ?? MAX_NUM_LOOPS) - 1;
  const allowed = `an integer from 0 to ${last} (total_ut_steps less 1), or null`;
  const step = fields.optional('early_exit_step', rule(z.int().min(0).max(last), allowed));
  return step === undefined ? {} : { exitDepth: step + 1 };
}
