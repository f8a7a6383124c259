import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Sequence } from './sequence.js';

const embedding = () => Float32Array.of(1);

describe('waitingAt', () => {
  it('is every token that stands at the depth and may go on, oldest first, up to the last', () => {
    const token = fc.record({ depth: fc.nat(3), isFrozen: fc.boolean() });
    fc.assert(
      fc.property(fc.array(token, { minLength: 1 }), fc.nat(), (states, pick) => {
        const sequence = new Sequence();
        states.forEach(({ depth, isFrozen }, index) => {
          const added = sequence.append(index, index, embedding());
          added.depth = depth;
          if (isFrozen) added.hidden = undefined;
        });
        const last = sequence.tokens[pick % states.length]!;
        last.hidden = embedding();
        const waiting = sequence.waitingAt(last.depth, last);
        expect(waiting.at(-1)).toBe(last);
        const expected = sequence.tokens
          .slice(0, last.position + 1)
          .filter(({ depth, hidden }) => depth === last.depth && hidden);
        expect(waiting).toEqual(expected);
      }),
      { seed: 1 },
    );
  });

  it('refuses a last token that does not stand at the depth', () => {
    const sequence = new Sequence();
    const last = sequence.append(3, 0, embedding());
    expect(() => sequence.waitingAt(1, last)).toThrow(/the last token waits for its own loop/);
  });
});
