/**
 * The forward pass over a fixed rectangle of packed documents: the state of every loop at every
 * position.
 *
 * Training and calibration read a whole batch at once, so nothing is cached: a position sees the
 * earlier positions of its own document and no others. What is done with the states (losses,
 * readouts) is the caller's business, as is how documents were packed (data/).
 * Source: docs/math.md (block); block and gate are those of loop-lm.ts.
 */
import { ConfigError, assert } from '../errors.js';
import type { Tensor } from '../graph/index.js';
import {
  cast,
  gatherRows,
  greaterOrEqual,
  input,
  intScalar,
  less,
  mul,
  neg,
  recompute,
  reshape,
  scalar,
  sigmoid,
  stopGradient,
  sub,
  where,
} from '../graph/index.js';
import type { LoopLMConfig } from './config.js';
import { resolveNumLoops } from './config.js';
import type { Attend, LoopContext, LoopParams } from './loop-lm.js';
import { gateLogit, hiddenOf, loop, loopParams } from './loop-lm.js';
import { parameterSpecs } from './params.js';
import type { WeightSource } from './weights.js';
import { ropeFeeds } from './rope-angles.js';
import { selfAttention } from './self-attention.js';

export interface BatchForwardOptions {
  /** Rows of the batch, B. */
  readonly rows: number;
  /** Positions of a row, T. */
  readonly length: number;
  /** Loops to run; default the model's own. More than it was trained with is allowed. */
  readonly numLoops?: number;
  /** Keeps only the state between loops for the backward pass. Default false. */
  readonly recomputesLoops?: boolean;
  /**
   * Loops through which a gradient flows back at most, counted from the last: between two such groups
   * the state is a constant. Default: all.
   */
  readonly backpropLoops?: number | undefined;
  /** Where positions exit under the KV policy `last-exited`. Default: nowhere, each loop leaves its own keys and values. */
  readonly exits?: BatchExits | undefined;
}

/**
 * Where positions exit, `[B*T]`: deeper loops of those that see them find the keys and values of that loop again.
 * What a position itself computes in deeper loops then is not what it would without an exit.
 */
export type BatchExits =
  /** i32: after so many loops. */
  | { readonly depth: Tensor }
  /** f32: after the first loop at which the exit distribution, by the gate, reaches this much. */
  | { readonly quantile: Tensor };

/** What the loops of a batch leave, `[B*T, D]` each. */
export interface LoopStates {
  /** The state that the first loop takes. */
  readonly embedded: Tensor;
  /** The state after each loop, which the next one takes. */
  readonly states: readonly Tensor[];
  /** h of each loop, which gate and readout take. */
  readonly hidden: readonly Tensor[];
}

/** Attention weights of all layers and loops that are kept for the backward pass, at most. */
const KEPT_WEIGHT_BYTES = 600e6;

/**
 * Whether the backward pass finds the attention weights of the forward pass, as it does where they take
 * little: the lower half of a square for each head.
 */
export function keepsAttentionWeights(
  { numAttentionHeads, numHiddenLayers, numLoops }: LoopLMConfig,
  {
    rows,
    length,
    recomputesLoops,
  }: Pick<BatchForwardOptions, 'rows' | 'length' | 'recomputesLoops'>,
): boolean {
  const loopsKept = recomputesLoops ? 1 : numLoops;
  const ofLayer = 2 * rows * numAttentionHeads * length ** 2;
  return ofLayer * numHiddenLayers * loopsKept <= KEPT_WEIGHT_BYTES;
}

/**
 * States and h of every loop. The graph gets the inputs `ids` and `seenUntil`, i32 `[B, T]`, and
 * `cos` and `sin`, `[B*T, 1, Dh/2]`; `batchForwardFeeds` makes them.
 *
 * @param weights - gives each weight, the same one each time it is asked
 * @throws ConfigError if the number of loops is out of range, or loops with exits are to be recomputed
 */
export function batchLoopStates(
  config: LoopLMConfig,
  weights: WeightSource,
  options: BatchForwardOptions,
): LoopStates {
  const { rows, length } = options;
  const numLoops = resolveNumLoops(config, options.numLoops);
  const { backpropLoops = numLoops } = options;
  const ids = reshape(input('ids', 'i32', [rows, length]), [rows * length]);
  const params = loopParams(config, weights.leaf);
  const keepsWeights = keepsAttentionWeights({ ...config, numLoops }, options);
  const context = batchContext(config, { rows, length, keepsWeights });
  const { exits } = options;
  const attendAfter = exits
    ? attendAfterExits(context.attend, continuation(exits, params))
    : () => context.attend;
  if (exits && options.recomputesLoops) {
    throw new ConfigError(
      'recompute',
      'recompute is "loop", and under the KV policy last-exited a loop reads what the loops before it left; take recompute "none".',
    );
  }
  const embedded = embed(config, weights, ids);
  const states: Tensor[] = [];
  const hidden: Tensor[] = [];
  for (let loopIndex = 0; loopIndex < numLoops; loopIndex++) {
    const before = states.at(-1) ?? embedded;
    const isCut = loopIndex > 0 && (numLoops - loopIndex) % backpropLoops === 0;
    const start = isCut ? stopGradient(before) : before;
    const inLoop = { ...context, attend: attendAfter(hidden) };
    const pass = ([x]: readonly Tensor[]) => loop(x!, params, inLoop);
    const state = options.recomputesLoops ? recompute(pass, [start]) : pass([start]);
    states.push(state);
    hidden.push(hiddenOf(state, params, config));
  }
  return { embedded, states, hidden };
}

