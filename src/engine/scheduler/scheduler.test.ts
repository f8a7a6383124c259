/** The scheduler on counters alone: bounds of a step, fairness, and memory for some of many. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Progress } from './progress.js';
import type { Work } from './work.js';
import type { Schedulable } from './scheduler.js';
import { DEFAULT_LIMITS, Scheduler } from './scheduler.js';

const PAGE = 4;
const LOOPS = 3;

class Memory {
  readonly size: number;
  used = 0;

  constructor(size: number) {
    this.size = size;
  }

  get numFree(): number {
    return this.size - this.used;
  }
}

/** A request that wants `exits.length` tokens, each as deep as it says. */
class Job implements Schedulable {
  readonly priority: number;
  readonly index: number;
  readonly #memory: Memory;
  readonly #progress: Progress;
  readonly #exits: number[];
  readonly #pages = Array.from({ length: LOOPS }, () => 0);
  isReady = true;
  isDone = false;
  timesPreempted = 0;

  constructor(
    index: number,
    spec: { length: number; exits: readonly number[]; priority: number },
    memory: Memory,
  ) {
    this.index = index;
    this.priority = spec.priority;
    this.#memory = memory;
    this.#exits = [...spec.exits];
    const options = { length: spec.length, numLoops: LOOPS, defersLoops: true, stretch: PAGE };
    this.#progress = new Progress({ ...options, prefill: index % 2 === 0 ? 'full' : 'deferred' });
  }

  adopt(): readonly Work[] {
    return this.nextWorks();
  }

  sameWork(): undefined {}

  nextWorks(): readonly Work[] {
    const work = this.#progress.next();
    return work ? [work] : [];
  }

