/**
 * How far the tokens of one sequence have gone, in counters.
 *
 * The one idea: a token runs a loop only after all earlier tokens have, so depth never grows along a
 * sequence and one number for each loop says it all: how many positions have run it. What may run
 * next follows from these numbers. Holds no tensor and no token.
 * Source: docs/math.md (deferred-loops).
 */
import { assert } from '../../errors.js';

/** One loop for consecutive positions of a sequence. */
export interface Work {
  readonly loopIndex: number;
  /** First position. */
  readonly first: number;
  /** Positions. */
  readonly count: number;
}

export interface ProgressOptions {
  /** Tokens of the prompt. */
  readonly length: number;
  /** Loops of full depth, R. */
  readonly numLoops: number;
  /**
   * Whether tokens that exited run their missing loops when a later one goes deeper. If not, a token
   * is done when it exits, and the next begins after that.
   */
  readonly defersLoops: boolean;
  /** Whether the prompt runs all loops before anything is decided. */
  readonly fullPrefill: boolean;
  /** Positions of a prompt that run a loop, all of them, before any of them runs the next. */
  readonly stretch: number;
}

export class Progress {
  readonly numLoops: number;
  readonly #defersLoops: boolean;
  readonly #stretch: number;
  /** Entry t: positions, from the first on, that need not run loop t any more. Never grows with t. */
  readonly #ran: number[];
  #length: number;
  /** Positions that run every loop before anything else is done. */
  #prefillEnd: number;

  constructor({ length, numLoops, defersLoops, fullPrefill, stretch }: ProgressOptions) {
    assert(length > 0, 'a sequence has a token');
    assert(defersLoops || fullPrefill, 'without deferred loops the prompt runs all of them');
    this.numLoops = numLoops;
    this.#defersLoops = defersLoops;
    this.#stretch = stretch;
    this.#ran = Array.from({ length: numLoops }, () => 0);
    this.#length = length;
    this.#prefillEnd = fullPrefill ? length : 0;
  }

  /** Tokens, prompt and generated. */
  get length(): number {
    return this.#length;
  }

  /** Whether the prompt still runs all its loops. */
  get isPrefilling(): boolean {
    return this.#ran[this.numLoops - 1]! < this.#prefillEnd;
  }

  /** Positions, from the first on, that will run no further loop. */
  get numDone(): number {
    return this.#ran[this.numLoops - 1]!;
  }

  /** Positions that a loop has been run for, or that need it no more. */
  numRan(loopIndex: number): number {
    return this.#ran[loopIndex]!;
  }

  /**
   * What takes a position a loop further, in part: the earliest positions that must run first, or run
   * with it. Undefined once it has run all loops.
   */
  next(position: number = this.#length - 1): Work | undefined {
    if (this.isPrefilling) return this.#prefillWork();
    return this.#defersLoops ? this.#deferredWork(position) : this.#tokenWork();
  }

  /** Notes that the beginning of what `next` gave was run. */
  advance({ loopIndex, first, count }: Work): void {
    assert(this.#ran[loopIndex] === first, 'positions run a loop in their order');
    this.#ran[loopIndex] = first + count;
    assert(loopIndex === 0 || first + count <= this.#ran[loopIndex - 1]!, 'loops run in order');
  }

  /** A position without deferred loops has exited: it runs no further loop. */
  leave(position: number): void {
    const isNext = position === this.numDone || position + 1 === this.numDone;
    assert(!this.#defersLoops && isNext, 'positions leave in their order');
    this.#ran.fill(position + 1);
  }

  /** A token was generated. */
  append(): void {
    this.#length++;
  }

  /** Only the first positions are left: the others were guesses that did not hold. */
  truncate(length: number): void {
    assert(this.#defersLoops && length >= this.#prefillEnd, 'only guesses are taken back');
    this.#length = length;
    for (const [loopIndex, ran] of this.#ran.entries()) {
      this.#ran[loopIndex] = Math.min(ran, length);
    }
  }

  /** Nothing has run: what was computed is lost. Only loops that are asked for are run again. */
  reset(): void {
    if (!this.isPrefilling && this.#defersLoops) this.#prefillEnd = 0;
    this.#ran.fill(0);
  }

  /**
   * The deepest loop that whole stretches of the prompt can run: a few go through all loops before the
   * next few.
   */
  #prefillWork(): Work {
    for (let loopIndex = this.numLoops - 1; loopIndex >= 0; loopIndex--) {
      const first = this.#ran[loopIndex]!;
      const before = loopIndex === 0 ? this.#prefillEnd : this.#ran[loopIndex - 1]!;
      const end = before === this.#prefillEnd ? before : before - (before % this.#stretch);
      if (first < end) return { loopIndex, first, count: end - first };
    }
    throw new Error('Internal error (please report it): a prefill without work');
  }

  /** The next loop of a token, with all earlier tokens that lack it. */
  #deferredWork(position: number): Work | undefined {
    const loopIndex = this.#ran.findIndex((ran) => ran <= position);
    if (loopIndex < 0) return undefined;
    const first = this.#ran[loopIndex]!;
    return { loopIndex, first, count: position + 1 - first };
  }

  /** The next loop of the first token that has not left. */
  #tokenWork(): Work | undefined {
    const first = this.numDone;
    if (first === this.#length) return undefined;
    return { loopIndex: this.#ran.findIndex((ran) => ran === first), first, count: 1 };
  }
}
