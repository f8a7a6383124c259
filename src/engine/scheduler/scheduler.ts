/**
 * Decides which loops of which tokens run together in the next step.
 *
 * All loops share their weights, so a step may mix any sequences at any depths. The one idea: a step
 * takes the small pieces of work first (tokens that are being decoded), then fills up with large ones
 * (prompts, deferred loops), so that nobody waits for a long prompt longer than one bounded step.
 * Memory goes by rank: who comes first may take the pages of who comes last. Holds no tensor.
 * Source: docs/architecture.md (scheduler).
 */
import { MAX_STEP_ROWS } from '../../model/index.js';
import type { Work } from './work.js';
import { beginningOf } from './work.js';

/** A sequence as the scheduler sees it. */
export interface Schedulable {
  /** Larger goes first; among equals the one that came first. */
  readonly priority: number;
  /** Whether it may run now; not while its reader is behind. */
  readonly isReady: boolean;
  /** Takes over what others have computed of its next work, and says what could run next then. */
  adopt(): readonly Work[];
  /** All that could run next: pieces of work that do not wait for one another, the deepest loop first. */
  nextWorks(): readonly Work[];
  /** Works of equal names are one computation, which one sequence does and others take over. */
  sameWork(work: Work): string | undefined;
  /** Pages that a piece of work needs and the sequence does not have. */
  pagesFor(work: Work): number;
  /** Takes them. */
  reserve(work: Work): void;
  /** Gives up all pages; what was computed is computed again later. */
  preempt(): void;
}

export interface SchedulerLimits {
  /** Sequences that run at a time; others wait. Those that rest, their readers behind, do not count. */
  readonly maxSequences: number;
  /** Rows (one loop of one token) of a step. */
  readonly maxStepRows: number;
  /** Rows of prompts and deferred loops in a step that also decodes: bounds what decoding waits for. */
  readonly maxLargeRows: number;
  /** How often a waiting sequence may see a later one start before it goes first itself. */
  readonly maxBypass: number;
}

export const DEFAULT_LIMITS: SchedulerLimits = {
  maxSequences: 64,
  maxStepRows: MAX_STEP_ROWS,
  maxLargeRows: 64,
  maxBypass: 8,
};

/** Rows up to which a piece of work is small: a decoded token with a few drafts or deferred loops. */
export const SMALL_ROWS = 8;

/** Work of one sequence in a step. */
export interface Planned<T> {
  readonly item: T;
  readonly work: Work;
}

export interface Plan<T> {
  readonly works: readonly Planned<T>[];
  /** A sequence that does not fit into all of the memory, even alone. */
  readonly stuck?: T;
}

interface Entry<T> {
  readonly item: T;
  readonly arrival: number;
  timesBypassed: number;
}

/** Work that could run next. */
interface Open<T> {
  readonly entry: Entry<T>;
  readonly work: Work;
  /** Pieces of one name are one computation. */
  readonly name: string | symbol;
}

export class Scheduler<T extends Schedulable> {
  readonly #limits: SchedulerLimits;
  readonly #pages: { readonly numFree: number };
  #waiting: Entry<T>[] = [];
  #running: Entry<T>[] = [];
  #numArrived = 0;
  #numPreemptions = 0;

  /** @param pages - how many pages can be taken, at any time */
  constructor(limits: SchedulerLimits, pages: { readonly numFree: number }) {
    this.#limits = limits;
    this.#pages = pages;
  }

  get numWaiting(): number {
    return this.#waiting.length;
  }

  get numRunning(): number {
    return this.#running.length;
  }

  /** Sequences that gave up their pages for others, so far. */
  get numPreemptions(): number {
    return this.#numPreemptions;
  }

  add(item: T): void {
    this.#waiting.push({ item, arrival: this.#numArrived++, timesBypassed: 0 });
  }

  /** Forgets a sequence; its pages are the business of the caller. */
  remove(item: T): void {
    this.#waiting = this.#waiting.filter((entry) => entry.item !== item);
    this.#running = this.#running.filter((entry) => entry.item !== item);
  }

