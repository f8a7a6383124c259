import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../errors.js';
import type { Schedule } from './schedule.js';
import { checkSchedule, scheduleFraction } from './schedule.js';

/** A schedule with the run it fits into; a decay has at least two train steps to go down in. */
const run: fc.Arbitrary<{ schedule: Schedule; total: number }> = fc
  .record({
    warmupTrainSteps: fc.nat(20),
    decayTrainSteps: fc.integer({ min: 1, max: 30 }),
    rest: fc.integer({ min: 2, max: 50 }),
    finalFraction: fc.double({ min: 0.001, max: 1, noNaN: true }),
    kind: fc.constantFrom('constant', 'cosine', 'wsd'),
  })
  .map(({ warmupTrainSteps, decayTrainSteps, rest, finalFraction, kind }) => {
    const total = warmupTrainSteps + decayTrainSteps + rest;
    switch (kind) {
      case 'constant':
        return { schedule: { kind, warmupTrainSteps }, total };
      case 'cosine':
        return { schedule: { kind, warmupTrainSteps, finalFraction }, total };
      default:
        return {
          schedule: { kind: 'wsd', warmupTrainSteps, decayTrainSteps, finalFraction },
          total,
        };
    }
  });

const fractions = (schedule: Schedule, total: number): number[] =>
  Array.from({ length: total }, (_, trainStep) => scheduleFraction(schedule, trainStep, total));

const check = (law: (schedule: Schedule, total: number) => void): void =>
  fc.assert(
    fc.property(run, ({ schedule, total }) => law(schedule, total)),
    { seed: 3 },
  );

describe('scheduleFraction', () => {
  it('is above 0 and at most 1', () => {
    check((schedule, total) => {
      for (const fraction of fractions(schedule, total)) {
        expect(fraction).toBeGreaterThan(0);
        expect(fraction).toBeLessThanOrEqual(1);
      }
    });
  });

  it('rises evenly to the peak in the warm-up and never rises after it', () => {
    check((schedule, total) => {
      const { warmupTrainSteps: warmup } = schedule;
      const all = fractions(schedule, total);
      all.slice(0, warmup).forEach((fraction, trainStep) => {
        expect(fraction).toBeCloseTo((trainStep + 1) / warmup, 12);
      });
      expect(all[warmup]).toBe(1);
      for (let trainStep = warmup + 1; trainStep < total; trainStep++) {
        expect(all[trainStep]).toBeLessThanOrEqual(all[trainStep - 1]!);
      }
    });
  });

  it('ends at the final fraction, or at the peak where nothing decays', () => {
    check((schedule, total) => {
      const end = scheduleFraction(schedule, total - 1, total);
      expect(end).toBeCloseTo(schedule.kind === 'constant' ? 1 : schedule.finalFraction, 12);
    });
  });

  it('of a cosine is half way down in the middle, and mirrored around it', () => {
    check((schedule, total) => {
      if (schedule.kind !== 'cosine') return;
      const decay = fractions(schedule, total).slice(schedule.warmupTrainSteps);
      decay.forEach((fraction, index) => {
        const mirrored = decay[decay.length - 1 - index]!;
        expect(fraction + mirrored).toBeCloseTo(1 + schedule.finalFraction, 12);
      });
    });
  });

  it('of WSD stays at the peak until the decay and then falls by equal amounts', () => {
    check((schedule, total) => {
      if (schedule.kind !== 'wsd') return;
      const all = fractions(schedule, total);
      const start = total - 1 - schedule.decayTrainSteps;
      expect(all.slice(schedule.warmupTrainSteps, start + 1).every((f) => f === 1)).toBe(true);
      const fall = (1 - schedule.finalFraction) / schedule.decayTrainSteps;
      for (let trainStep = start + 1; trainStep < total; trainStep++) {
        expect(all[trainStep - 1]! - all[trainStep]!).toBeCloseTo(fall, 12);
      }
    });
  });
});

describe('checkSchedule', () => {
  it('accepts a schedule that fits exactly and refuses one train step less', () => {
    const wsd = {
      kind: 'wsd',
      warmupTrainSteps: 4,
      decayTrainSteps: 6,
      finalFraction: 0.1,
    } as const;
    const constant = { kind: 'constant', warmupTrainSteps: 5 } as const;
    const cosine = { kind: 'cosine', warmupTrainSteps: 5, finalFraction: 0 } as const;
    for (const [schedule, total] of [
      [wsd, 10],
      [constant, 5],
      [cosine, 5],
    ] as const) {
      expect(() => checkSchedule(schedule, total)).not.toThrow();
      expect(() => checkSchedule(schedule, total - 1)).toThrow(ConfigError);
    }
    expect(() => checkSchedule(wsd, 9)).toThrow(/take 10 train steps but the run has 9/);
  });
});
