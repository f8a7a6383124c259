/** Laws of batch sources: pure in their indices, and no label crosses a document. */
import fc from 'fast-check';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import type { TrainingDocument } from './batch.js';
import { generatedSource } from './generated-source.js';
import { generatorFor } from '../util/random.js';

const SEED = { seed: 20260303, numRuns: 50 };

function randomDocument(rng: RandomGenerator, trainStep: number): TrainingDocument {
  const length = uniformInt(rng, 1, 9);
  const ids = Array.from({ length }, () => uniformInt(rng, 1, 50));
  return { ids, targets: ids.map((id) => id + trainStep) };
}

const generated = (seed: number) =>
  generatedSource({ documents: randomDocument, rows: 3, length: 12, seed });

describe('generated source', () => {
  const index = fc.nat({ max: 1_000_000 });

  test('a batch depends on nothing but the seed and the indices', () => {
    fc.assert(
      fc.property(fc.integer(), index, fc.nat({ max: 8 }), (seed, trainStep, microBatch) => {
        const fresh = generated(seed).batchAt(trainStep, microBatch);
        const used = generated(seed);
        used.batchAt(trainStep + 1, microBatch);
        used.batchAt(trainStep, microBatch).ids.fill(-1); // the caller owns what it got
        expect(used.batchAt(trainStep, microBatch)).toEqual(fresh);
      }),
      SEED,
    );
  });

  test('other seeds, updates and micro-batches give other batches', () => {
    fc.assert(
      fc.property(fc.integer(), index, (seed, trainStep) => {
        const { ids } = generated(seed).batchAt(trainStep, 0);
        expect(generated(seed + 1).batchAt(trainStep, 0).ids).not.toEqual(ids);
        expect(generated(seed).batchAt(trainStep + 1, 0).ids).not.toEqual(ids);
        expect(generated(seed).batchAt(trainStep, 1).ids).not.toEqual(ids);
      }),
      SEED,
    );
  });

  test('documents come in the order of the draws until one fits no row', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat({ max: 1000 }), (seed, trainStep) => {
        const batch = generated(seed).batchAt(trainStep, 2);
        const rng = generatorFor(seed, trainStep, 2);
        const room = [12, 12, 12];
        let numPlaced = 0;
        for (;;) {
          const { ids, targets } = randomDocument(rng, trainStep);
          const row = room.findIndex((free) => free >= ids.length);
          if (row < 0) break;
          const offset = row * 12 + 12 - (room[row] ?? 0);
          expect([...batch.ids.subarray(offset, offset + ids.length)]).toEqual(ids);
          expect([...batch.targets.subarray(offset, offset + ids.length)]).toEqual(targets);
          room[row] = (room[row] ?? 0) - ids.length;
          numPlaced += ids.length;
        }
        expect(batch.segments.filter((segment) => segment > 0).length).toBe(numPlaced);
      }),
      SEED,
    );
  });

  test('a document longer than a row is refused', () => {
    const ids = [1, 2, 3, 4, 5];
    const documents = () => ({ ids, targets: ids });
    const source = generatedSource({ documents, rows: 2, length: 4, seed: 1 });
    expect(() => source.batchAt(0, 0)).toThrow(/5 tokens; a row holds at most 4/);
    expect(() => generatedSource({ documents, rows: 0, length: 4, seed: 1 })).toThrow(ConfigError);
  });
});

test('generators of neighbouring tuples share no pattern', () => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 100; seed++) {
    for (let trainStep = 0; trainStep < 100; trainStep++) {
      seen.add(generatorFor(seed, trainStep, 0).next());
    }
  }
  seen.add(generatorFor(0, 0).next());
  expect(seen.size).toBeGreaterThan(9990); // 10,001 draws of 32 bits: 0.01 collisions expected
});
