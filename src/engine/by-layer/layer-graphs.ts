/**
 * The inference graphs of the by-layer partition: what lies between one attention and the next.
 *
 * A model of L layers becomes L + 1 programs: the first makes the attention inputs of layer 0, the
 * last ends with the final norm and the gate, and each one between joins the second half of a layer
 * to the first half of the next. The tokens of a run may have any mixture of sequences and depths.
 */
import type { Graph, Tensor } from '../../graph/index.js';
import { buildGraph, input, reshape, rmsNorm } from '../../graph/index.js';
import type { GraphWeights, LoopLMConfig } from '../../model/index.js';
import { attentionInputs, gateLogit, layerOutput, loopParams } from '../../model/index.js';

/**
 * The programs in order. Inputs: `x [N, D]`; after the first `heads [N, H*Dh]` of the attention
 * before; but for the last `cos` and `sin [N, 1, Dh/2]`. Outputs: `q [N, H*Dh]`, `k` and `v
 * [N, K*Dh]`, after the first also
 * the `stream [N, D]` that is the next `x`; of the last `h [N, D]` and `gateLogit [N]`.
 */
export function layerGraphs(config: LoopLMConfig, weights: GraphWeights): readonly Graph[] {
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
      const h = rmsNorm(stream, params.norm, config.rmsNormEps);
      return buildGraph({ h, gateLogit: gateLogit(h, params) });
    }
    const angles = ['N', 1, headDim / 2];
    const cos = input('cos', 'f32', angles);
    const sin = input('sin', 'f32', angles);
    const { q, k, v } = attentionInputs(stream, layer, { config, cos, sin });
    const flat = (rows: Tensor) => reshape(rows, ['N', (rows.shape[1] as number) * headDim]);
    return buildGraph({
      ...(before && { stream }),
      q: flat(q),
      k: flat(k),
      v: flat(v),
    });
  });
}
