/**
 * Attention as a program, for many query rows. Apart from those who run it: the thread that computes
 * builds no graphs, and need not load what does.
 */
import type { Graph } from '../../graph/index.js';
import { add, buildGraph, input, matmul, reshape, softmax, transpose } from '../../graph/index.js';
import type { KvMemorySpec } from './kv-memory.js';

/** softmax(q k^T / sqrt(Dh) + bias) v; see `AttentionFeeds`. Gives `heads [N, H*Dh]`. */
export function attentionGraph({ numHeads: H, numKvHeads: K, headDim }: KvMemorySpec): Graph {
  const q = reshape(input('q', 'f32', ['N', H * headDim]), ['N', H, headDim]);
  const queries = reshape(transpose(q, [1, 0, 2]), [K, H / K, 'N', headDim]);
  const cached = (name: string) =>
    reshape(input(name, 'f32', [K, 'S', headDim]), [K, 1, 'S', headDim]);
  const scores = matmul(queries, cached('keys'), { transposeB: true, alpha: headDim ** -0.5 });
  const weights = softmax(add(scores, input('bias', 'f32', ['N', 'S'])));
  const mixed = reshape(matmul(weights, cached('values')), [H, 'N', headDim]);
  return buildGraph({ heads: reshape(transpose(mixed, [1, 0, 2]), ['N', H * headDim]) });
}
