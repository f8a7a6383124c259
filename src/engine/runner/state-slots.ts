/**
 * Which rows of the device's states are in use: one for each token that may still run a loop.
 *
 * Row 0 belongs to nobody: padding reads and writes it. Holds no tensor.
 */
import { assert } from '../../errors.js';

/** The row that padding uses. */
export const PADDING_STATE = 0;

export class StateSlots {
  readonly #free: number[] = [];
  #size = PADDING_STATE + 1;

  /** Rows that have ever been in use, that of the padding included. */
  get size(): number {
    return this.#size;
  }

  /** Rows in use now. */
  get numUsed(): number {
    return this.#size - 1 - this.#free.length;
  }

  take(): number {
    return this.#free.pop() ?? this.#size++;
  }

  give(slots: readonly number[]): void {
    this.#free.push(...slots);
    assert(this.#free.length < this.#size, 'a state is given back once');
  }
}
