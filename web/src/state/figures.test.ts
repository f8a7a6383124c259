import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Token } from '../api/token.js';
import { compareTurns } from './comparison.js';
import { differences } from './differences.js';
import { courseOf, depthCounts, exitCdf, figuresOf } from './figures.js';
import type { Turn } from './state.js';
import { MODEL, TOKEN } from './test-model.js';
import { readAddress } from './address.js';
import { settingsOf } from './settings.js';

const turn = (tokens: readonly Partial<Token>[], rest: Partial<Turn> = {}): Turn => ({
  mode: 'completion',
  prompt: 'p',
  settings: settingsOf(MODEL, 'a', readAddress('')),
  status: 'done',
  tokens: tokens.map((token) => ({ ...TOKEN, ...token })),
  ...rest,
});

describe('figures', () => {
  it('count what the model wrote, not what it was given', () => {
    const tokens = [
      { channel: 'prompt', exitDepth: 4, atMs: 0 },
      { exitDepth: null, text: 'rest' },
      { exitDepth: 1, atMs: 100 },
      { channel: 'reasoning', exitDepth: 2, atMs: 200 },
      { exitDepth: 3, atMs: 300 },
    ] as const;
    expect(figuresOf(turn(tokens), 4)).toEqual({
      numTokens: 3,
      meanDepth: 2,
      loopsRun: 6,
      savedFraction: 0.5,
      tokensPerSecond: 10,
    });
  });

  it('have no number where there is none', () => {
    const { meanDepth, savedFraction, tokensPerSecond } = figuresOf(turn([]), 4);
    expect([meanDepth, savedFraction, tokensPerSecond]).toEqual([NaN, NaN, NaN]);
    expect(figuresOf(turn([{}]), 4).tokensPerSecond).toBeNaN();
  });

  it('count depths', () => {
    const tokens = [1, 4, 4, null].map((exitDepth) => ({ ...TOKEN, exitDepth }));
    expect(depthCounts(tokens, 4)).toEqual([1, 0, 0, 2]);
  });
});

describe('courseOf', () => {
  it('runs on over turns, and forgets what is 16 tokens back', () => {
    const depths = [...new Array<number>(16).fill(1), ...new Array<number>(16).fill(3)];
    const turns = [depths.slice(0, 10), depths.slice(10)].map((part) =>
      turn(part.map((exitDepth) => ({ exitDepth }))),
    );
    const { meanDepth, savedFraction } = courseOf(turns, 4);
    expect(meanDepth).toHaveLength(32);
    expect([meanDepth[0], meanDepth[15], meanDepth[23], meanDepth[31]]).toEqual([1, 1, 2, 3]);
    expect(savedFraction[31]).toBe(0.25);
  });

  it('counts the speed of each turn from its request, and then over the last 16 tokens', () => {
    const tokens = [{ atMs: 1000 }, { atMs: 1500 }, { atMs: 2000 }];
    const { tokensPerSecond } = courseOf([turn(tokens), turn(tokens)], 4);
    expect(tokensPerSecond).toEqual([1, 4 / 3, 1.5, 1, 4 / 3, 1.5]);
    const even = Array.from({ length: 20 }, (_, index) => ({ atMs: 5000 + 100 * index }));
    expect(courseOf([turn(even)], 4).tokensPerSecond.slice(16)).toEqual([10, 10, 10, 10]);
  });
});

describe('exitCdf', () => {
  it('sums the exit distribution of the gate', () => {
    const probs = [0.1, 0.5, 0.2];
    // by hand: 0.1; 0.1 + 0.9 * 0.5; 0.55 + 0.45 * 0.2
    const expected = [0.1, 0.55, 0.64];
    for (const [index, value] of exitCdf(probs).entries()) {
      expect(value).toBeCloseTo(expected[index]!, 12);
    }
  });
});

describe('differences', () => {
  const letters = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 14 });

  it('leave the same text on both sides, as long as it can be', () => {
    fc.assert(
      fc.property(letters, letters, (a, b) => {
        const only = differences(a, b);
        const commonA = a.filter((_, index) => !only.a.has(index));
        const commonB = b.filter((_, index) => !only.b.has(index));
        expect(commonA).toEqual(commonB);
        expect(commonA).toHaveLength(longestCommon(a, b));
      }),
      { seed: 4 },
    );
  });
});

/** Length of a longest common subsequence, by trying all. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  const known = new Map<string, number>();
  const from = (i: number, j: number): number => {
    if (i === a.length || j === b.length) return 0;
    const key = `${i},${j}`;
    const value =
      known.get(key) ??
      (a[i] === b[j] ? 1 + from(i + 1, j + 1) : Math.max(from(i + 1, j), from(i, j + 1)));
    known.set(key, value);
    return value;
  };
  return from(0, 0);
}

describe('compareTurns', () => {
  const answer = (...texts: readonly string[]) => [
    { channel: 'prompt', text: 'p' } as const,
    ...texts.map((text) => ({ text, exitDepth: text === 'x' ? 4 : 1 })),
  ];
  const usage = { numPromptTokens: 1, numTokens: 2, meanDepth: 1 };

  it('says which token is the first that differs, and marks those that differ', () => {
    const found = compareTurns(turn(answer('a', 'b', 'c')), turn(answer('a', 'x', 'c')), 4);
    expect(found.firstDifference).toBe(2);
    expect([...found.only.a, ...found.only.b]).toEqual([2, 2]);
    expect(found.loops.a).toEqual({ run: 3, full: 12, hasPrompt: false });
    expect(found.loops.b).toEqual({ run: 6, full: 12, hasPrompt: false });
  });

  it('finds the end of the shorter text, and no difference in equal ones', () => {
    const long = turn(answer('a', 'b'));
    expect(compareTurns(long, turn(answer('a')), 4).firstDifference).toBe(2);
    expect(compareTurns(long, long, 4).firstDifference).toBeUndefined();
  });

  it('takes the loops that the server counted, if it counted both', () => {
    const counted = turn(answer('a'), { usage: { ...usage, loopsRun: 5, loopsSaved: 3 } });
    const uncounted = turn(answer('a'));
    expect(compareTurns(counted, counted, 4).loops.a).toEqual({ run: 5, full: 8, hasPrompt: true });
    expect(compareTurns(counted, uncounted, 4).loops.a).toEqual({
      run: 1,
      full: 4,
      hasPrompt: false,
    });
  });
});
