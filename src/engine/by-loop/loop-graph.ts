/**
 * The inference graph of a whole loop: one pass through the stack for N packed tokens against cached
 * keys and values.
 *
 * The tokens of a run may belong to any sequences, as long as they are at the same loop: which
 * cached slot and which other new token each of them sees is said by one bias matrix. Depths that
 * differ need no other program, since every loop has the same weights.
 * Source: docs/architecture.md (runner); loop and gate are those of training (model/loop-lm.ts).
 */
import type { Graph, Tensor } from '../../graph/index.js';
import {
  add,
  buildGraph,
  concat,
  input,
  matmul,
  reshape,
  softmax,
  transpose,
} from '../../graph/index.js';
import type { GraphWeights, LoopLMConfig } from '../../model/index.js';
import { loop, loopParams } from '../../model/index.js';
import { loopEnd } from '../ends.js';

/** Names of the cache inputs and of the new rows of a layer. */
export const layerNames = (layerIndex: number) => ({
  cachedKeys: `cachedKeys.${layerIndex}`, // [K, S, Dh]
  cachedValues: `cachedValues.${layerIndex}`,
  newKeys: `newKeys.${layerIndex}`, // [K, N, Dh]
  newValues: `newValues.${layerIndex}`,
});

/**
 * One loop. Inputs `x [N, D]`, `cos` and `sin [N, 1, Dh/2]`, `bias [N, S+N]` and the cache of
 * each layer; outputs those of `loopEnd` and the new rows of each layer.
 */
export function loopGraph(config: LoopLMConfig, weights: GraphWeights): Graph {
  const { hiddenSize: D, headDim, numKeyValueHeads: K, numAttentionHeads: H } = config;
  const outputs: Record<string, Tensor> = {};
  const bias = input('bias', 'f32', ['N', 'S+N']);
  const attend = (layerIndex: number, q: Tensor, k: Tensor, v: Tensor): Tensor => {
    const names = layerNames(layerIndex);
    const newKeys = transpose(k, [1, 0, 2]); // [K, N, Dh]
    const newValues = transpose(v, [1, 0, 2]);
    outputs[names.newKeys] = newKeys;
    outputs[names.newValues] = newValues;
    const joined = (name: string, fresh: Tensor) =>
      reshape(concat([input(name, 'f32', [K, 'S', headDim]), fresh], 1), [K, 1, 'S+N', headDim]);
    const keys = joined(names.cachedKeys, newKeys);
    const values = joined(names.cachedValues, newValues);
    const queries = reshape(transpose(q, [1, 0, 2]), [K, H / K, 'N', headDim]);
    const scores = matmul(queries, keys, { transposeB: true, alpha: headDim ** -0.5 });
    const mixed = matmul(softmax(add(scores, bias)), values); // [K, H/K, N, Dh]
    return transpose(reshape(mixed, [H, 'N', headDim]), [1, 0, 2]);
  };
  const params = loopParams(config, weights.leaf);
  const angles = ['N', 1, headDim / 2];
  const context = {
    config,
    cos: input('cos', 'f32', angles),
    sin: input('sin', 'f32', angles),
    attend,
  };
  const state = loop(input('x', 'f32', ['N', D]), params, context);
  return buildGraph({ ...loopEnd(state, params, config), ...outputs });
}