/** Which positions run a loop, bool `[B*T]`, by the h of the loops before it. All run the first. */
function continuation(
  exits: BatchExits,
  { exitGate }: Pick<LoopParams, 'exitGate'>,
): (hidden: readonly Tensor[]) => Tensor {
  if ('depth' in exits) {
    return ({ length }) => greaterOrEqual(exits.depth, intScalar(length + 1));
  }
  assert(exitGate !== undefined, 'exits by a gate of a model without one');
  return (hidden) => {
    const goingOn = hidden.map((h) => sigmoid(neg(gateLogit(stopGradient(h), exitGate))));
    const survival = goingOn.reduce((product, factor) => mul(product, factor), scalar(1));
    return less(sub(1, survival), exits.quantile);
  };
}

/** Attention of loops in their order, in which positions that do not run one leave what they left before. */
function attendAfterExits(
  attend: Attend,
  continues: ReturnType<typeof continuation>,
): (hidden: readonly Tensor[]) => Attend {
  const left: (readonly [k: Tensor, v: Tensor])[] = [];
  return (hidden) => {
    const goesOn = continues(hidden);
    const runs = reshape(goesOn, [goesOn.shape[0]!, 1, 1]);
    return (layerIndex, q, k, v) => {
      const before = left[layerIndex];
      left[layerIndex] = before ? [where(runs, k, before[0]), where(runs, v, before[1])] : [k, v];
      return attend(layerIndex, q, ...left[layerIndex]);
    };
  };
}

export interface BatchContextOptions extends Pick<BatchForwardOptions, 'rows' | 'length'> {
  /** Whether attention weights are kept for a backward pass. Default true. */
  readonly keepsWeights?: boolean;
}

/**
 * What the loops of a batch share. The graph gets the inputs `seenUntil`, `cos` and `sin`, as that of
 * `batchLoopStates` does.
 */
export function batchContext(
  config: LoopLMConfig,
  { rows, length, keepsWeights = true }: BatchContextOptions,
): LoopContext {
  const angles = [rows * length, 1, config.headDim / 2];
  const seenUntil = cast(input('seenUntil', 'i32', [rows, length]), 'f32');
  const attend = selfAttention({ seenUntil, keepsWeights });
  return {
    config,
    cos: input('cos', 'f32', angles),
    sin: input('sin', 'f32', angles),
    attend: (_, q, k, v) => attend(q, k, v),
  };
}

/** A packed batch as the forward pass reads it; every array has `rows * length` items. */
export interface PackedInputs {
  readonly rows: number;
  readonly length: number;
  readonly ids: Int32Array;
  /** Number of the document within its row, from 1; 0 marks padding. */
  readonly segments: Int32Array;
  /** Position within the document, from 0. */
  readonly positions: Int32Array;
  /** Position of its row from which on each is not seen any more. Default: the end of its document. */
  readonly seenUntil?: Int32Array | undefined;
}

/** The tensors that a graph of `batchLoopStates` is fed with; the arrays of the batch are borrowed. */
export function batchForwardFeeds(
  { rows, length, ids, segments, positions, seenUntil }: PackedInputs,
  config: LoopLMConfig,
) {
  const dims = [rows, length];
  return {
    ids: { dtype: 'i32', dims, data: ids },
    seenUntil: { dtype: 'i32', dims, data: seenUntil ?? documentEnds(segments, length) },
    ...ropeFeeds(config, positions),
  } as const;
}

/** The end of the document of each position, in its row. */
function documentEnds(segments: Int32Array, length: number): Int32Array {
  const ends = new Int32Array(segments.length);
  for (let at = segments.length - 1; at >= 0; at--) {
    const isLast = (at + 1) % length === 0 || segments[at + 1] !== segments[at];
    ends[at] = isLast ? (at % length) + 1 : ends[at + 1]!;
  }
  return ends;
}

/** Rows of the embedding in float32. @param ids - i32 `[N]` */
export function embed(config: LoopLMConfig, weights: WeightSource, ids: Tensor): Tensor {
  const spec = parameterSpecs(config).find(({ kind }) => kind === 'embedding')!;
  const rows = gatherRows(weights.table(spec), ids);
  return rows.dtype === 'f32' ? rows : cast(rows, 'f32');
}