  /** Chooses a step, reserves its pages, and starts and preempts sequences as that needs. */
  plan(): Plan<T> {
    this.#admit();
    const { maxStepRows, maxLargeRows } = this.#limits;
    const chosen = new Map<Entry<T>, Work[]>();
    const taken = new Set<Open<T>['name']>();
    const open = this.#open();
    let rows = 0;
    for (const { entry, work, name } of open) {
      if (work.count > SMALL_ROWS || rows + work.count > maxStepRows || taken.has(name)) continue;
      if (!this.#take(entry, work, chosen)) continue;
      rows += work.count;
      taken.add(name);
    }
    let left = rows === 0 ? maxStepRows : Math.min(maxLargeRows, maxStepRows - rows);
    for (const { entry, work, name } of open) {
      if (work.count <= SMALL_ROWS || left === 0 || taken.has(name)) continue;
      const part = beginningOf(work, left);
      if (!this.#take(entry, part, chosen)) continue;
      left -= part.count;
      taken.add(name);
    }
    const works = [...chosen].flatMap(([{ item }, own]) => own.map((work) => ({ item, work })));
    const [only, ...others] = this.#running;
    const isStuck =
      works.length === 0 &&
      others.length === 0 &&
      only?.item.isReady &&
      only.item.nextWorks().length > 0;
    return isStuck ? { works, stuck: only.item } : { works };
  }

  /**
   * What could run next, first by rank. Pieces that are one computation stand together, the one that has
   * come furthest first: a part that has been run must not be run by another.
   */
  #open(): readonly Open<T>[] {
    const byName = new Map<Open<T>['name'], Open<T>[]>();
    for (const entry of this.#running.toSorted(byRank)) {
      if (!entry.item.isReady) continue;
      for (const work of entry.item.adopt()) {
        const name = entry.item.sameWork(work) ?? Symbol('its own');
        const same = byName.get(name) ?? [];
        if (same.length === 0) byName.set(name, same);
        same.push({ entry, work, name });
      }
    }
    return [...byName.values()].flatMap((same) =>
      same.toSorted((a, b) => b.work.first - a.work.first),
    );
  }

  /** Starts waiting sequences, first by rank, as long as their first pages are free. */
  #admit(): void {
    const { maxSequences, maxBypass } = this.#limits;
    const waiting = this.#waiting.toSorted(byRankAndPatience(maxBypass));
    for (const entry of waiting) {
      const numReady = this.#running.filter(({ item }) => item.isReady).length;
      if (numReady >= maxSequences) return;
      const [work] = entry.item.nextWorks();
      const fits = !work || entry.item.pagesFor(work) <= this.#pages.numFree;
      // One that does not fit yet keeps its place, unless nothing else runs that could make room.
      if (!fits && this.#running.length > 0) return;
      this.#waiting = this.#waiting.filter((other) => other !== entry);
      this.#running.push(entry);
      for (const other of this.#waiting) {
        if (other.arrival < entry.arrival) other.timesBypassed++;
      }
    }
  }

  /** Reserves the pages of a piece of work, at the cost of sequences of lower rank if need be. */
  #take(entry: Entry<T>, work: Work, chosen: Map<Entry<T>, Work[]>): boolean {
    if (!this.#running.includes(entry)) return false;
    const { item } = entry;
    while (item.pagesFor(work) > this.#pages.numFree) {
      const victim = this.#running.toSorted(byUseOfMemory).at(-1)!;
      if (victim === entry) return false;
      chosen.delete(victim);
      victim.item.preempt();
      this.#numPreemptions++;
      this.#running = this.#running.filter((other) => other !== victim);
      this.#waiting.push(victim);
    }
    item.reserve(work);
    chosen.set(entry, [...(chosen.get(entry) ?? []), work]);
    return true;
  }
}

type Ranked = Pick<Entry<Schedulable>, 'item' | 'arrival' | 'timesBypassed'>;

function byRank(a: Ranked, b: Ranked): number {
  return b.item.priority - a.item.priority || a.arrival - b.arrival;
}

/** As `byRank`, but who cannot run now comes last. */
function byUseOfMemory(a: Ranked, b: Ranked): number {
  return Number(b.item.isReady) - Number(a.item.isReady) || byRank(a, b);
}

/** As `byRank`, but those who have been passed over too often come first. */
function byRankAndPatience(maxBypass: number): (a: Ranked, b: Ranked) => number {
  const isImpatient = ({ timesBypassed }: Ranked) => Number(timesBypassed >= maxBypass);
  return (a, b) => isImpatient(b) - isImpatient(a) || byRank(a, b);
}
