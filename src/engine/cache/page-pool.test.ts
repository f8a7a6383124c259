import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CapacityError } from '../../errors.js';
import { PagePool } from './page-pool.js';

it('never gives out a page twice, and grows only when none is free', () => {
  const action = fc.oneof(fc.constant('take' as const), fc.nat(50));
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 80 }),
      fc.integer({ min: 1, max: 20 }),
      (actions, most) => {
        const pool = new PagePool(most);
        const held: number[] = [];
        for (const taken of actions) {
          if (taken !== 'take') {
            if (held.length > 0) pool.give(held.splice(taken % held.length, 1));
          } else if (held.length === most) {
            expect(() => pool.take()).toThrow(CapacityError);
          } else {
            const before = pool.numPages;
            const hadFree = held.length < before;
            const page = pool.take();
            expect(held).not.toContain(page);
            expect(pool.numPages).toBe(hadFree ? before : before + 1);
            held.push(page);
          }
          expect(pool.numUsed).toBe(held.length);
          expect(pool.numPages).toBeLessThanOrEqual(most);
        }
      },
    ),
    { seed: 6 },
  );
});
