/**
 * Training objectives as graphs: from a batch and the weights to one loss and its parts.
 *
 * All R loops are read out. Stage I weighs the loss of each loop with the probability of stopping
 * there and rewards spread (entropy); stage II trains the gate alone towards whether more loops
 * still help; `last-loop` is plain cross-entropy at full depth. Means run over the counted targets
 * of a whole update: the graph multiplies sums by the input `inverseCount`, so the results of
 * micro-batches add up.
 * Source: Ouro (arXiv 2510.25741) Eq. 2-6; docs/math.md (exit-pdf, stage-1, stage-2).
 */
import { ConfigError } from '../errors.js';
import type { Tensor } from '../graph/index.js';
import {
  add,
  argmax,
  barrier,
  cast,
  concat,
  crossEntropy,
  equal,
  exp,
  gradients,
  greaterOrEqual,
  input,
  intScalar,
  less,
  logSigmoid,
  mul,
  neg,
  recompute,
  reduceSum,
  reshape,
  sigmoid,
  stopGradient,
  sub,
  where,
} from '../graph/index.js';
import type { LoopLMConfig, ParameterSpec } from '../model/index.js';
import {
  batchLoopStates,
  floatWeight,
  gateLogit,
  hasExitGate,
  headParam,
  inputWeights,
  loopParams,
  parameterSpecs,
  readout,
} from '../model/index.js';

/** What is minimised. */
export type Objective =
  | {
      /** Expected loss over exit depths minus `beta` times the entropy of the exit distribution. */
      readonly kind: 'stage-1';
      readonly beta: number;
    }
  | {
      /**
       * The gate alone. `published`: the label of loop t is whether loop t improved on t-1 (t >= 2).
       * `forward`: the label of loop t is whether any later loop improves on t (t < R).
       */
      readonly kind: 'stage-2';
      readonly target: 'published' | 'forward';
      readonly k: number;
      readonly gamma: number;
    }
  | { readonly kind: 'last-loop' };

export interface ObjectiveOptions {
  readonly rows: number;
  readonly length: number;
  readonly objective: Objective;
  /**
   * `none` keeps every value for the backward pass; `loop` keeps only the state between loops;
   * `readout` drops only the logits. Default `none`.
   */
  readonly recompute?: 'none' | 'readout' | 'loop';
}

export interface ObjectiveGraph {
  readonly loss: Tensor; // []
  /** Parts of the loss for logging, each `[R]` or `[]`, as means over the counted targets. */
  readonly metrics: Readonly<Record<MetricName, Tensor>>;
  /** Per-loop cross-entropy of every position, 0 where not counted, `[R, B*T]`. */
  readonly tokenLoss: Tensor;
  /** Parameters that the objective trains, with the tensors that stand for them. */
  readonly trained: readonly { readonly spec: ParameterSpec; readonly tensor: Tensor }[];
}

export type MetricName = 'loss' | 'lossPerLoop' | 'accuracyPerLoop' | 'meanExitPdf' | 'entropy';

/**
 * The graph of an objective over a batch of fixed size. Every parameter is an input by `hfName`; the
 * others are those of `batchFeeds`.
 *
 * @throws ConfigError for an objective that the model has no gate or too few loops for
 */
export function objectiveGraph(config: LoopLMConfig, options: ObjectiveOptions): ObjectiveGraph {
  const { rows, length, objective } = options;
  checkObjective(config, objective);
  const weights = inputWeights();
  const tensors = parameterSpecs(config).map((spec) => ({
    spec,
    tensor: floatWeight(weights.leaf(spec)),
  }));
  const targets = reshape(input('targets', 'i32', [rows, length]), [rows * length]);
  const counted = greaterOrEqual(targets, intScalar(0));
  const weight = mul(cast(counted, 'f32'), input('inverseCount', 'f32', []));
  const labels = where(counted, targets, intScalar(0));

  const recomputesLoops = options.recompute === 'loop';
  const states = batchLoopStates(config, weights, { rows, length, recomputesLoops });
  const head = headParam(config, weights.leaf);
  const { exitGate } = loopParams(config, weights.leaf);
  const correct = states.map((h) => cast(equal(argmax(readout(h, head)), labels), 'f32'));
  const tokenLosses = states.map((h, loopIndex) => {
    const loss = ([x]: readonly Tensor[]) => crossEntropy(readout(x!, head), labels);
    const keepsLogits = options.recompute === undefined || options.recompute === 'none';
    // The barrier has the metric computed now, so that its logits need not live to the end.
    return barrier(keepsLogits ? loss([h]) : recompute(loss, [h]), correct[loopIndex]!);
  });
  const shut = sub(mul(weight, 0), SHUT_GATE);
  const gates = states.map((h) => (exitGate ? gateLogit(h, exitGate) : shut));
  const logPdf = logExitPdf(gates);
  const entropy = neg(sum(logPdf.map((logP) => mul(exp(logP), logP)))); // [N]

  const mean = (x: Tensor) => reduceSum(mul(x, weight)); // [N] to []
  const loss = lossOf(objective, { tokenLosses, gates, logPdf, entropy, mean });
  const trained = tensors.filter(
    ({ spec: { kind } }) =>
      objective.kind !== 'stage-2' || kind === 'gateWeight' || kind === 'gateBias',
  );
  return {
    loss,
    trained,
    metrics: {
      loss,
      lossPerLoop: stack(tokenLosses.map(mean)),
      accuracyPerLoop: stack(correct.map(mean)),
      meanExitPdf: stack(logPdf.map((logP) => mean(exp(logP)))),
      entropy: mean(entropy),
    },
    tokenLoss: concat(
      tokenLosses.map((ce) => reshape(where(counted, ce, 0), [1, rows * length])),
      0,
    ),
  };
}

