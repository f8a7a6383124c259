import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exitDistribution, logSigmoid, sigmoid } from './exit-distribution.js';

const gates = fc.array(fc.double({ min: -40, max: 40, noNaN: true }), {
  minLength: 1,
  maxLength: 8,
});

describe('exit distribution', () => {
  test('two open gates of one half give one half, one quarter and the rest', () => {
    const { exitPdf, exitCdf, survivalProb, exitProb } = exitDistribution([0, 0, 5]);
    expect(exitPdf).toEqual([0.5, 0.25, 0.25]);
    expect(exitCdf).toEqual([0.5, 0.75, 1]);
    expect(survivalProb).toEqual([1, 0.5, 0.25]);
    expect(exitProb.slice(0, 2)).toEqual([0.5, 0.5]);
  });

  test('the pdf sums to one, the cdf rises to exactly one, and both agree', () => {
    fc.assert(
      fc.property(gates, (gateLogits) => {
        const { exitPdf, exitCdf } = exitDistribution(gateLogits);
        let sum = 0;
        exitPdf.forEach((p, t) => {
          sum += p;
          expect(p).toBeGreaterThanOrEqual(0);
          expect(exitCdf[t]!).toBeGreaterThanOrEqual(exitCdf[t - 1] ?? 0);
          expect(Math.abs(exitCdf[t]! - sum)).toBeLessThan(1e-14);
        });
        expect(exitCdf.at(-1)).toBe(1);
      }),
      { seed: 11 },
    );
  });

  test('the last gate logit changes neither pdf nor cdf', () => {
    fc.assert(
      fc.property(gates, fc.double({ noNaN: true }), (gateLogits, other) => {
        const changed = exitDistribution([...gateLogits.slice(0, -1), other]);
        const original = exitDistribution(gateLogits);
        expect(changed.exitPdf).toEqual(original.exitPdf);
        expect(changed.exitCdf).toEqual(original.exitCdf);
      }),
      { seed: 12 },
    );
  });
});

describe('sigmoid', () => {
  test('sigmoid(x) and sigmoid(-x) sum to one and log-sigmoid is its logarithm', () => {
    fc.assert(
      fc.property(fc.double({ min: -700, max: 700, noNaN: true }), (x) => {
        expect(sigmoid(x) + sigmoid(-x)).toBeCloseTo(1, 15);
        const expected = Math.log(sigmoid(x));
        expect(Math.abs(logSigmoid(x) - expected)).toBeLessThanOrEqual(1e-12 * (1 + Math.abs(x)));
      }),
      { seed: 14 },
    );
  });

  test('both tails are finite and right where exp overflows', () => {
    expect(sigmoid(1000)).toBe(1);
    expect(sigmoid(-1000)).toBe(0);
    expect(sigmoid(-40)).toBeCloseTo(Math.exp(-40), 30);
    expect(logSigmoid(-1000)).toBe(-1000);
    expect(logSigmoid(40)).toBeCloseTo(-Math.exp(-40), 30);
    expect(sigmoid(Infinity)).toBe(1);
    expect(sigmoid(-Infinity)).toBe(0);
  });
});
