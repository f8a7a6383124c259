/**
 * How far the tokens of a prompt have gone that may exit before full depth, in counters.
 *
 * A stretch at a time: each loop runs for those of the stretch that have not exited, and the next
 * stretch begins when all have. Holds no tensor and no token.
 */
import { assert } from '../../errors.js';
import type { Work } from './work.js';
import { positionsOf } from './work.js';

/** Instead of a number of loops. */
const EXITED = Infinity;

export class AdaptivePrefill {
  readonly #length: number;
  readonly #stretch: number;
  /** First position of the stretch under way. */
  #start = 0;
  /** Loops that its positions have run. */
  #depths: number[] = [];

  /** @param stretch - positions that go through their loops together */
  constructor(length: number, stretch: number) {
    this.#length = length;
    this.#stretch = stretch;
    this.#begin(0);
  }

  /** Positions, from the first on, whose stretches have gone through all their loops. */
  get numDone(): number {
    return this.#start;
  }

  get isDone(): boolean {
    return this.#start === this.#length;
  }

  /** The next loop of those that have run the fewest. */
  next(): Work {
    const loopIndex = Math.min(...this.#depths);
    const positions = this.#depths.flatMap((depth, index) =>
      depth === loopIndex ? [this.#start + index] : [],
    );
    return { loopIndex, first: positions[0]!, count: positions.length, positions };
  }

  /** Notes that the beginning of what `next` gave was run. */
  advance(work: Work): void {
    for (const position of positionsOf(work)) {
      assert(this.#depths[position - this.#start] === work.loopIndex, 'loops run in order');
      this.#depths[position - this.#start] = work.loopIndex + 1;
    }
  }

  /** A position has exited. */
  leave(position: number): void {
    this.#depths[position - this.#start] = EXITED;
    if (this.#depths.every((depth) => depth === EXITED)) {
      this.#begin(this.#start + this.#depths.length);
    }
  }

  /** Nothing has run. */
  reset(): void {
    this.#begin(0);
  }

  #begin(start: number): void {
    const length = Math.min(this.#stretch, this.#length - start);
    this.#start = start;
    this.#depths = Array.from({ length }, () => 0);
  }
}
