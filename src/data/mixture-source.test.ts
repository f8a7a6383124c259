/** Laws of a mixture: each row once an epoch, shares as asked for, and batches that depend on the step. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import type { TrainingBatch, TrainingDocument } from './batch.js';
import type { MixtureSourceOptions } from './mixture-source.js';
import { mixtureSource } from './mixture-source.js';
import { documentRows } from './row-sets.js';

const SEED = { seed: 20261129 };
const LENGTH = 8;

/** Documents of which every id is another one, from `first` on. */
function documentsFrom(first: number, lengths: readonly number[]): TrainingDocument[] {
  let id = first;
  return lengths.map((length) => {
    const ids = Array.from({ length }, () => id++);
    return { ids, targets: ids.map((each) => each + 1) };
  });
}

const idsOf = ({ ids, segments }: TrainingBatch) => [...ids].filter((_, i) => segments[i]! > 0);
const lengthsOf = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 30 });

const sourceOf = (options: Partial<MixtureSourceOptions> & Pick<MixtureSourceOptions, 'sets'>) =>
  mixtureSource({
    rows: 3,
    length: LENGTH,
    seed: 1,
    accumulate: 2,
    order: 'epochs',
    ...options,
  });

test('in an epoch every position of every document comes once, in the next in another order', () => {
  fc.assert(
    fc.property(lengthsOf, fc.nat(), (lengths, seed) => {
      const documents = documentsFrom(1, lengths);
      const set = documentRows('a', documents, LENGTH);
      const source = sourceOf({ sets: [set], rows: 1, accumulate: 1, seed });
      const all = documents.flatMap(({ ids }) => [...ids]);
      const orders = [0, 1, 2].map((epoch) => {
        const steps = Array.from({ length: set.numRows }, (_, i) => epoch * set.numRows + i);
        return steps.flatMap((step) => idsOf(source.batchAt(step, 0)));
      });
      for (const order of orders) expect(order.toSorted((a, b) => a - b)).toEqual(all);
      if (set.numRows > 8) expect(new Set(orders.map(String)).size).toBe(3);
    }),
    SEED,
  );
});

test('a batch is the same whatever was asked for before: a run resumes at any step', () => {
  const sets = [
    documentRows('a', documentsFrom(1, [3, 9, 20, 5]), LENGTH),
    documentRows('b', documentsFrom(1000, [8, 8, 1]), LENGTH),
  ];
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 300 }), fc.nat({ max: 1 })), { maxLength: 5 }),
      fc.nat({ max: 300 }),
      fc.constantFrom('epochs' as const, 'replacement' as const),
      (before, trainStep, order) => {
        const weightsAt = (step: number) => [1 + step / 50, 2];
        const used = sourceOf({ sets, weightsAt, order });
        for (const [step, microBatch] of before) used.batchAt(step, microBatch).ids.fill(-1);
        const fresh = sourceOf({ sets, weightsAt, order });
        expect(used.batchAt(trainStep, 1)).toEqual(fresh.batchAt(trainStep, 1));
      },
    ),
    SEED,
  );
});

test('micro-batches and train steps share no row before the epoch ends', () => {
  const documents = documentsFrom(
    1,
    Array.from({ length: 24 }, () => LENGTH),
  );
  const source = sourceOf({ sets: [documentRows('a', documents, LENGTH)] });
  const ids = [0, 1, 2, 3].flatMap((step) =>
    [0, 1].flatMap((microBatch) => idsOf(source.batchAt(step, microBatch))),
  );
  expect(new Set(ids).size).toBe(24 * LENGTH);
});

test('documents are told apart, and only their own targets are in a batch', () => {
  const documents = documentsFrom(1, [3, 4, 1, 8, 20]);
  const source = sourceOf({ sets: [documentRows('a', documents, LENGTH)], rows: 2 });
  const { ids, targets, segments, positions } = source.batchAt(0, 0);
  for (let i = 0; i < ids.length; i++) {
    if (segments[i] === 0) continue;
    expect(targets[i]).toBe(ids[i]! + 1);
    const goesOn = i % LENGTH > 0 && segments[i - 1] === segments[i];
    expect(positions[i]).toBe(goesOn ? positions[i - 1]! + 1 : 0);
    if (goesOn) expect(ids[i]).toBe(ids[i - 1]! + 1);
  }
});

