/**
 * The forward pass over a fixed rectangle of packed documents: the state of every loop at every
 * position.
 *
 * Training and calibration read a whole batch at once, so nothing is cached: a position sees the
 * earlier positions of its own document and no others. What is done with the states (losses,
 * readouts) is the caller's business, as is how documents were packed (data/).
 * Source: docs/math.md (block); block and gate are those of loop-lm.ts.
 */
import type { Tensor } from '../graph/index.js';
import {
  and,
  cast,
  constant,
  equal,
  gatherRows,
  input,
  recompute,
  reshape,
  stopGradient,
  where,
} from '../graph/index.js';
import type { LoopLMConfig } from './config.js';
import { resolveNumLoops } from './config.js';
import type { LoopContext } from './loop-lm.js';
import { hiddenOf, loop, loopParams, selfAttention } from './loop-lm.js';
import { parameterSpecs } from './params.js';
import type { WeightSource } from './weights.js';
import { ropeFeeds } from './rope-angles.js';

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
}

/** What the loops of a batch leave, `[B*T, D]` each. */
export interface LoopStates {
  /** The state that the first loop takes. */
  readonly embedded: Tensor;
  /** The state after each loop, which the next one takes. */
  readonly states: readonly Tensor[];
  /** h of each loop, which gate and readout take. */
  readonly hidden: readonly Tensor[];
}

/**
 * States and h of every loop. The graph gets the inputs `ids` and `segments`, i32 `[B, T]`, and
 * `cos` and `sin`, `[B*T, 1, Dh/2]`; `batchForwardFeeds` makes them.
 *
 * @param weights - gives each weight, the same one each time it is asked
 * @throws ConfigError if the number of loops is out of range
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
  const context = batchContext(config, options);
  const pass = ([x]: readonly Tensor[]) => loop(x!, params, context);
  const embedded = embed(config, weights, ids);
  const states: Tensor[] = [];
  for (let loopIndex = 0; loopIndex < numLoops; loopIndex++) {
    const before = states.at(-1) ?? embedded;
    const isCut = loopIndex > 0 && (numLoops - loopIndex) % backpropLoops === 0;
    const start = isCut ? stopGradient(before) : before;
    states.push(options.recomputesLoops ? recompute(pass, [start]) : pass([start]));
  }
  return { embedded, states, hidden: states.map((state) => hiddenOf(state, params, config)) };
}

/**
 * What the loops of a batch share. The graph gets the inputs `segments`, `cos` and `sin`, as that of
 * `batchLoopStates` does.
 */
export function batchContext(
  config: LoopLMConfig,
  { rows, length }: Pick<BatchForwardOptions, 'rows' | 'length'>,
): LoopContext {
  const angles = [rows * length, 1, config.headDim / 2];
  const bias = documentBias(input('segments', 'i32', [rows, length]), rows, length);
  return {
    config,
    cos: input('cos', 'f32', angles),
    sin: input('sin', 'f32', angles),
    attend: (_, q, k, v) => selfAttention(q, k, v, { rows, bias }),
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
}

/** The tensors that a graph of `batchLoopStates` is fed with; the arrays of the batch are borrowed. */
export function batchForwardFeeds(
  { rows, length, ids, segments, positions }: PackedInputs,
  config: LoopLMConfig,
) {
  const dims = [rows, length];
  return {
    ids: { dtype: 'i32', dims, data: ids },
    segments: { dtype: 'i32', dims, data: segments },
    ...ropeFeeds(config, positions),
  } as const;
}

/** Rows of the embedding in float32. @param ids - i32 `[N]` */
export function embed(config: LoopLMConfig, weights: WeightSource, ids: Tensor): Tensor {
  const spec = parameterSpecs(config).find(({ kind }) => kind === 'embedding')!;
  const rows = gatherRows(weights.table(spec), ids);
  return rows.dtype === 'f32' ? rows : cast(rows, 'f32');
}

/** Scores that hide later positions and other documents: 0 or a large negative, `[B, 1, T, T]`. */
function documentBias(segments: Tensor, rows: number, length: number): Tensor {
  const causal = Uint8Array.from({ length: length * length }, (_, index) =>
    index % length <= Math.floor(index / length) ? 1 : 0,
  );
  const same = equal(
    reshape(segments, [rows, 1, length, 1]),
    reshape(segments, [rows, 1, 1, length]),
  );
  return where(and(same, constant(causal, [1, 1, length, length], 'bool')), 0, HIDDEN_SCORE);
}

/** Far below any score, yet finite: a row is never left without a visible position. */
const HIDDEN_SCORE = -1e9;
