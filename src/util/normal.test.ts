import { describe, expect, it } from 'vitest';
import { normalSampler } from './normal.js';

describe('normalSampler', () => {
  it('samples have the moments and the central share of the normal distribution', () => {
    const next = normalSampler(1);
    const samples = Array.from({ length: 100_000 }, () => next());
    const moment = (power: number) =>
      samples.reduce((sum, sample) => sum + sample ** power, 0) / samples.length;
    // Tolerances are five standard errors or more.
    expect(Math.abs(moment(1))).toBeLessThan(0.02);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.03);
    expect(Math.abs(moment(3))).toBeLessThan(0.07);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.2);
    const central = samples.filter((sample) => Math.abs(sample) < 1).length / samples.length;
    expect(Math.abs(central - 0.6827)).toBeLessThan(0.01);
  });

  it('the first samples of neighbouring seeds are as spread as any', () => {
    const first = Array.from({ length: 1000 }, (_, seed) => normalSampler(seed)());
    const meanSquare = first.reduce((sum, sample) => sum + sample ** 2, 0) / first.length;
    expect(Math.abs(meanSquare - 1)).toBeLessThan(0.25);
  });
});
