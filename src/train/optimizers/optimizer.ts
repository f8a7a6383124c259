/**
 * What an optimizer is: for one parameter, what it keeps between updates (its slots) and how a gradient
 * changes parameter and slots, as graph tensors. update-program.ts puts all parameters together.
 *
 * What changes from update to update comes in as scalars, so one program serves a whole run.
 */
import type { Tensor } from '../../graph/index.js';
import type { ParameterSpec } from '../../model/index.js';

/** A tensor of the parameter's shape that is kept from update to update, and saved in snapshots. */
export interface Slot {
  readonly name: string;
  /** What it holds before the first update. */
  readonly starts: 'at zero' | 'as the weight';
}

export interface UpdateMoment {
  /** Updates since the slots were fresh, from 0. */
  readonly trainStep: number;
  readonly learningRate: number;
}

/**
 * One parameter in one update, or some elements of all parameters of an elementwise rule: tensors have the
 * same shape.
 */
export interface ParameterUpdate {
  /** The first one of its rule, and of its shape where that matters. */
  readonly spec: ParameterSpec;
  readonly param: Tensor;
  /** Clipped. */
  readonly grad: Tensor;
  readonly slot: (name: string) => Tensor;
  /** One of the optimizer's scalars, `[]`. */
  readonly scalar: (name: string) => Tensor;
}

/** How a parameter is updated. Parameters of one rule have the same slots and take the same step. */
export interface UpdateRule {
  readonly name: string;
  /**
   * Whether each element changes by itself, whatever its neighbours are: then all parameters of the rule are
   * updated as one long vector. Else those of one shape share a program.
   */
  readonly isElementwise: boolean;
}

export interface Optimizer {
  /** Largest norm of all gradients together; `off` leaves them as they are. */
  readonly clipNorm: number | 'off';
  slots(spec: ParameterSpec): readonly Slot[];
  /** The scalar inputs of an update; always of the same names. */
  scalars(moment: UpdateMoment): Readonly<Record<string, number>>;
  rule(spec: ParameterSpec): UpdateRule;
  /** The new parameter and, by name, the new slots. */
  step(update: ParameterUpdate): {
    readonly param: Tensor;
    readonly slots: Readonly<Record<string, Tensor>>;
  };
}
