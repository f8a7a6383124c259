/**
 * The graph that evaluation runs: one full-depth pass over a packed batch, of which only the chosen
 * positions are read out.
 *
 * It returns a handful of numbers for each chosen position and loop instead of states and logits, so
 * that thousands of problems fit in memory. Every exit policy's signal is among them.
 * Source: docs/math.md (exit-policies); forward pass of model/batch-forward.ts.
 */
import type { Graph, Tensor } from '../graph/index.js';
import {
  argmax,
  buildGraph,
  concat,
  crossEntropy,
  div,
  exp,
  gatherRows,
  input,
  logSoftmax,
  mul,
  pick,
  reduceSum,
  reshape,
  sqrt,
  sub,
} from '../graph/index.js';
import type { BatchForwardOptions, GraphWeights, LoopLMConfig } from '../model/index.js';
import { batchLoopStates, gateLogit, headParam, loopParams, readout } from '../model/index.js';

/** Outputs of the graph, each `[R, M]` for M chosen positions; `[R-1, M]` where loops are compared. */
export const LOOP_OUTPUTS = [
  'tokenIds', // most likely token
  'topProbs', // its probability
  'losses', // -log p(target), in nats
  'gateLogits', // of a model that has an exit gate
  'stateDeltas', // |h_t - h_{t-1}| / |h_{t-1}|, from the second loop on
  'kls', // KL(p_t || p_{t-1}) in nats, from the second loop on
] as const;

/**
 * Builds the graph. Its inputs are those of the batch forward pass, and `chosen` and `targets`, i32
 * `[M]`: flat positions of the batch and the token that each should predict. With a single loop the
 * outputs that compare loops are absent, and without an exit gate `gateLogits` is.
 */
export function loopGraph(
  config: LoopLMConfig,
  weights: GraphWeights,
  options: BatchForwardOptions,
): Graph {
  const { leaf } = weights;
  const { exitGate } = loopParams(config, leaf);
  const head = headParam(config, leaf);
  const chosen = input('chosen', 'i32', ['M']);
  const targets = input('targets', 'i32', ['M']);

  const states = batchLoopStates(config, weights, options).map((h) => gatherRows(h, chosen)); // [M, D]
  const logits = states.map((h) => readout(h, head)); // [M, V]
  const logProbs = logits.map(logSoftmax);
  const best = logits.map(argmax);
  return buildGraph({
    tokenIds: stackLoops(best),
    topProbs: stackLoops(logProbs.map((row, loopIndex) => exp(pick(row, best[loopIndex]!)))),
    losses: stackLoops(logits.map((row) => crossEntropy(row, targets))),
    ...(exitGate && { gateLogits: stackLoops(states.map((h) => gateLogit(h, exitGate))) }),
    ...(states.length > 1 && {
      stateDeltas: stackLoops(pairs(states).map(relativeChange)),
      kls: stackLoops(pairs(logProbs).map(divergence)),
    }),
  });
}

/** Every item but the first, with the one before it. */
function pairs(items: readonly Tensor[]): readonly (readonly [Tensor, Tensor])[] {
  return items.slice(1).map((item, index) => [item, items[index]!] as const);
}

/** |h - previous| / |previous|, rows `[M, D]` to `[M]`. */
function relativeChange([h, previous]: readonly [Tensor, Tensor]): Tensor {
  const change = sub(h, previous);
  const norm = (x: Tensor) => sqrt(reduceSum(mul(x, x), [-1]));
  return div(norm(change), norm(previous));
}

/** KL(p || q) from log-probabilities `[M, V]` to `[M]`. */
function divergence([logP, logQ]: readonly [Tensor, Tensor]): Tensor {
  return reduceSum(mul(exp(logP), sub(logP, logQ)), [-1]);
}

/** One row for each loop: `[M]` each to `[R, M]`. */
function stackLoops(rows: readonly Tensor[]): Tensor {
  return concat(
    rows.map((row) => reshape(row, [1, ...row.shape])),
    0,
  );
}
