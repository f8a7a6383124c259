/**
 * What prompts have left behind, for prompts that begin alike.
 *
 * A tree of stretches of tokens, each at most a page long. A stretch holds what its tokens left in each
 * plane: the page with their keys and values, and their states after that loop, from which deeper loops
 * can go on. Only rows of prompts are kept, and only once all of a stretch have run the loop: those
 * depend on nothing but the tokens before them. Holds no tensor.
 * Source: docs/architecture.md (shared prefixes).
 */
import type { StateSlots } from '../runner/state-slots.js';
import type { PagePool } from './page-pool.js';
import { PAGE_SIZE } from './sequence-pages.js';

/** What the tokens of a stretch left in one plane. */
export interface StretchPlane {
  readonly page: number;
  /** After the loop, by position in the stretch; absent after the last loop of its request. */
  readonly states: readonly number[] | undefined;
}

interface Stretch {
  readonly parent: Stretch | undefined;
  readonly key: string;
  readonly ids: readonly number[];
  readonly children: Map<string, Stretch>;
  readonly planes: StretchPlane[];
}

/** Positions of a prompt that have been run through a loop by another. */
export interface SharedRows {
  readonly first: number;
  readonly count: number;
  readonly plane: StretchPlane;
}

export class PrefixCache {
  readonly #pages: PagePool;
  readonly #states: StateSlots;
  readonly #maxPages: number;
  readonly #roots = new Map<string, Stretch>();
  /** All stretches but the roots, the one that was used longest ago first. */
  readonly #byUse = new Set<Stretch>();

  /** @param maxPages - that are kept at most */
  constructor(pages: PagePool, states: StateSlots, maxPages: number) {
    this.#pages = pages;
    this.#states = states;
    this.#maxPages = maxPages;
    pages.onShortage(() => this.#dropOldest());
  }

  /** States that are kept. */
  get numStates(): number {
    const stretches = [...this.#byUse];
    const kept = stretches.flatMap(({ planes }) => planes.flatMap(({ states = [] }) => states));
    return new Set(kept).size;
  }

  /**
   * Rows that need not be run: positions from `first` on, in one loop, at most as many as `ids` says.
   *
   * @param salt - prompts of different salts share nothing
   */
  find(salt: string, ids: readonly number[], loopIndex: number, first: number): SharedRows[] {
    const found: SharedRows[] = [];
    let stretch = this.#roots.get(salt);
    for (let start = 0; stretch && start < ids.length; start += PAGE_SIZE) {
      const best = this.#longestMatch(stretch, ids, start, loopIndex);
      if (!best) break;
      const from = Math.max(first, start);
      const end = start + best.length;
      const plane = best.stretch.planes[loopIndex]!;
      if (from < end) found.push({ first: from, count: end - from, plane });
      if (best.length < PAGE_SIZE) break;
      stretch = best.stretch;
    }
    return found;
  }

  /**
   * Keeps what a prompt left in a plane, all that begin before `end`: whole stretches of it.
   *
   * @param ids - the prompt
   * @param planeOf - what the positions from one on left there, at most a page of them
   */
  publish(
    salt: string,
    ids: readonly number[],
    loopIndex: number,
    range: { readonly first: number; readonly end: number },
    planeOf: (first: number, count: number) => StretchPlane,
  ): void {
    if (this.#maxPages === 0) return;
    let parent = this.#roots.get(salt);
    if (!parent) this.#roots.set(salt, (parent = newStretch(undefined, salt, [])));
    for (let start = 0; start < range.end; start += PAGE_SIZE) {
      const part = ids.slice(start, start + PAGE_SIZE);
      if (start + part.length > range.end) return;
      const key = part.join();
      let stretch: Stretch | undefined = parent.children.get(key);
      if (start + part.length > range.first) {
        if (!stretch && loopIndex === 0) {
          stretch = newStretch(parent, key, part);
          parent.children.set(key, stretch);
        }
        if (stretch) this.#offer(stretch, loopIndex, planeOf(start, part.length));
      }
      // Of a beginning that was dropped meanwhile nothing can be found.
      if (!stretch) return;
      parent = stretch;
    }
    while (this.#pages.numKept > this.#maxPages) this.#dropOldest();
  }

  /** Forgets everything. */
  clear(): void {
    while (this.#byUse.size > 0) this.#dropOldest();
  }

  #longestMatch(
    { children }: Stretch,
    ids: readonly number[],
    start: number,
    loopIndex: number,
  ): { readonly stretch: Stretch; readonly length: number } | undefined {
    const whole = children.get(ids.slice(start, start + PAGE_SIZE).join());
    const candidates = whole?.planes[loopIndex] ? [whole] : children.values();
    let best: { stretch: Stretch; length: number } | undefined;
    for (const stretch of candidates) {
      if (!stretch.planes[loopIndex]) continue;
      const length = commonLength(stretch.ids, ids, start);
      if (length > (best?.length ?? 0)) best = { stretch, length };
    }
    if (best) this.#touch(best.stretch);
    return best;
  }

  /** Holds the next plane of a stretch, or one with the states that the one so far lacks. */
  #offer(stretch: Stretch, loopIndex: number, plane: StretchPlane): void {
    const { planes } = stretch;
    const before = planes[loopIndex];
    const isBetter = before ? !before.states && plane.states : planes.length === loopIndex;
    if (!isBetter) return;
    if (before) this.#letGo(before);
    this.#pages.keep(plane.page);
    if (plane.states) this.#states.share(plane.states);
    planes[loopIndex] = plane;
    this.#touch(stretch);
  }

  /** A stretch is younger than those that follow it, so that it is dropped after them. */
  #touch(stretch: Stretch): void {
    for (let one = stretch; one.parent; one = one.parent) {
      this.#byUse.delete(one);
      this.#byUse.add(one);
    }
  }

  #dropOldest(): void {
    const [oldest] = this.#byUse;
    const parent = oldest!.parent!;
    this.#byUse.delete(oldest!);
    parent.children.delete(oldest!.key);
    if (!parent.parent && parent.children.size === 0) this.#roots.delete(parent.key);
    for (const plane of oldest!.planes) this.#letGo(plane);
  }

  #letGo({ page, states }: StretchPlane): void {
    this.#pages.drop(page);
    if (states) this.#states.give(states);
  }
}

function newStretch(parent: Stretch | undefined, key: string, ids: readonly number[]): Stretch {
  return { parent, key, ids, children: new Map(), planes: [] };
}

function commonLength(stretch: readonly number[], ids: readonly number[], start: number): number {
  const differs = stretch.findIndex((id, index) => id !== ids[start + index]);
  return differs < 0 ? stretch.length : differs;
}
