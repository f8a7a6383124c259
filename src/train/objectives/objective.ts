/**
 * What an objective is: a function from the parts of the loss to one number.
 *
 * The parts are those of all R readouts, computed once by objective-graph.ts whatever is minimised. An
 * objective says what it needs (a gate, loops, inputs of its own beside tokens and targets) and what
 * it trains; gradients, metrics and updates follow from that.
 */
import type { Tensor } from '../../graph/index.js';
import type { TrainableSet } from '../trainable.js';

/** What a loss is made of. N are all positions of a batch, those that count nothing included. */
export interface LossParts {
  /** Cross-entropy of the target at depth 1 to R, `[N]` each; less it is the log-probability. */
  readonly tokenLosses: readonly Tensor[];
  /** Logit of the exit gate at depth 1 to R, `[N]` each. */
  readonly gates: readonly Tensor[];
  /** log p(t) of the exit distribution at depth 1 to R, `[N]` each; docs/math.md (exit-pdf). */
  readonly logPdf: readonly Tensor[];
  /** Entropy of the exit distribution, `[N]`. */
  readonly entropy: Tensor;
  /** Whether the target of a position counts, bool `[N]`. */
  readonly counted: Tensor;
  /** The mean of `[N]` over the counted targets of a whole update, `[]`. */
  readonly mean: (x: Tensor) => Tensor;
  /** One of the inputs that the objective asked for, `[N]`. */
  readonly extra: (name: string) => Tensor;
}

/** An input of one number for each position, beside those that every objective has. */
export interface ExtraInput {
  /** Its name in `TrainingBatch.extra`. */
  readonly name: string;
  readonly dtype: 'f32' | 'i32';
}

export interface ExitInput {
  readonly by: 'depth' | 'quantile';
  readonly input: ExtraInput;
}

export interface ObjectiveDefinition {
  /** Name in messages. */
  readonly kind: string;
  readonly needsGate: boolean;
  /** Loops that a model must have at least. */
  readonly minLoops: number;
  /** What is trained where a run does not say. */
  readonly trains: TrainableSet;
  readonly extraInputs: readonly ExtraInput[];
  /**
   * That of `extraInputs` which says where positions exit in the forward pass, as `BatchExits` has it.
   * Default: nowhere.
   */
  readonly exits?: ExitInput | undefined;
  /** The loss of a micro-batch, `[]`: sums times 1 / count, so that those of an update add up. */
  readonly loss: (parts: LossParts) => Tensor;
}
