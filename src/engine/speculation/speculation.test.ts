/** The choice of drafts on simulated costs and guesses. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../errors.js';
import { AdaptiveDrafts, parseSpeculation } from './speculation.js';
import type { CostOfParts } from './step-cost.js';
import { StepCost } from './step-cost.js';

const LOOPS = 4;

/** Guesses for some tokens in a world of given costs; the depths that were chosen. */
function live(world: {
  readonly cost: CostOfParts;
  /** By depth. */
  readonly right: readonly number[];
  readonly streams?: number;
}) {
  const { cost, right, streams = 1 } = world;
  const drafts = new AdaptiveDrafts();
  let chance = 0.37;
  const depths = Array.from({ length: 600 }, (_, cycle) => {
    const depth = drafts.depth(LOOPS);
    const rows = streams * (1 + (cycle % 2) * (depth === undefined ? 0 : LOOPS / depth));
    const readouts = streams * (cycle % 3);
    const time = cost.step + cost.row * rows + cost.readout * readouts;
    drafts.cost.note({ streams, rows, readouts }, time);
    drafts.noteExit(LOOPS);
    chance = (chance + 0.618034) % 1;
    if (depth !== undefined) drafts.note(depth, chance < right[depth - 1]!);
    return depth;
  });
  const last = depths.slice(-200);
  const made = last.filter((depth) => depth !== undefined);
  return { last, made };
}

describe('AdaptiveDrafts', () => {
  const DEAR_STEPS = { step: 1, row: 0.01, readout: 0.01 };

  it('guesses where steps cost, rows do not, and guesses are right', () => {
    const { made } = live({ cost: DEAR_STEPS, right: [0.97, 0.98, 0.99] });
    expect(made).toHaveLength(200);
    expect(new Set(made)).toEqual(new Set([1]));
  });

  it('guesses deeper where shallow guesses are wrong', () => {
    const { made } = live({ cost: DEAR_STEPS, right: [0.1, 0.8, 0.95] });
    expect(made.filter((depth) => depth === 2).length).toBeGreaterThan(180);
  });

  it.each([
    { why: 'guesses are wrong', cost: DEAR_STEPS, right: [0.02, 0.03, 0.05] },
    { why: 'only rows cost', cost: { step: 0, row: 1, readout: 0.5 }, right: [0.7, 0.8, 0.9] },
    {
      why: 'many share a step',
      cost: { step: 1, row: 0.5, readout: 0.3 },
      right: [0.7, 0.8, 0.9],
      streams: 32,
    },
  ])('turns itself off where $why, and tries again now and then', (world) => {
    const { made } = live(world);
    expect(made.length).toBeLessThanOrEqual(12);
    expect(made.length).toBeGreaterThan(0);
  });

  it('never guesses where there is one loop', () => {
    const drafts = new AdaptiveDrafts();
    for (let n = 0; n < 300; n++) expect(drafts.depth(1)).toBeUndefined();
  });
});

describe('StepCost', () => {
  it('finds what steps, rows and readouts cost', () => {
    fc.assert(
      fc.property(
        fc.record({
          step: fc.double({ min: 0.1, max: 10, noNaN: true }),
          row: fc.double({ min: 0, max: 2, noNaN: true }),
          readout: fc.double({ min: 0, max: 2, noNaN: true }),
        }),
        (truth) => {
          const cost = new StepCost();
          for (let n = 0; n < 300; n++) {
            const [rows, readouts] = [1 + ((n * 7) % 11), (n * 5) % 4];
            const time = truth.step + truth.row * rows + truth.readout * readouts;
            cost.note({ streams: 1, rows, readouts }, time);
          }
          const { step, row, readout } = cost.parts;
          expect(step).toBeCloseTo(truth.step, 1);
          expect(row).toBeCloseTo(truth.row, 1);
          expect(readout).toBeCloseTo(truth.readout, 1);
        },
      ),
      { seed: 3 },
    );
  });

  it('takes what was never varied to be free', () => {
    const cost = new StepCost();
    for (let n = 0; n < 50; n++) cost.note({ streams: 1, rows: 1, readouts: 0 }, 2);
    expect(cost.parts.step + cost.parts.row).toBeCloseTo(2, 2);
    expect(cost.parts.row).toBeLessThan(0.1);
  });
});

describe('parseSpeculation', () => {
  it('reads every form', () => {
    expect(parseSpeculation('auto')).toBe('auto');
    expect(parseSpeculation('off')).toBe('off');
    expect(parseSpeculation('2')).toBe(2);
  });

  it.each(['', 'on', '0', '1.5', '-1', '1:2'])('refuses %j', (text) => {
    expect(() => parseSpeculation(text)).toThrow(ConfigError);
    expect(() => parseSpeculation(text)).toThrow(/the depth at which to guess/);
  });
});
