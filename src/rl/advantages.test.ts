/** Advantages and weights of tokens: their definitions, at random. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LENGTH_NORMS, groupAdvantages, isWithoutVariance, tokenWeights } from './advantages.js';

const rewards = fc.array(fc.double({ min: -5, max: 5, noNaN: true }), {
  minLength: 2,
  maxLength: 9,
});
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

describe('advantages', () => {
  it('sum to zero, keep the order of rewards and do not see what all have in common', () => {
    fc.assert(
      fc.property(
        rewards,
        fc.boolean(),
        fc.integer({ min: -9, max: 9 }),
        (group, divides, shift) => {
          const options = { dividesByDeviation: divides };
          const found = groupAdvantages(group, options);
          expect(sum(found)).toBeCloseTo(0, 6);
          group.forEach((a, i) =>
            group.forEach((b, j) => {
              if (a < b) expect(found[i]!).toBeLessThanOrEqual(found[j]!);
            }),
          );
          const moved = groupAdvantages(
            group.map((value) => value + shift),
            options,
          );
          moved.forEach((value, index) => expect(value).toBeCloseTo(found[index]!, 5));
        },
      ),
    );
  });

  it('are in units of the deviation of the sample, if they are asked to be', () => {
    // deviation of 0, 0, 1, 1 is sqrt(1/3)
    const found = groupAdvantages([0, 0, 1, 1], { dividesByDeviation: true });
    found.forEach((value, index) =>
      expect(value).toBeCloseTo((index < 2 ? -0.5 : 0.5) * Math.sqrt(3), 3),
    );
    expect(groupAdvantages([0, 0, 1, 1], { dividesByDeviation: false })).toEqual([
      -0.5, -0.5, 0.5, 0.5,
    ]);
  });

  it('of equal rewards are nothing', () => {
    expect(isWithoutVariance([0.3, 0.3, 0.3])).toBe(true);
    expect(isWithoutVariance([0.3, 0.3, 0.31])).toBe(false);
    expect(groupAdvantages([2, 2], { dividesByDeviation: true })).toEqual([0, 0]);
  });
});

describe('weights of tokens', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 });

  it('make the mean over tokens the mean over sequences, over tokens, or over the longest there may be', () => {
    fc.assert(
      fc.property(lengths, fc.constantFrom(...LENGTH_NORMS), (counts, norm) => {
        const values = counts.map((_, index) => index + 1);
        const weights = tokenWeights(counts, norm, 50);
        const tokens = sum(counts);
        const mean = sum(values.map((value, i) => value * weights[i]! * counts[i]!)) / tokens;
        const expected = {
          sequence: sum(values) / counts.length,
          token: sum(values.map((value, i) => value * counts[i]!)) / tokens,
          constant: sum(values.map((value, i) => value * counts[i]!)) / (50 * counts.length),
        }[norm];
        expect(mean).toBeCloseTo(expected, 8);
      }),
    );
  });
});
