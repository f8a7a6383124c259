/**
 * What a looped model is: its architecture, its shapes and its constants.
 *
 * Shape letters used by all of looplm: B rows, T tokens of a row, N packed tokens, D hidden size,
 * H query heads, K key-value heads, Dh head dim, F MLP width, V vocabulary, L layers, R loops,
 * S cached positions. How it is written in a file is the business of config-json.ts.
 */
import { ConfigError } from '../errors.js';

/** Architectures that looplm computes; each is a file of `architectures/`. Named as `model_type`. */
export type ArchitectureName = 'ouro' | 'nanbeige';

/** The shapes and constants of one looped model. */
export interface LoopLMConfig {
  /** Decides the block, what happens between loops, whether there is an exit gate, and all names. */
  readonly architecture: ArchitectureName;
  /** D: width of the residual stream. */
  readonly hiddenSize: number;
  /** F: inner width of the MLP. */
  readonly intermediateSize: number;
  /** L: layers of the shared stack (each is run once per loop). */
  readonly numHiddenLayers: number;
  /** H. */
  readonly numAttentionHeads: number;
  /** K; divides H. */
  readonly numKeyValueHeads: number;
  /** Dh; even. H * Dh need not equal D. */
  readonly headDim: number;
  /** V. */
  readonly vocabSize: number;
  /** Base of the rotary angles. */
  readonly ropeTheta: number;
  readonly rmsNormEps: number;
  /** Longest context in tokens. */
  readonly maxPositionEmbeddings: number;
  /** Whether the readout uses the embedding matrix. */
  readonly tieWordEmbeddings: boolean;
  /** R: the depth the model was trained for (`total_ut_steps`, `num_loops`). */
  readonly numLoops: number;
  /**
   * Whether the final norm stands before the readout only, and not between loops
   * (`skip_loop_final_norm`). Default false.
   */
  readonly skipLoopFinalNorm?: boolean;
  /**
   * Default threshold of Q-exit in (0, 1] (`early_exit_threshold`); 1 means full depth, and is what a
   * model without an exit gate has.
   */
  readonly exitThreshold: number;
  /** Depth at which every token exits by default, 1 to R, whatever the gate says (`early_exit_step`). */
  readonly exitDepth?: number;
  /** Standard deviation of fresh matrices. */
  readonly initializerRange: number;
  readonly bosTokenId?: number;
  /** Ids that end a sequence; empty when the config names none. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId?: number;
}

/** Loops of one run at most: far beyond any use, it keeps a typing mistake from taking all memory. */
export const MAX_NUM_LOOPS = 64;

/**
 * Loops of a run: those that are asked for, or the model's own.
 *
 * @throws ConfigError if they are not a whole number from 1 to `MAX_NUM_LOOPS`.
 */
export function resolveNumLoops(
  config: Pick<LoopLMConfig, 'numLoops'>,
  numLoops: number | undefined,
): number {
  const resolved = numLoops ?? config.numLoops;
  if (Number.isInteger(resolved) && resolved >= 1 && resolved <= MAX_NUM_LOOPS) return resolved;
  throw new ConfigError(
    'numLoops',
    `numLoops is ${resolved}; it must be a whole number from 1 to ${MAX_NUM_LOOPS}. Leave it out for the ${config.numLoops} that the model was trained with.`,
  );
}
