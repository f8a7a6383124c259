/**
 * The inference graphs of a model: what lies between one attention and the next.
 *
 * A model of L layers becomes L + 1 programs: the first makes the attention inputs of layer 0, the
 * last ends the loop, and each one between joins the second half of a layer to the first half of the
 * next. The tokens of a run may have any mixture of sequences and depths.
 */
import type { Graph } from '../../graph/index.js';
import { buildGraph, concat, input } from '../../graph/index.js';
import type { LoopLMConfig, WeightSource } from '../../model/index.js';
import {
  attentionProjections,
  carriedState,
  gateLogit,
  hiddenOf,
  layerOutput,
  loopParams,
} from '../../model/index.js';

/**
 * The programs in order. Inputs: `x [N, D]`; after the first `heads [N, H*Dh]` of the attention
 * before. Outputs: `qkv [N, (H + 2K) * Dh]`, not rotated; after the first also the `stream [N, D]`
 * that is the next `x`; of the last the `state [N, D]` that the next loop takes, and where the model has
 * an exit gate `gateLogit [N]`.
 */
export function layerGraphs(config: LoopLMConfig, weights: WeightSource): readonly Graph[] {
  const { hiddenSize: D, headDim, numAttentionHeads: H, numHiddenLayers: L } = config;
  const params = loopParams(config, weights.leaf);
  return Array.from({ length: L + 1 }, (_, index) => {
    const x = input('x', 'f32', ['N', D]);
    const before = params.layers[index - 1];
    const stream = before
      ? layerOutput(x, input('heads', 'f32', ['N', H * headDim]), before, { config })
      : x;
    const layer = params.layers[index];
    if (!layer) {
      const state = carriedState(stream, params, config);
      const { exitGate } = params;
      const h = hiddenOf(state, params, config);
      return buildGraph({ state, ...(exitGate && { gateLogit: gateLogit(h, exitGate) }) });
    }
    const qkv = concat(attentionProjections(stream, layer, { config }), 1);
    return buildGraph({ ...(before && { stream }), qkv });
  });
}
