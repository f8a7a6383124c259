/**
 * Numbers of the pages of a key and value store: which are free, who holds the others, and how many
 * exist.
 *
 * A page holds the keys and values of a few positions in one plane, in every layer. Sequences whose
 * prompts begin alike hold pages together. Some pages are *kept* for prompts to come; when nobody else
 * holds them they are idle, and are given up as soon as room is needed. Holds no tensor.
 */
import { assert, CapacityError } from '../../errors.js';

export class PagePool {
  readonly maxPages: number;
  readonly #free: number[] = [];
  /** How many hold each page; 0 for a free one. */
  readonly #holders: number[] = [];
  readonly #kept = new Set<number>();
  #numIdle = 0;
  #dropKept: () => void = () => assert(false, 'who keeps pages drops them');

  /** @param maxPages - that may exist at a time */
  constructor(maxPages: number) {
    this.maxPages = maxPages;
  }

  /** Pages that have ever been in use; the store must have as many. */
  get numPages(): number {
    return this.#holders.length;
  }

  /** Pages in use now; those that are only kept do not count. */
  get numUsed(): number {
    return this.numPages - this.#free.length - this.#numIdle;
  }

  /** Pages that `take` can still give. */
  get numFree(): number {
    return this.maxPages - this.numUsed;
  }

  /** Pages that are kept. */
  get numKept(): number {
    return this.#kept.size;
  }

  /** @param dropKept - drops some of the kept pages; called until one is free */
  onShortage(dropKept: () => void): void {
    this.#dropKept = dropKept;
  }

  /** @throws CapacityError if all pages are in use */
  take(): number {
    if (this.numFree === 0) throw new CapacityError(poolIsFull(this.maxPages));
    if (this.numPages >= this.maxPages) while (this.#free.length === 0) this.#dropKept();
    const page = this.#free.pop() ?? this.numPages;
    this.#holders[page] = 1;
    return page;
  }

  /** Holds pages that others hold or keep. */
  share(pages: readonly number[]): void {
    for (const page of pages) {
      this.#numIdle -= Number(this.#isIdle(page));
      this.#holders[page]! += 1;
    }
  }

  /** Lets go of pages. */
  give(pages: readonly number[]): void {
    for (const page of pages) {
      assert(this.#holders[page]! > 0, 'a page is given back once');
      this.#holders[page]! -= 1;
      if (this.#holders[page] === 0) this.#free.push(page);
      this.#numIdle += Number(this.#isIdle(page));
    }
  }

  /** Keeps a page that somebody holds. */
  keep(page: number): void {
    this.share([page]);
    this.#kept.add(page);
  }

  /** Keeps a page no longer. */
  drop(page: number): void {
    this.#numIdle -= Number(this.#isIdle(page));
    this.#kept.delete(page);
    this.give([page]);
  }

  #isIdle(page: number): boolean {
    return this.#kept.has(page) && this.#holders[page] === 1;
  }
}

/** What a request is told that does not fit, even alone. */
export function poolIsFull(maxPages: number): string {
  return `The cache of keys and values is full: all of its ${maxPages} pages are in use. Use a KV policy with fewer planes, kvDtype i8, a shorter context or fewer sequences.`;
}