  pagesFor({ loopIndex, first, count }: Work): number {
    return Math.max(0, Math.ceil((first + count) / PAGE) - this.#pages[loopIndex]!);
  }

  reserve(work: Work): void {
    const lacking = this.pagesFor(work);
    this.#pages[work.loopIndex]! += lacking;
    this.#memory.used += lacking;
    expect(this.#memory.numFree).toBeGreaterThanOrEqual(0);
  }

  preempt(): void {
    this.release();
    this.#progress.reset();
    this.timesPreempted++;
  }

  release(): void {
    this.#memory.used -= this.#pages.reduce((sum, count) => sum + count, 0);
    this.#pages.fill(0);
  }

  /** Notes a step; true once the last token has come. */
  ran(work: Work): boolean {
    this.#progress.advance(work);
    const depth = Array.from({ length: LOOPS }, (_, t) => this.#progress.numRan(t)).filter(
      (count) => count === this.#progress.length,
    ).length;
    if (this.#progress.isPrefilling || depth < this.#exits[0]!) return false;
    this.#exits.shift();
    if (this.#exits.length === 0) return (this.isDone = true);
    this.#progress.append();
    return false;
  }
}

const spec = fc.record({
  length: fc.integer({ min: 1, max: 40 }),
  exits: fc.array(fc.integer({ min: 1, max: LOOPS }), { minLength: 1, maxLength: 6 }),
  priority: fc.constantFrom(0, 0, 0, 5),
});

const limits = { maxSequences: 5, maxStepRows: 24, maxLargeRows: 10, maxBypass: 3 };

/** Pages that the largest of the requests can come to need alone. */
const ENOUGH = LOOPS * Math.ceil((40 + 6) / PAGE);

describe('a schedule', () => {
  it('keeps its bounds, ends every request, and gives all memory back', () => {
    fc.assert(
      fc.property(
        fc.array(spec, { minLength: 1, maxLength: 14 }),
        fc.integer({ min: ENOUGH, max: 3 * ENOUGH }),
        fc.array(fc.nat(6), { minLength: 1, maxLength: 20 }),
        (specs, size, arrivals) => {
          const memory = new Memory(size);
          const scheduler = new Scheduler<Job>(limits, memory);
          const waiting = specs.map((one, index) => new Job(index, one, memory));
          const jobs = [...waiting];
          for (let turn = 0; jobs.some(({ isDone }) => !isDone); turn++) {
            expect(turn).toBeLessThan(5000);
            const least = turn % 4 === 0 ? 1 : 0;
            const arriving = waiting.splice(0, Math.max(least, arrivals[turn % arrivals.length]!));
            for (const job of arriving) scheduler.add(job);
            const offered = new Map(jobs.map((job) => [job, job.nextWorks()[0]?.count ?? 0]));
            const { works, stuck } = scheduler.plan();
            expect(stuck).toBeUndefined();
            const rows = works.reduce((sum, { work }) => sum + work.count, 0);
            expect(rows).toBeLessThanOrEqual(limits.maxStepRows);
            expect(scheduler.numRunning).toBeLessThanOrEqual(limits.maxSequences);
            expect(new Set(works.map(({ item }) => item)).size).toBe(works.length);
            const large = works.filter(({ item }) => offered.get(item)! > 8);
            if (large.length < works.length) {
              const largeRows = large.reduce((sum, { work }) => sum + work.count, 0);
              expect(largeRows).toBeLessThanOrEqual(limits.maxLargeRows);
            }
            if (scheduler.numRunning > 0) expect(works.length).toBeGreaterThan(0);
            for (const { item, work } of works) {
              if (!item.ran(work)) continue;
              item.release();
              scheduler.remove(item);
            }
          }
          expect(memory.used).toBe(0);
          expect(scheduler.numRunning + scheduler.numWaiting).toBe(0);
        },
      ),
      { seed: 5, numRuns: 150 },
    );
  });

  it('decodes in every step while a long prompt is taken in', () => {
    const memory = new Memory(1000);
    const scheduler = new Scheduler<Job>(limits, memory);
    const decoding = new Job(1, { length: 1, exits: Array(60).fill(2), priority: 0 }, memory);
    const long = new Job(0, { length: 300, exits: [1], priority: 0 }, memory);
    scheduler.add(long);
    scheduler.add(decoding);
    for (let turn = 0; turn < 40; turn++) {
      const { works } = scheduler.plan();
      expect(works.some(({ item }) => item === decoding)).toBe(true);
      for (const { item, work } of works) item.ran(work);
    }
  });

  it('lets a request be passed over a bounded number of times', () => {
    const memory = new Memory(1000);
    const scheduler = new Scheduler<Job>(
      { ...DEFAULT_LIMITS, maxSequences: 1, maxBypass: 3 },
      memory,
    );
    const patient = new Job(1, { length: 2, exits: [1], priority: 0 }, memory);
    scheduler.add(patient);
    const started: Job[] = [];
    for (let turn = 0; turn < 12; turn++) {
      scheduler.add(new Job(1, { length: 2, exits: [1], priority: 9 }, memory));
      const { works } = scheduler.plan();
      for (const { item, work } of works) {
        if (!started.includes(item)) started.push(item);
        if (item.ran(work)) {
          item.release();
          scheduler.remove(item);
        }
      }
    }
    expect(started.indexOf(patient)).toBe(3);
  });

  it('is not held up by requests that rest', () => {
    const memory = new Memory(1000);
    const scheduler = new Scheduler<Job>({ ...limits, maxSequences: 2 }, memory);
    for (let index = 0; index < 5; index++) {
      const resting = new Job(1, { length: 2, exits: [1, 1], priority: 0 }, memory);
      scheduler.add(resting);
      for (const { item, work } of scheduler.plan().works) item.ran(work);
      resting.isReady = false;
    }
    const late = new Job(1, { length: 2, exits: [1], priority: 0 }, memory);
    scheduler.add(late);
    expect(scheduler.plan().works.map(({ item }) => item)).toEqual([late]);
  });

  it('names a request that cannot fit alone, and none while others could make room', () => {
    const memory = new Memory(5);
    const scheduler = new Scheduler<Job>(limits, memory);
    const small = new Job(1, { length: 4, exits: [1, 1], priority: 0 }, memory);
    const large = new Job(1, { length: 30, exits: [1], priority: 0 }, memory);
    scheduler.add(small);
    scheduler.add(large);
    expect(scheduler.plan().stuck).toBeUndefined();
    scheduler.remove(small);
    small.release();
    let stuck: Job | undefined;
    for (let turn = 0; turn < 4 && !stuck; turn++) {
      const plan = scheduler.plan();
      for (const { item, work } of plan.works) item.ran(work);
      stuck = plan.stuck;
    }
    expect(stuck).toBe(large);
  });
});