describe('shares', () => {
  const sets = [0, 1, 2].map((index) =>
    documentRows(`set ${index}`, documentsFrom(1 + 1000 * index, new Array<number>(50).fill(8)), 8),
  );
  const countsOf = (batch: TrainingBatch) => {
    const counts = [0, 0, 0];
    for (let row = 0; row < batch.rows; row++) {
      counts[Math.floor(batch.ids[row * LENGTH]! / 1000)]!++;
    }
    return counts;
  };

  test('of every batch lie within one row of the weights, and their mean is the weights', () => {
    const weights = [0.2, 0.5, 2.3];
    const source = sourceOf({ sets, weightsAt: () => weights, rows: 5, accumulate: 1 });
    const sums = [0, 0, 0];
    const batches = 4000;
    for (let step = 0; step < batches; step++) {
      countsOf(source.batchAt(step, 0)).forEach((count, set) => {
        const share = (5 * weights[set]!) / 3;
        expect(Math.abs(count - share)).toBeLessThan(1);
        sums[set]! += count;
      });
    }
    sums.forEach((sum, set) => {
      const share = (5 * weights[set]!) / 3;
      const fraction = share % 1;
      // The count is one of two neighbours; five standard deviations of its mean.
      const deviation = Math.sqrt((fraction * (1 - fraction)) / batches);
      expect(Math.abs(sum / batches - share)).toBeLessThan(5 * deviation);
    });
  });

  test('follow the step, down to none', () => {
    const weightsAt = (step: number) => (step < 10 ? [1, 0, 1] : [0, 1, 0]);
    const source = sourceOf({ sets, weightsAt, rows: 4, accumulate: 1 });
    for (let step = 0; step < 20; step++) {
      expect(countsOf(source.batchAt(step, 0))).toEqual(step < 10 ? [2, 0, 2] : [0, 4, 0]);
    }
  });

  test('by default follow how much each set has', () => {
    const large = documentRows('large', documentsFrom(1000, new Array<number>(150).fill(8)), 8);
    const source = sourceOf({ sets: [sets[0]!, large], rows: 4, accumulate: 1 });
    for (let step = 0; step < 10; step++) {
      expect(countsOf(source.batchAt(step, 0)).slice(0, 1)).toEqual([1]);
    }
  });

  test.each([
    [[0, 0, 0], /all weights are 0 \(set 0, set 1, set 2\)/],
    [[1, -1, 1], /the weight of set 1 is -1/],
    [[1, NaN, 1], /the weight of set 1 is NaN/],
    [[1, 1], /2 weights for 3 sets/],
  ])('%j are refused with the step', (weights, message) => {
    const source = sourceOf({ sets, weightsAt: (step) => (step < 7 ? [1, 1, 1] : weights) });
    expect(() => source.batchAt(3, 0)).not.toThrow();
    expect(() => source.batchAt(3, 1)).toThrow(ConfigError);
    expect(() => source.batchAt(3, 1)).toThrow(message);
    expect(() => source.batchAt(3, 1)).toThrow(/^At micro-batch 7 /);
  });
});

test('with replacement every row comes about as often as any other', () => {
  const documents = documentsFrom(0, new Array<number>(20).fill(8));
  const set = documentRows('a', documents, LENGTH);
  const source = sourceOf({ sets: [set], order: 'replacement', rows: 10, accumulate: 1 });
  const counts = new Array<number>(20).fill(0);
  const steps = 1000;
  for (let step = 0; step < steps; step++) {
    const { ids } = source.batchAt(step, 0);
    for (let row = 0; row < 10; row++) counts[ids[row * LENGTH]! / 8]!++;
  }
  const expected = (10 * steps) / 20;
  for (const count of counts) {
    expect(Math.abs(count - expected)).toBeLessThan(5 * Math.sqrt(expected));
  }
});
