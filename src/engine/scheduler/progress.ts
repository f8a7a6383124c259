/**
 * How far the tokens of one sequence have gone, in counters.
 *
 * The one idea: a token runs a loop only after all earlier tokens have, so depth never grows along a
 * sequence and one number for each loop says it all: how many positions have run it. What may run
 * next follows from these numbers. Holds no tensor and no token.
 * Source: docs/math.md (deferred-loops).
 */
import { assert } from '../../errors.js';
import { AdaptivePrefill } from './adaptive-prefill.js';
import type { Work } from './work.js';

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
  /**
   * How deep the prompt goes before anything is decided: `full` all the way, `deferred` not at all,
   * `adaptive` until each of its tokens exits.
   */
  readonly prefill: 'full' | 'deferred' | 'adaptive';
  /** Positions of a prompt that run a loop, all of them, before any of them runs the next. */
  readonly stretch: number;
}

export class Progress {
  readonly numLoops: number;
  readonly #defersLoops: boolean;
  readonly #stretch: number;
  /** Entry t: positions, from the first on, that need not run loop t any more. Never grows with t. */
  readonly #ran: number[];
  /** Of a prompt whose tokens may exit. */
  readonly #adaptive: AdaptivePrefill | undefined;
  #length: number;
  /** Positions that run every loop before anything else is done. */
  #prefillEnd: number;

  constructor({ length, numLoops, defersLoops, prefill, stretch }: ProgressOptions) {
    assert(length > 0, 'a sequence has a token');
    assert(defersLoops || prefill !== 'deferred', 'without deferred loops there is a prefill');
    this.numLoops = numLoops;
    this.#defersLoops = defersLoops;
    this.#stretch = stretch;
    this.#ran = Array.from({ length: numLoops }, () => 0);
    this.#length = length;
    this.#prefillEnd = prefill === 'deferred' ? 0 : length;
    if (prefill === 'adaptive') this.#adaptive = new AdaptivePrefill(length, stretch);
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
    return this.isPrefilling && this.#adaptive
      ? this.#adaptive.numDone
      : this.#ran[this.numLoops - 1]!;
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
    if (this.isPrefilling) return this.#adaptive?.next() ?? this.#prefillWork();
    return this.#defersLoops ? this.#deferredWork(position) : this.#tokenWork();
  }

  /** Notes that the beginning of what `next` gave was run. */
  advance(work: Work): void {
    if (this.isPrefilling && this.#adaptive) return this.#adaptive.advance(work);
    const { loopIndex, first, count } = work;
    assert(this.#ran[loopIndex] === first, 'positions run a loop in their order');
    this.#ran[loopIndex] = first + count;
    assert(loopIndex === 0 || first + count <= this.#ran[loopIndex - 1]!, 'loops run in order');
  }

  /** A position without deferred loops has exited: it runs no further loop. */
  leave(position: number): void {
    if (this.isPrefilling && this.#adaptive) {
      this.#adaptive.leave(position);
      if (this.#adaptive.isDone) this.#ran.fill(this.#prefillEnd);
      return;
    }
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
    this.#adaptive?.reset();
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
