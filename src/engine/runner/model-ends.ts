/**
 * The two ends of a model, whatever lies between: token ids to the input of the first loop, the states
 * that loops leave to logits.
 */
import type { Graph, Tensor } from '../../graph/index.js';
import { buildGraph, input, logSoftmax, reshape, slice, sub } from '../../graph/index.js';
import type { LoopLMConfig, WeightSource } from '../../model/index.js';
import { embed, headParam, hiddenOf, loopParams, readout } from '../../model/index.js';

/** What a hidden state says of the next token. */
export interface Readout {
  readonly logits: Float32Array; // [V]
  /** Log of the sum of the exponentials of the logits: a logit less this is a log-probability. */
  readonly logSumExp: number;
}

/** Token ids i32 `[N]` to `x [N, D]`. */
export function embeddingGraph(config: LoopLMConfig, weights: WeightSource): Graph {
  return buildGraph({ x: embed(config, weights, input('ids', 'i32', ['N'])) });
}

/** States `[N, D]` to `logits [N, V]` and the log of the sum of their exponentials, `[N]`. */
export function readoutGraph(config: LoopLMConfig, weights: WeightSource): Graph {
  const h = hiddenOf(stateInput(config), loopParams(config, weights.leaf), config);
  const logits = readout(h, headParam(config, weights.leaf));
  const first = (rows: Tensor) => slice(rows, 1, 0, 1);
  const logSumExp = sub(first(logits), first(logSoftmax(logits)));
  return buildGraph({ logits, logSumExp: reshape(logSumExp, ['N']) });
}

/** States `[N, D]` to `h [N, D]`; undefined where the two are one. */
export function hiddenGraph(config: LoopLMConfig, weights: WeightSource): Graph | undefined {
  const state = stateInput(config);
  const h = hiddenOf(state, loopParams(config, weights.leaf), config);
  return h === state ? undefined : buildGraph({ h });
}

const stateInput = ({ hiddenSize }: LoopLMConfig) => input('state', 'f32', ['N', hiddenSize]);
