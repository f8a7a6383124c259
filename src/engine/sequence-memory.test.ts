/** Laws of where a sequence has its states, on counters alone. */
import { expect, it } from 'vitest';
import { PagePool } from './cache/page-pool.js';
import { StateSlots } from './runner/state-slots.js';
import { SequenceMemory } from './sequence-memory.js';

it('gives back the states of guesses that do not hold, even behind one that has run all loops', () => {
  const slots = new StateSlots();
  const memory = new SequenceMemory(new PagePool(10), slots, 1);
  memory.reserve([0], 4);
  const run = (...positions: readonly number[]) => {
    for (const position of positions) memory.row(position, 0, true);
  };
  run(0, 1, 2, 3);
  // Position 1 has run all loops with the one before it: only 2 and 3 have states.
  memory.dropStatesBefore(2);
  memory.dropStatesFrom(1);
  expect(slots.numUsed).toBe(0);
  run(1, 2);
  expect(slots.numUsed).toBe(2);
  memory.dropStatesBefore(2);
  expect(slots.numUsed).toBe(1);
  memory.release();
  expect(slots.numUsed).toBe(0);
});
