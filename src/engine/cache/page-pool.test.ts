import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CapacityError } from '../../errors.js';
import { PagePool } from './page-pool.js';

/** What is done to the pool; the number says to which page of those that allow it. */
const action = fc.tuple(
  fc.constantFrom('take', 'take', 'share', 'give', 'give', 'keep', 'drop'),
  fc.nat(1000),
);

it('gives out a page only when nobody holds it, and counts as a ledger of holders does', () => {
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 120 }),
      fc.integer({ min: 1, max: 12 }),
      (actions, most) => {
        const pool = new PagePool(most);
        /** Of every page that is held or kept. */
        const holders = new Map<number, number>();
        const kept: number[] = [];
        const used = () => [...holders.keys()];
        const forget = (page: number) => {
          kept.splice(kept.indexOf(page), 1);
          pool.drop(page);
        };
        pool.onShortage(() => forget(kept[0]!));
        for (const [what, choice] of actions) {
          const held = used();
          const page = held[choice % held.length];
          if (what === 'take' && held.length === most) {
            expect(() => pool.take()).toThrow(CapacityError);
          } else if (what === 'take') {
            const taken = pool.take();
            expect(held).not.toContain(taken);
            expect(kept).not.toContain(taken);
            holders.set(taken, 1);
          } else if (what === 'share' && page !== undefined) {
            pool.share([page]);
            holders.set(page, holders.get(page)! + 1);
          } else if (what === 'give' && page !== undefined) {
            pool.give([page]);
            holders.set(page, holders.get(page)! - 1);
            if (holders.get(page) === 0) holders.delete(page);
          } else if (what === 'keep' && page !== undefined && !kept.includes(page)) {
            pool.keep(page);
            kept.push(page);
          } else if (what === 'drop' && kept.length > 0) {
            forget(kept[choice % kept.length]!);
          }
          expect(pool.numUsed).toBe(holders.size);
          expect(pool.numFree).toBe(most - holders.size);
          expect(pool.numKept).toBe(kept.length);
          expect(pool.numPages).toBeLessThanOrEqual(most);
        }
      },
    ),
    { seed: 6, numRuns: 300 },
  );
});
