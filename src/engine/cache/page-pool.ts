/**
 * Numbers of the pages of a key and value store: which are free, and how many exist.
 *
 * A page holds the keys and values of a few positions of one sequence in one plane, in every layer.
 * The pool holds no tensor.
 */
import { assert, CapacityError } from '../../errors.js';

export class PagePool {
  readonly maxPages: number;
  readonly #free: number[] = [];
  #numPages = 0;

  /** @param maxPages - that may exist at a time */
  constructor(maxPages: number) {
    this.maxPages = maxPages;
  }

  /** Pages that have ever been in use; the store must have as many. */
  get numPages(): number {
    return this.#numPages;
  }

  /** Pages in use now. */
  get numUsed(): number {
    return this.#numPages - this.#free.length;
  }

  /** Pages that `take` can still give. */
  get numFree(): number {
    return this.maxPages - this.numUsed;
  }

  /** @throws CapacityError if all pages are in use */
  take(): number {
    const page = this.#free.pop();
    if (page !== undefined) return page;
    if (this.#numPages >= this.maxPages) throw new CapacityError(poolIsFull(this.maxPages));
    return this.#numPages++;
  }

  give(pages: readonly number[]): void {
    this.#free.push(...pages);
    assert(this.#free.length <= this.#numPages, 'a page is given back once');
  }
}

/** What a request is told that does not fit, even alone. */
export function poolIsFull(maxPages: number): string {
  return `The cache of keys and values is full: all of its ${maxPages} pages are in use. Use a KV policy with fewer planes, kvDtype i8, a shorter context or fewer sequences.`;
}
