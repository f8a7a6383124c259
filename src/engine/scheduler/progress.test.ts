/** What may run next, against the definition: a loop of a token after that loop of all earlier ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Progress } from './progress.js';

const LOOPS = 4;
const STRETCH = 3;

/** Depths by position, kept one by one. */
class Ledger {
  readonly depths: number[];
  readonly #promptLength: number;

  constructor(length: number, promptLength = length) {
    this.#promptLength = promptLength;
    this.depths = Array.from({ length }, () => 0);
  }

  run({ loopIndex, first, count }: { loopIndex: number; first: number; count: number }): void {
    for (let position = first; position < first + count; position++) {
      expect(this.depths[position]).toBe(loopIndex);
      // Every earlier token has run this loop, or runs it with this one.
      for (let earlier = 0; earlier < first; earlier++) {
        expect(this.depths[earlier]).toBeGreaterThan(loopIndex);
      }
      // All of a stretch of the prompt have run the loops before.
      const start = position - (position % STRETCH);
      const end = Math.min(start + STRETCH, this.#promptLength);
      for (const depth of this.depths.slice(start, end)) {
        expect(depth).toBeGreaterThanOrEqual(loopIndex);
      }
    }
    for (let position = first; position < first + count; position++) this.depths[position]!++;
  }
}

const scenario = fc.record({
  length: fc.integer({ min: 1, max: 12 }),
  fullPrefill: fc.boolean(),
  /** Depth of each new token. */
  exits: fc.array(fc.integer({ min: 1, max: LOOPS }), { minLength: 1, maxLength: 8 }),
  /** How much of what is offered is run. */
  caps: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 }),
  /** Steps after which everything is lost. */
  resets: fc.array(fc.nat(30), { maxLength: 2 }),
});

describe('deferred loops', () => {
  it('run in order, none twice, and exactly those that the exits ask for', () => {
    fc.assert(
      fc.property(scenario, ({ length, fullPrefill, exits, caps, resets }) => {
        const options = { length, numLoops: LOOPS, stretch: STRETCH };
        const progress = new Progress({
          ...options,
          defersLoops: true,
          prefill: fullPrefill ? 'full' : 'deferred',
        });
        let ledger = new Ledger(length);
        let promptDepth = fullPrefill ? LOOPS : 0;
        let [steps, wasReset] = [0, false];
        for (const exit of exits) {
          while (progress.isPrefilling || ledger.depths.at(-1)! < exit) {
            const work = progress.next()!;
            const part = { ...work, count: Math.min(work.count, caps[steps % caps.length]!) };
            ledger.run(part);
            progress.advance(part);
            if (resets.includes(steps++)) {
              if (!progress.isPrefilling) promptDepth = 0;
              progress.reset();
              ledger = new Ledger(progress.length, length);
              wasReset = true;
            }
          }
          ledger.depths.push(0);
          progress.append();
        }
        if (wasReset) return;
        ledger.depths.slice(0, -1).forEach((depth, position) => {
          const later = exits.slice(Math.max(0, position - length + 1));
          const asked = Math.max(...later, position < length ? promptDepth : 0);
          expect(depth).toBe(asked);
        });
      }),
      { seed: 2, numRuns: 300 },
    );
  });
});

describe('guesses', () => {
  it('leave nothing when they are taken back, and their loops run together when they hold', () => {
    fc.assert(
      fc.property(
        fc.record({
          length: fc.integer({ min: 1, max: 6 }),
          draftDepth: fc.integer({ min: 1, max: LOOPS - 1 }),
          numGuesses: fc.integer({ min: 1, max: 5 }),
          numRight: fc.nat(5),
        }),
        ({ length, draftDepth, numGuesses, numRight }) => {
          const options = { length, numLoops: LOOPS, stretch: STRETCH };
          const progress = new Progress({ ...options, defersLoops: true, prefill: 'deferred' });
          const ledger = new Ledger(length);
          const runTo = (depth: number, end: number) => {
            const works = [];
            while (progress.numRan(depth - 1) < end) {
              const work = progress.next(end - 1)!;
              ledger.run(work);
              progress.advance(work);
              works.push(work);
            }
            return works;
          };
          runTo(draftDepth, length);
          for (let n = 0; n < numGuesses; n++) {
            progress.append();
            ledger.depths.push(0);
            runTo(draftDepth, progress.length);
          }
          // Each deeper loop is one piece of work for all of them.
          const works = runTo(LOOPS, progress.length);
          expect(works).toHaveLength(LOOPS - draftDepth);
          for (const { first, count } of works) expect(first + count).toBe(progress.length);
          const kept = length + Math.min(numRight, numGuesses);
          progress.truncate(kept);
          expect(progress.length).toBe(kept);
          expect(progress.numDone).toBe(kept);
          expect(progress.next()).toBeUndefined();
          progress.append();
          expect(progress.next()).toEqual({ loopIndex: 0, first: kept, count: 1 });
        },
      ),
      { seed: 4, numRuns: 100 },
    );
  });
});

describe('without deferred loops', () => {
  it('a token begins when the one before has left, and runs as deep as it goes', () => {
    fc.assert(
      fc.property(scenario, ({ length, exits, caps }) => {
        const progress = new Progress({
          length,
          numLoops: LOOPS,
          defersLoops: false,
          prefill: 'full',
          stretch: STRETCH,
        });
        const ledger = new Ledger(length);
        for (let steps = 0; progress.isPrefilling; steps++) {
          const work = progress.next()!;
          const part = { ...work, count: Math.min(work.count, caps[steps % caps.length]!) };
          ledger.run(part);
          progress.advance(part);
        }
        expect(ledger.depths).toEqual(Array.from({ length }, () => LOOPS));
        expect(progress.next()).toBeUndefined();
        for (const [index, exit] of exits.entries()) {
          progress.append();
          for (let loopIndex = 0; loopIndex < exit; loopIndex++) {
            const work = progress.next()!;
            expect(work).toEqual({ loopIndex, first: length + index, count: 1 });
            progress.advance(work);
          }
          progress.leave(length + index);
          expect(progress.next()).toBeUndefined();
        }
      }),
      { seed: 3, numRuns: 100 },
    );
  });
});
