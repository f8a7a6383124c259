/**
 * Where the tokens of one sequence have their keys, values and states on the device.
 *
 * Whatever another sequence holds too is only read: a state goes to a place of its own with the next
 * loop, and a page is either shared as a whole or copied as far as it is alike.
 */
import { assert } from '../errors.js';
import type { PagePool } from './cache/page-pool.js';
import type { SharedRows, StretchPlane } from './cache/prefix-cache.js';
import { PAGE_SIZE, SequencePages } from './cache/sequence-pages.js';
import type { StepRow } from './runner/model-runner.js';
import type { StateSlots } from './runner/state-slots.js';

/** Places whose keys and values go to another, `[from, to]`, in every layer. */
export type SlotCopy = readonly [number, number];

export class SequenceMemory {
  readonly #pool: PagePool;
  readonly #slots: StateSlots;
  readonly #pages: SequencePages;
  /** Where the state of each position lies, while a loop may still ask for it. */
  readonly #states = new Map<number, number>();
  /** No position before it has a state. */
  #firstState = 0;
  /** States of others that the step under way reads. */
  #leftStates: number[] = [];
  /** To be done before its next rows run. */
  #copies: SlotCopy[] = [];
  /** Pages of others from which copies come. */
  #copiedPages: number[] = [];

  constructor(pool: PagePool, slots: StateSlots, numPlanes: number) {
    this.#pool = pool;
    this.#slots = slots;
    this.#pages = new SequencePages(pool, numPlanes);
  }

  /** Pages that planes lack to hold the positions before `end`. */
  lacking(planes: readonly number[], end: number): number {
    return this.#pages.lacking(planes, end);
  }

  /** Takes the pages that `lacking` counts. */
  reserve(planes: readonly number[], end: number): void {
    this.#pages.reserve(planes, end);
  }

  /** Places of a row of a step; a position gets its state with the first loop. */
  row(
    position: number,
    plane: number,
    isFirstLoop: boolean,
  ): Pick<StepRow, 'state' | 'into' | 'pages' | 'slot'> {
    const places = { pages: this.#pages.table(plane), slot: this.#pages.slot(plane, position) };
    assert(!isFirstLoop || !this.#states.has(position), 'a position gets its state once');
    const state = isFirstLoop ? this.#slots.take() : this.#states.get(position)!;
    const isShared = this.#slots.isShared(state);
    const into = isShared ? this.#slots.take() : state;
    if (isShared) this.#leftStates.push(state);
    this.#states.set(position, into);
    return { state, ...(isShared && { into }), ...places };
  }

  /** Copies that the next step begins with. */
  takeCopies(): readonly SlotCopy[] {
    const copies = this.#copies;
    this.#copies = [];
    return copies;
  }

  /** Lets go of what only the step that has run needed of others. */
  endStep(): void {
    this.#slots.give(this.#leftStates);
    this.#leftStates = [];
    if (this.#copies.length > 0) return;
    this.#pool.give(this.#copiedPages);
    this.#copiedPages = [];
  }

  /** Copies what a position left in a plane into others. */
  copyToPlanes(position: number, from: number, planes: readonly number[]): void {
    const source = this.#pages.slot(from, position);
    for (const plane of planes) this.#copies.push([source, this.#pages.slot(plane, position)]);
  }

  /**
   * Takes over rows that other sequences have run, as far as there is room.
   *
   * @returns those that were taken
   */
  share(found: readonly SharedRows[], plane: number): readonly SharedRows[] {
    // Held first, so that making room for some does not give up the others.
    const pages = found.map((rows) => rows.plane.page);
    const states = found.flatMap((rows) => rows.plane.states ?? []);
    this.#pool.share(pages);
    this.#slots.share(states);
    const end = found.findIndex((rows) => !this.#takeOver(rows, plane));
    this.#pool.give(pages);
    this.#slots.give(states);
    return end < 0 ? found : found.slice(0, end);
  }

  /** @returns whether there was room */
  #takeOver({ first, count, plane: { page, states } }: SharedRows, plane: number): boolean {
    const start = first - (first % PAGE_SIZE);
    const isWhole = first === start && count === PAGE_SIZE;
    if (isWhole && this.#pages.table(plane).length === start / PAGE_SIZE) {
      this.#pages.share(plane, page);
    } else {
      if (this.lacking([plane], first + count) > this.#pool.numFree) return false;
      this.reserve([plane], first + count);
      this.#pool.share([page]);
      this.#copiedPages.push(page);
      for (let position = first; position < first + count; position++) {
        const from = page * PAGE_SIZE + (position - start);
        this.#copies.push([from, this.#pages.slot(plane, position)]);
      }
    }
    for (let position = first; position < first + count; position++) {
      this.#dropState(position);
      const state = states?.[position - start];
      if (state === undefined) continue;
      this.#slots.share([state]);
      this.#states.set(position, state);
    }
    return true;
  }

  /** What consecutive positions, the first of them at the beginning of a page, left in a plane. */
  left(plane: number, first: number, count: number, keepsStates: boolean): StretchPlane {
    const positions = Array.from({ length: count }, (_, index) => first + index);
    return {
      page: this.#pages.table(plane)[first / PAGE_SIZE]!,
      states: keepsStates ? positions.map((position) => this.#states.get(position)!) : undefined,
    };
  }

  /** Lets go of the states of all positions before one. */
  dropStatesBefore(end: number): void {
    for (; this.#firstState < end; this.#firstState++) this.#dropState(this.#firstState);
  }

  /** Lets go of the states of a position and all after it. */
  dropStatesFrom(start: number): void {
    // Not all of them need have one: what ran all loops has none, and was perhaps a wrong guess.
    for (const position of this.#states.keys()) {
      if (position >= start) this.#dropState(position);
    }
    this.#firstState = Math.min(this.#firstState, start);
  }

  /** Gives back all planes but one, which becomes plane 0. */
  keepOnly(plane: number): void {
    this.#pages.keepOnly(plane);
  }

  /** Gives everything back. */
  release(): void {
    this.#pages.release();
    this.#copies = [];
    this.endStep();
    this.#slots.give([...this.#states.values()]);
    this.#states.clear();
    this.#firstState = 0;
  }

  #dropState(position: number): void {
    const state = this.#states.get(position);
    if (state === undefined) return;
    this.#slots.give([state]);
    this.#states.delete(position);
  }
}
