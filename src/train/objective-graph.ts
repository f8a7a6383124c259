/**
 * The graph of an objective: from a batch and the weights to one loss, its parts and its gradients.
 *
 * All loops are read out, whatever is minimised. Means run over the counted targets of a whole update:
 * the graph multiplies sums by the input `inverseCount`, so the results of micro-batches add up.
 * Source: Ouro (arXiv 2510.25741) Eq. 2-6; docs/math.md (exit-pdf, loop-diagnostics).
 */
import type { Tensor } from '../graph/index.js';
import {
  add,
  cast,
  concat,
  dependsOn,
  div,
  exp,
  gradients,
  greaterOrEqual,
  input,
  intScalar,
  logSigmoid,
  mul,
  neg,
  reduceSum,
  reshape,
  sqrt,
  stopGradient,
  sub,
  where,
} from '../graph/index.js';
import type { BatchExits, LoopLMConfig, ParameterSpec } from '../model/index.js';
import { batchLoopStates, gateLogit, headParam, loopParams } from '../model/index.js';
import type { ExtraInput, LossParts, Objective, ObjectiveDefinition } from './objectives/index.js';
import { checkObjective, objectiveOf } from './objectives/index.js';
import type { LossRate } from './readout-loss.js';
import { readoutLosses } from './readout-loss.js';
import { chunkRows, readoutRows } from './readout-rows.js';
import { trainedParameters } from './run-parameters.js';
import type { RunModel } from './run-weights.js';
import { runWeights } from './run-weights.js';
import type { TrainableSet } from './trainable.js';

export interface ObjectiveOptions extends RunModel {
  readonly rows: number;
  readonly length: number;
  readonly objective: Objective;
  /** Default: what the objective trains. */
  readonly trained?: TrainableSet | undefined;
  /**
   * `none` keeps the values of all loops for the backward pass; `loop` keeps only the state between
   * loops. Default `none`.
   */
  readonly recompute?: 'none' | 'loop';
  /** Rows whose logits exist together, at most; `batchFeeds` must know it. Default: as many as take at most 64 MiB. */
  readonly chunkRows?: number;
  /** Loops through which a gradient flows back at most; docs/math.md (truncated). Default: all. */
  readonly backpropLoops?: number | undefined;
}

export interface ObjectiveGraph {
  readonly loss: Tensor; // []
  /** Parts of the loss for logging, each `[R]` or `[]`, as means over the counted targets. */
  readonly metrics: Readonly<Record<MetricName, Tensor>>;
  /** Per-loop cross-entropy of every position, 0 where not counted, `[R, B*T]`. */
  readonly tokenLoss: Tensor;
  /** log p(t) of the exit distribution at every position, `[R, B*T]`. */
  readonly tokenLogPdf: Tensor;
  /** Parameters that are trained, with the tensors that stand for them. */
  readonly trained: readonly { readonly spec: ParameterSpec; readonly tensor: Tensor }[];
  /** What the first loop takes, and the state that each loop leaves, `[B*T, D]`. */
  readonly states: readonly Tensor[];
  /** 1 / count where a target counts, else 0, `[B*T]`. */
  readonly weight: Tensor;
}

export type MetricName = 'loss' | 'lossPerLoop' | 'accuracyPerLoop' | 'meanExitPdf' | 'entropy';

/**
 * The graph of an objective over a batch of fixed size. Every parameter of the run is an input by `hfName`;
 * the others are those of `batchFeeds`.
 *
 * @throws ConfigError for an objective that the model has no gate or too few loops for, or a name of
 *   `trained` that it has no parameter of
 */
export function objectiveGraph(config: LoopLMConfig, options: ObjectiveOptions): ObjectiveGraph {
  const { rows, length, backpropLoops } = options;
  checkObjective(config, options.objective);
  const objective = objectiveOf(options.objective);
  const numPositions = rows * length;
  const { source: weights, own } = runWeights(config, options);
  const targets = reshape(input('targets', 'i32', [rows, length]), [numPositions]);
  const counted = greaterOrEqual(targets, intScalar(0));
  const weight = mul(cast(counted, 'f32'), input('inverseCount', 'f32', []));

  const extras = extraTensors(objective.extraInputs, rows, length);
  const extra = (name: string) => extras.get(name)!;
  const { embedded, states, hidden } = batchLoopStates(config, weights, {
    rows,
    length,
    recomputesLoops: options.recompute === 'loop',
    backpropLoops,
    exits: batchExits(objective, extra),
  });
  const { exitGate } = loopParams(config, weights.leaf);
  const shut = sub(mul(weight, 0), SHUT_GATE);
  const gates = hidden.map((h) => (exitGate ? gateLogit(h, exitGate) : shut));
  const logPdf = logExitPdf(gates);
  const entropy = neg(sum(logPdf.map((logP) => mul(exp(logP), logP)))); // [N]

  const mean = (x: Tensor) => reduceSum(mul(x, weight)); // [N] to []
  const parts = { gates, logPdf, entropy, counted, mean, extra };
  const trained = trainedParameters(config, options).map((spec) => ({ spec, tensor: own(spec) }));
  const readouts = readoutLosses(hidden, {
    head: headParam(config, weights.leaf),
    rows: readoutRows(numPositions, options.chunkRows ?? chunkRows(numPositions, config.vocabSize)),
    rates: lossRates(objective, parts, hidden.length),
    trained: trained.map(({ tensor }) => tensor),
  });
  const tokenLosses = readouts.map(({ tokenLoss }) => tokenLoss);
  const loss = objective.loss({ ...parts, tokenLosses });
  return {
    loss,
    trained,
    metrics: {
      loss,
      lossPerLoop: stack(tokenLosses.map(mean)),
      accuracyPerLoop: stack(readouts.map(({ correct }) => mean(correct))),
      meanExitPdf: stack(logPdf.map((logP) => mean(exp(logP)))),
      entropy: mean(entropy),
    },
    tokenLoss: byLoop(tokenLosses.map((ce) => where(counted, ce, 0))),
    tokenLogPdf: byLoop(logPdf),
    states: [embedded, ...states],
    weight,
  };
}

