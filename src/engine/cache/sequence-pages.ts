/**
 * Which pages hold the keys and values of one sequence: a table for each plane.
 *
 * A plane gets pages when a token goes that deep, not before. Holds no tensor, and pages of prompts
 * that begin alike together with other sequences.
 */
import type { PagePool } from './page-pool.js';

/**
 * Positions of a page: attention reads longer stretches faster (32: 590 us for 1,024 positions of 16
 * heads of 128, 64: 430, 128: 390), shorter ones waste less at the end of a sequence.
 */
export const PAGE_SIZE = 128;

export class SequencePages {
  readonly #pool: PagePool;
  /** Pages by plane, in the order of positions. */
  #tables: number[][];

  constructor(pool: PagePool, numPlanes: number) {
    this.#pool = pool;
    this.#tables = Array.from({ length: numPlanes }, () => []);
  }

  /** Pages held. */
  get count(): number {
    return this.#tables.reduce((sum, table) => sum + table.length, 0);
  }

  /** Pages of a plane in the order of positions. */
  table(plane: number): readonly number[] {
    return this.#tables[plane]!;
  }

  /** Pages that planes lack to hold the positions before `end`. */
  lacking(planes: readonly number[], end: number): number {
    const needed = Math.ceil(end / PAGE_SIZE);
    return planes.reduce(
      (sum, plane) => sum + Math.max(0, needed - this.#tables[plane]!.length),
      0,
    );
  }

  /** Takes the pages that `lacking` counts. @throws CapacityError if there are too few */
  reserve(planes: readonly number[], end: number): void {
    const needed = Math.ceil(end / PAGE_SIZE);
    for (const plane of planes) {
      const table = this.#tables[plane]!;
      while (table.length < needed) table.push(this.#pool.take());
    }
  }

  /** Holds a page of another sequence together with it, as the next one of a plane. */
  share(plane: number, page: number): void {
    this.#pool.share([page]);
    this.#tables[plane]!.push(page);
  }

  /** Where a position lies in a plane: page * PAGE_SIZE + offset. */
  slot(plane: number, position: number): number {
    const page = this.#tables[plane]![Math.floor(position / PAGE_SIZE)]!;
    return page * PAGE_SIZE + (position % PAGE_SIZE);
  }

  /** Gives back all planes but one, which becomes plane 0. */
  keepOnly(plane: number): void {
    const kept = this.#tables[plane]!;
    this.#pool.give(this.#tables.flatMap((table) => (table === kept ? [] : table)));
    this.#tables = this.#tables.map((_, index) => (index === 0 ? kept : []));
  }

  /** Gives everything back. */
  release(): void {
    this.#pool.give(this.#tables.flat());
    for (const table of this.#tables) table.length = 0;
  }
}
