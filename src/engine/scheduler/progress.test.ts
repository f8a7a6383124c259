/** What may run next, against the definition: a loop of a token after that loop of all earlier ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Progress } from './progress.js';

const LOOPS = 4;

/** Depths by position, kept one by one. */
class Ledger {
  readonly depths: number[];

  constructor(length: number) {
    this.depths = Array.from({ length }, () => 0);
  }

  run({ loopIndex, first, count }: { loopIndex: number; first: number; count: number }): void {
    for (let position = first; position < first + count; position++) {
      expect(this.depths[position]).toBe(loopIndex);
      // Every earlier token has run this loop, or runs it with this one.
      for (let earlier = 0; earlier < first; earlier++) {
        expect(this.depths[earlier]).toBeGreaterThan(loopIndex);
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
        const progress = new Progress({ length, numLoops: LOOPS, defersLoops: true, fullPrefill });
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
              ledger = new Ledger(progress.length);
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

describe('without deferred loops', () => {
  it('a token begins when the one before has left, and runs as deep as it goes', () => {
    fc.assert(
      fc.property(scenario, ({ length, exits, caps }) => {
        const progress = new Progress({
          length,
          numLoops: LOOPS,
          defersLoops: false,
          fullPrefill: true,
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