/** Less this is the logit of a gate that is not there: lambda is 0, and 0 times its logarithm too. */
const SHUT_GATE = 1e30;

/** @throws ConfigError for an objective that the model has no gate or too few loops for */
export function checkObjective(config: LoopLMConfig, { kind }: Objective): void {
  if (kind === 'last-loop') return;
  if (!hasExitGate(config)) {
    throw new ConfigError(
      'objective',
      `objective is ${kind}, which trains an exit gate, and models of the architecture ${config.architecture} have none; use last-loop.`,
    );
  }
  if (kind === 'stage-2' && config.numLoops < 2) {
    throw new ConfigError(
      'objective',
      'objective is stage-2 and the model has 1 loop; its gate has nothing to decide. Use last-loop, or a model with more loops.',
    );
  }
}

/** Outputs of the program that one micro-batch runs: metrics, and `grad:NAME` of what is trained. */
export function gradientOutputs(graph: ObjectiveGraph): Readonly<Record<string, Tensor>> {
  const grads = gradients(
    graph.loss,
    graph.trained.map(({ tensor }) => tensor),
  );
  const named = graph.trained.map(({ spec, tensor }, index): [string, Tensor] => [
    `grad:${spec.hfName}`,
    grads[index] ?? mul(tensor, 0),
  ]);
  return { ...graph.metrics, ...Object.fromEntries(named) };
}

/** log p(t) of every loop from its gate logits, exact for saturated gates; docs/math.md (exit-pdf). */
function logExitPdf(gates: readonly Tensor[]): readonly Tensor[] {
  let logSurvival: Tensor | undefined;
  return gates.map((gate, loopIndex) => {
    const isLast = loopIndex === gates.length - 1;
    const before = logSurvival;
    const stop = logSigmoid(gate);
    const goOn = logSigmoid(neg(gate));
    logSurvival = before ? add(before, goOn) : goOn;
    if (isLast) return before ?? mul(gate, 0);
    return before ? add(before, stop) : stop;
  });
}

interface LossParts {
  readonly tokenLosses: readonly Tensor[];
  readonly gates: readonly Tensor[];
  readonly logPdf: readonly Tensor[];
  readonly entropy: Tensor;
  readonly mean: (x: Tensor) => Tensor;
}

function lossOf(objective: Objective, parts: LossParts): Tensor {
  switch (objective.kind) {
    case 'stage-1': {
      const expected = sum(
        parts.tokenLosses.map((ce, loopIndex) => mul(exp(parts.logPdf[loopIndex]!), ce)),
      );
      return parts.mean(sub(expected, mul(parts.entropy, objective.beta)));
    }
    case 'stage-2':
      return gateLoss(objective, parts);
    case 'last-loop':
      return parts.mean(parts.tokenLosses.at(-1)!);
    default:
      return objective satisfies never;
  }
}

function gateLoss(
  { target, k, gamma }: Extract<Objective, { kind: 'stage-2' }>,
  { tokenLosses, gates, mean }: LossParts,
): Tensor {
  const losses = tokenLosses.map(stopGradient);
  const last = losses.length - 1;
  const loopIndices = losses.map((_, loopIndex) => loopIndex);
  const term = (loopIndex: number, improvement: Tensor) => {
    const gain = where(less(improvement, mul(improvement, 0)), 0, improvement);
    const goOn = sigmoid(mul(sub(gain, gamma), k)); // the label of going on, w
    const gate = gates[loopIndex]!;
    const logLoss = add(mul(goOn, logSigmoid(neg(gate))), mul(sub(1, goOn), logSigmoid(gate)));
    return mean(neg(logLoss));
  };
  if (target === 'published') {
    const terms = loopIndices
      .slice(1)
      .map((loopIndex) => term(loopIndex, sub(losses[loopIndex - 1]!, losses[loopIndex]!)));
    // Eq. 6 and the total below it: T-1 terms divided by T.
    return mul(sum(terms), 1 / losses.length);
  }
  const terms = loopIndices
    .slice(0, last)
    .map((loopIndex) =>
      term(loopIndex, sub(losses[loopIndex]!, losses.slice(loopIndex + 1).reduce(minimum))),
    );
  return mul(sum(terms), 1 / last);
}

const minimum = (a: Tensor, b: Tensor): Tensor => where(less(a, b), a, b);
const sum = (terms: readonly Tensor[]): Tensor => terms.reduce((a, b) => add(a, b));
const stack = (scalars: readonly Tensor[]): Tensor =>
  concat(
    scalars.map((x) => reshape(x, [1])),
    0,
  );
