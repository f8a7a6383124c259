/** Laws of simulated exits, on readings that are made up by hand or at random. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import type { PolicyFamily } from './frontier.js';
import {
  accuracyByDepth,
  cheapestPoint,
  exitShares,
  frontier,
  meanExitDepth,
  meanPoints,
  POLICY_FAMILIES,
  truncateLoops,
} from './frontier.js';
import type { LoopReading, LoopReadings } from './readings.js';

const FC_SEED = 20260303;

/** Readings of one position; only what a test needs differs from the default. */
function position(loops: readonly Partial<LoopReading>[]): LoopReadings {
  const whole = { tokenId: 1, isCorrect: true, topProb: 0.5, loss: 1, gateLogit: 0 };
  return {
    documentIndex: 0,
    position: 0,
    targetId: 1,
    loops: loops.map((loop) => ({ ...whole, stateDelta: 1, kl: 1, ...loop })),
  };
}

const anyLoop: fc.Arbitrary<LoopReading> = fc.record({
  tokenId: fc.nat(9),
  isCorrect: fc.boolean(),
  topProb: fc.double({ min: 0.01, max: 0.99, noNaN: true }),
  loss: fc.double({ min: 0, max: 9, noNaN: true }),
  gateLogit: fc.double({ min: -9, max: 9, noNaN: true }),
  stateDelta: fc.double({ min: 0, max: 3, noNaN: true }),
  kl: fc.double({ min: 0, max: 3, noNaN: true }),
});
const anyReadings = fc.array(fc.array(anyLoop, { minLength: 4, maxLength: 4 }).map(position), {
  minLength: 1,
  maxLength: 8,
});
/** Thresholds from the earliest exits to the deepest. */
const RISING: Readonly<Partial<Record<PolicyFamily, readonly number[]>>> = {
  fixed: [1, 2, 3, 4],
  cdf: [0.1, 0.5, 0.9, 1],
  delta: [3, 1, 0.3, 0.01],
  kl: [3, 1, 0.3, 0.01],
  confidence: [0.1, 0.5, 0.9, 1],
};

describe('a frontier', () => {
  test('has one point for each threshold, with depth and accuracy worked out by hand', () => {
    // lambda is 1/2 at every loop, so the CDF is .5, .75, .875, 1.
    const readings = [position([{ isCorrect: false }, {}, { isCorrect: false }, {}])];
    expect(frontier([readings], 'cdf', [0.5, 0.7, 0.8, 0.9])).toEqual([
      { policy: 'cdf', threshold: 0.5, meanDepth: 1, accuracy: 0 },
      { policy: 'cdf', threshold: 0.7, meanDepth: 2, accuracy: 1 },
      { policy: 'cdf', threshold: 0.8, meanDepth: 3, accuracy: 0 },
      { policy: 'cdf', threshold: 0.9, meanDepth: 4, accuracy: 1 },
    ]);
    // Expected values: 1/2 + 2/4 + 3/8 + 4/8, and 1/4 + 1/8.
    expect(frontier([readings], 'sampled')).toEqual([
      { policy: 'sampled', meanDepth: 1.875, accuracy: 0.375 },
    ]);
    expect(frontier([readings], 'oracle')).toEqual([
      { policy: 'oracle', meanDepth: 2, accuracy: 1 },
    ]);
  });

  test('weighs groups the same, however many positions they have', () => {
    const right = position([{}, {}]);
    const wrong = position([{ isCorrect: false }, { isCorrect: false }]);
    const [point] = frontier([[right], [wrong, wrong, wrong]], 'fixed', [1]);
    expect(point!.accuracy).toBe(0.5);
  });

  test('never gets shallower as its threshold goes deeper', () => {
    fc.assert(
      fc.property(anyReadings, (readings) => {
        for (const [family, thresholds] of Object.entries(RISING)) {
          const depths = frontier([readings], family as PolicyFamily, thresholds).map(
            ({ meanDepth }) => meanDepth,
          );
          expect(depths).toEqual(depths.toSorted((a, b) => a - b));
        }
      }),
      { seed: FC_SEED },
    );
  });

  test('never beats the oracle', () => {
    fc.assert(
      fc.property(anyReadings, (readings) => {
        const [oracle] = frontier([readings], 'oracle');
        for (const family of POLICY_FAMILIES) {
          for (const { accuracy } of frontier([readings], family, RISING[family])) {
            expect(accuracy).toBeLessThanOrEqual(oracle!.accuracy + 1e-12);
          }
        }
      }),
      { seed: FC_SEED },
    );
  });

  test('of full depth is the accuracy of the last loop', () => {
    fc.assert(
      fc.property(anyReadings, (readings) => {
        const [point] = frontier([readings], 'cdf', [1]);
        expect(point!.meanDepth).toBe(4);
        expect(point!.accuracy).toBeCloseTo(accuracyByDepth(readings)[3]!, 12);
      }),
      { seed: FC_SEED },
    );
  });

  test('needs a threshold where the policy has one', () => {
    expect(() => frontier([[position([{}])]], 'delta')).toThrow(ConfigError);
  });
});

test('shares of exits sum to 1 and their mean depth is the mean exit depth', () => {
  fc.assert(
    fc.property(anyReadings, fc.double({ min: 0.01, max: 1, noNaN: true }), (readings, q) => {
      const shares = exitShares(readings, q);
      const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
      expect(sum(shares)).toBeCloseTo(1, 12);
      const depth = sum(shares.map((share, loopIndex) => share * (loopIndex + 1)));
      expect(meanExitDepth(readings, q)).toBeCloseTo(depth, 12);
    }),
    { seed: FC_SEED },
  );
});

test('truncated readings are those of a shorter run: the last loop left takes what is left', () => {
  const readings = truncateLoops([position([{}, {}, {}, {}])], 2);
  expect(frontier([readings], 'sampled')[0]!.meanDepth).toBe(1.5);
  expect(accuracyByDepth(readings)).toEqual([1, 1]);
});

test('the cheapest point is the shallowest that is accurate enough', () => {
  const point = (meanDepth: number, accuracy: number) =>
    ({ policy: 'cdf', threshold: 0.5, meanDepth, accuracy }) as const;
  const points = [point(4, 1), point(2, 0.98), point(3, 0.99), point(3.5, 0.995)];
  expect(cheapestPoint(points, 0.99)).toBe(points[2]);
  expect(cheapestPoint(points, 1.1)).toBeUndefined();
});

test('points of several sets are averaged threshold by threshold', () => {
  const sets = [[position([{}, {}])], [position([{ isCorrect: false }, {}])]];
  const points = meanPoints(sets.map((readings) => frontier([readings], 'fixed', [1, 2])));
  expect(points).toEqual(frontier(sets, 'fixed', [1, 2]));
});
