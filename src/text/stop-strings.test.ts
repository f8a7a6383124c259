import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StopStringMatcher } from './stop-strings.js';

/** Everything a matcher shows of a text that comes in pieces. */
function streamed(pieces: readonly string[], stopStrings: readonly string[]) {
  const matcher = new StopStringMatcher(stopStrings);
  let text = '';
  for (const piece of pieces) {
    const outcome = matcher.push(piece);
    text += outcome.text;
    if (outcome.stoppedBy !== undefined) return { text, stoppedBy: outcome.stoppedBy };
  }
  return { text: text + matcher.flush(), stoppedBy: undefined };
}

/** The same by definition: reads the text character by character until a stop string is complete. */
function cutWhole(text: string, stopStrings: readonly string[]) {
  for (let end = 1; end <= text.length; end += 1) {
    const complete = stopStrings.filter((stopString) => text.slice(0, end).endsWith(stopString));
    const longest = complete.toSorted((a, b) => b.length - a.length)[0];
    if (longest !== undefined) {
      return { text: text.slice(0, end - longest.length), stoppedBy: longest };
    }
  }
  return { text, stoppedBy: undefined };
}

// two letters only, so that stop strings occur, overlap and contain each other all the time
const letters = (length: { minLength: number; maxLength: number }) =>
  fc.string({ unit: fc.constantFrom('a', 'b'), ...length });
const stopStringLists = fc.array(letters({ minLength: 1, maxLength: 5 }), { maxLength: 4 });
const pieceLists = fc.array(letters({ minLength: 0, maxLength: 4 }), { maxLength: 12 });

describe('stop strings in streamed text', () => {
  test('any chunking shows what cutting the whole text at the first complete one shows', () => {
    fc.assert(
      fc.property(pieceLists, stopStringLists, (pieces, stopStrings) => {
        expect(streamed(pieces, stopStrings)).toEqual(cutWhole(pieces.join(''), stopStrings));
      }),
      { seed: 51, numRuns: 3000 },
    );
  });

  test('with one stop string the text is cut at its first occurrence', () => {
    fc.assert(
      fc.property(pieceLists, letters({ minLength: 1, maxLength: 4 }), (pieces, stopString) => {
        expect(streamed(pieces, [stopString]).text).toBe(pieces.join('').split(stopString)[0]);
      }),
      { seed: 52, numRuns: 1000 },
    );
  });

  test('only text that could begin a stop string is held back', () => {
    fc.assert(
      fc.property(pieceLists, stopStringLists, (pieces, stopStrings) => {
        const matcher = new StopStringMatcher(stopStrings);
        let pushed = '';
        let shown = '';
        for (const piece of pieces) {
          pushed += piece;
          const { text, stoppedBy } = matcher.push(piece);
          shown += text;
          if (stoppedBy !== undefined) return;
          const held = pushed.slice(shown.length);
          expect(shown + held).toBe(pushed);
          const couldBegin = stopStrings.some((s) => s !== held && s.startsWith(held));
          expect(held === '' || couldBegin).toBe(true);
        }
      }),
      { seed: 53, numRuns: 1000 },
    );
  });

  test('a beginning that comes to nothing is shown as soon as that is known', () => {
    const matcher = new StopStringMatcher(['<end>']);
    expect(matcher.push('one <e')).toEqual({ text: 'one ' });
    expect(matcher.push('n')).toEqual({ text: '' });
    expect(matcher.push('t <')).toEqual({ text: '<ent ' });
    expect(matcher.push('end> more')).toEqual({ text: '', stoppedBy: '<end>' });
    expect(matcher.flush()).toBe('');
  });

  test('without stop strings every piece is shown at once', () => {
    const matcher = new StopStringMatcher([]);
    expect(matcher.push('abc')).toEqual({ text: 'abc' });
    expect(matcher.flush()).toBe('');
  });
});
