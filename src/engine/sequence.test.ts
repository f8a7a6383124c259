import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Sequence } from './sequence.js';

describe('waitingAt', () => {
  it('is every token that stands at the depth and may go on, oldest first, up to the last', () => {
    const token = fc.record({ depth: fc.nat(3), isDone: fc.boolean() });
    fc.assert(
      fc.property(fc.array(token, { minLength: 1 }), fc.nat(), (states, pick) => {
        const sequence = new Sequence();
        states.forEach(({ depth, isDone }, index) => {
          const added = sequence.append(index);
          added.depth = depth;
          added.isDone = isDone;
        });
        const last = sequence.tokens[pick % states.length]!;
        last.isDone = false;
        const waiting = sequence.waitingAt(last.depth, last);
        expect(waiting.at(-1)).toBe(last);
        const expected = sequence.tokens
          .slice(0, last.position + 1)
          .filter(({ depth, isDone }) => depth === last.depth && !isDone);
        expect(waiting).toEqual(expected);
      }),
      { seed: 1 },
    );
  });

  it('refuses a last token that does not stand at the depth', () => {
    const sequence = new Sequence();
    const last = sequence.append(3);
    expect(() => sequence.waitingAt(1, last)).toThrow(/the last token waits for its own loop/);
  });
});
