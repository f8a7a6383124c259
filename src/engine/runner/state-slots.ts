/**
 * Which rows of the device's states are in use: one for each token that may still run a loop.
 *
 * Sequences whose prompts begin alike hold states together. Row 0 belongs to nobody: padding reads and
 * writes it. Holds no tensor.
 */
import { assert } from '../../errors.js';

/** The row that padding uses. */
export const PADDING_STATE = 0;

export class StateSlots {
  readonly #free: number[] = [];
  /** How many hold each row; 0 for a free one. */
  readonly #holders: number[] = [1];

  /** Rows that have ever been in use, that of the padding included. */
  get size(): number {
    return this.#holders.length;
  }

  /** Rows in use now. */
  get numUsed(): number {
    return this.size - 1 - this.#free.length;
  }

  take(): number {
    const slot = this.#free.pop() ?? this.size;
    this.#holders[slot] = 1;
    return slot;
  }

  /** Whether several hold a row: then none of them may write it. */
  isShared(slot: number): boolean {
    return this.#holders[slot]! > 1;
  }

  /** Holds rows that others hold. */
  share(slots: readonly number[]): void {
    for (const slot of slots) this.#holders[slot]! += 1;
  }

  /** Lets go of rows. */
  give(slots: readonly number[]): void {
    for (const slot of slots) {
      assert(this.#holders[slot]! > 0, 'a state is given back once');
      this.#holders[slot]! -= 1;
      if (this.#holders[slot] === 0) this.#free.push(slot);
    }
  }
}
