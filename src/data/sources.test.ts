/** Laws of batch sources: pure in their indices, and no label crosses a document. */
import fc from 'fast-check';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import type { BatchSource, TrainingDocument } from './batch.js';
import { generatedSource } from './generated-source.js';
import { generatorFor } from '../util/random.js';
import { tokenShardSource } from './token-shard-source.js';

const SEED = { seed: 20260303, numRuns: 50 };
const END = 0;

function randomDocument(rng: RandomGenerator, trainStep: number): TrainingDocument {
  const length = uniformInt(rng, 1, 9);
  const ids = Array.from({ length }, () => uniformInt(rng, 1, 50));
  return { ids, targets: ids.map((id) => id + trainStep) };
}

const generated = (seed: number) =>
  generatedSource({ documents: randomDocument, rows: 3, length: 12, seed });
const shard = (seed: number) => {
  const rng = generatorFor(99);
  const tokens = Uint16Array.from({ length: 500 }, () => uniformInt(rng, 0, 7));
  return tokenShardSource({ tokens, endOfTextId: END, rows: 3, length: 12, seed });
};

describe.each<[string, (seed: number) => BatchSource]>([
  ['generated source', generated],
  ['token shard source', shard],
])('%s', (_, make) => {
  const index = fc.nat({ max: 1_000_000 });

  test('a batch depends on nothing but the seed and the indices', () => {
    fc.assert(
      fc.property(fc.integer(), index, fc.nat({ max: 8 }), (seed, trainStep, microBatch) => {
        const fresh = make(seed).batchAt(trainStep, microBatch);
        const used = make(seed);
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
        const { ids } = make(seed).batchAt(trainStep, 0);
        expect(make(seed + 1).batchAt(trainStep, 0).ids).not.toEqual(ids);
        expect(make(seed).batchAt(trainStep + 1, 0).ids).not.toEqual(ids);
        expect(make(seed).batchAt(trainStep, 1).ids).not.toEqual(ids);
      }),
      SEED,
    );
  });
});

describe('generated source', () => {
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

describe('token shard source', () => {
  test('by hand: a window of three documents', () => {
    const tokens = Uint32Array.of(5, 6, END, 7, END, 8, 9);
    const batch = tokenShardSource({ tokens, endOfTextId: END, rows: 1, length: 6, seed: 3 });
    expect(batch.batchAt(0, 0)).toEqual({
      rows: 1,
      length: 6,
      ids: Int32Array.of(5, 6, END, 7, END, 8),
      targets: Int32Array.of(6, END, -100, END, -100, 9),
      segments: Int32Array.of(1, 1, 1, 2, 2, 3),
      positions: Int32Array.of(0, 1, 2, 0, 1, 0),
    });
  });

  test('each row is a window of the shard, and every counted target is the next token of the same document', () => {
    const tokens = Uint16Array.from({ length: 300 }, (_, index) => (index % 7 === 0 ? END : index));
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const source = tokenShardSource({ tokens, endOfTextId: END, rows: 4, length: 10, seed });
        const { ids, targets, segments, positions } = source.batchAt(1, 0);
        for (let row = 0; row < 4; row++) {
          const at = row * 10;
          const known = [...ids.subarray(at, at + 10)].findIndex((id) => id !== END);
          const start = (ids[at + known] ?? 0) - known;
          for (let column = 0; column < 10; column++) {
            const here = at + column;
            const isEnd = tokens[start + column] === END;
            expect(ids[here]).toBe(tokens[start + column]);
            expect(targets[here]).toBe(isEnd ? -100 : tokens[start + column + 1]);
            if (column === 9) continue;
            expect((segments[here + 1] ?? 0) - (segments[here] ?? 0)).toBe(isEnd ? 1 : 0);
            expect(positions[here + 1]).toBe(isEnd ? 0 : (positions[here] ?? 0) + 1);
          }
        }
      }),
      SEED,
    );
  });

  test('windows begin everywhere, the first and last place included', () => {
    const tokens = Uint16Array.from({ length: 20 }, (_, index) => index + 1);
    const source = tokenShardSource({ tokens, endOfTextId: END, rows: 200, length: 15, seed: 4 });
    const { ids } = source.batchAt(0, 0);
    const starts = new Set(Array.from({ length: 200 }, (_, row) => ids[row * 15]));
    expect(starts).toEqual(new Set([1, 2, 3, 4, 5]));
  });

  test('a shard that is shorter than one window is refused', () => {
    const tokens = Uint16Array.of(1, 2, 3);
    expect(() =>
      tokenShardSource({ tokens, endOfTextId: END, rows: 1, length: 3, seed: 1 }),
    ).toThrow(/3 tokens; rows of 3 need at least 4/);
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