function batchExits(
  { exits }: Pick<ObjectiveDefinition, 'exits'>,
  extra: LossParts['extra'],
): BatchExits | undefined {
  if (!exits) return undefined;
  const at = extra(exits.input.name);
  return exits.by === 'depth' ? { depth: at } : { quantile: at };
}

/** How the loss grows with the cross-entropies, found with others in their place. */
function lossRates(
  objective: ObjectiveDefinition,
  parts: Omit<LossParts, 'tokenLosses'>,
  numLoops: number,
): readonly LossRate[] {
  const tokenLosses = Array.from({ length: numLoops }, () => mul(parts.entropy, 0));
  const rates = gradients(objective.loss({ ...parts, tokenLosses }), tokenLosses);
  return rates.map((rate) => {
    if (!rate) return 'none';
    return dependsOn(rate, tokenLosses) ? 'unknown' : stopGradient(rate);
  });
}

/** Less this is the logit of a gate that is not there: lambda is 0, and 0 times its logarithm too. */
const SHUT_GATE = 1e30;

function extraTensors(
  inputs: readonly ExtraInput[],
  rows: number,
  length: number,
): ReadonlyMap<string, Tensor> {
  return new Map(
    inputs.map(({ name, dtype }) => [
      name,
      reshape(input(`extra:${name}`, dtype, [rows, length]), [rows * length]),
    ]),
  );
}

/** Outputs of the program that one micro-batch runs: metrics, and `grad:NAME` of what is trained. */
export function gradientOutputs(graph: ObjectiveGraph): Readonly<Record<string, Tensor>> {
  return { ...graph.metrics, ...namedGradients(graph, gradientsOf(graph, [])) };
}

export type DiagnosticName = 'stateNorm' | 'stateChange' | 'squaredStateGradient';

/**
 * Outputs of `gradientOutputs`, and how each loop fares, `[R]` each; docs/math.md (loop-diagnostics).
 * Gradients of states are there only if what is trained lies before a readout, and so needs them.
 */
export function diagnosedOutputs(graph: ObjectiveGraph): Readonly<Record<string, Tensor>> {
  const { trained, states, weight } = graph;
  const reached = trained.some(({ spec: { kind } }) => STACK_KINDS.has(kind))
    ? states.slice(1)
    : [];
  const grads = gradientsOf(graph, reached);
  const mean = (x: Tensor) => reduceSum(mul(stopGradient(x), weight));
  const norms = states.map((state) => rowNorm(state));
  const changes = states
    .slice(1)
    .map((state, loopIndex) =>
      div(rowNorm(sub(state, states[loopIndex]!)), add(norms[loopIndex]!, TINY_NORM)),
    );
  const ofStates = grads.slice(trained.length);
  return {
    ...graph.metrics,
    ...namedGradients(graph, grads),
    stateNorm: stack(norms.slice(1).map(mean)),
    stateChange: stack(changes.map(mean)),
    ...(ofStates.length > 0 && {
      squaredStateGradient: stack(
        ofStates.map((grad) => (grad ? reduceSum(mul(grad, grad)) : mul(graph.loss, 0))),
      ),
    }),
  };
}

/** Kinds of parameters whose gradients come through the states. */
const STACK_KINDS: ReadonlySet<ParameterSpec['kind']> = new Set(['embedding', 'matrix', 'norm']);
/** Keeps a relative change finite. */
const TINY_NORM = 1e-12;

/** L2 norm of every row, `[N, D]` to `[N]`. */
const rowNorm = (x: Tensor): Tensor => sqrt(reduceSum(mul(x, x), [1]));

function gradientsOf(
  { loss, trained }: ObjectiveGraph,
  others: readonly Tensor[],
): readonly (Tensor | undefined)[] {
  return gradients(loss, [...trained.map(({ tensor }) => tensor), ...others]);
}

function namedGradients(
  { trained }: ObjectiveGraph,
  grads: readonly (Tensor | undefined)[],
): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(
    trained.map(({ spec, tensor }, index) => [
      `grad:${spec.hfName}`,
      grads[index] ?? mul(tensor, 0),
    ]),
  );
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

const sum = (terms: readonly Tensor[]): Tensor => terms.reduce((a, b) => add(a, b));
/** `[N]` of each loop as `[R, N]`. */
const byLoop = (values: readonly Tensor[]): Tensor =>
  concat(
    values.map((value) => reshape(value, [1, ...value.shape])),
    0,
  );
const stack = (scalars: readonly Tensor[]): Tensor =>
  concat(
    scalars.map((x) => reshape(x, [1])),
    0,
  );
