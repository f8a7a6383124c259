/** Laws of packing: nothing is lost, nothing is mixed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConfigError, ShapeError } from '../errors.js';
import type { TrainingBatch, TrainingDocument } from './batch.js';
import { packDocuments } from './packing.js';

const SEED = { seed: 20260302 };
const PAD_ID = 999;

/** Documents whose ids are all different, so that every piece can be recognised. */
const anyDocuments = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 20 }).map((lengths) =>
  lengths.map((length, documentIndex): TrainingDocument => {
    const ids = Array.from({ length }, (_, position) => 1000 * (documentIndex + 1) + position);
    return { ids, targets: ids.map((id) => (id % 3 === 0 ? -100 : id + 1)) };
  }),
);
const anySize = fc.record({
  rows: fc.integer({ min: 1, max: 5 }),
  length: fc.integer({ min: 1, max: 16 }),
});

/** The documents found in a batch, by reading its segments; fails if a segment is torn apart. */
function piecesOf({ rows, length, ids, targets, segments, positions }: TrainingBatch) {
  const pieces: { ids: number[]; targets: number[] }[] = [];
  for (let row = 0; row < rows; row++) {
    let previous = 0;
    for (let column = 0; column < length; column++) {
      const index = row * length + column;
      const segment = segments[index] ?? -1;
      if (segment === 0) {
        expect([ids[index], targets[index], positions[index]]).toEqual([PAD_ID, -100, 0]);
        expect(segments.subarray(index, (row + 1) * length).every((s) => s === 0)).toBe(true);
        break;
      }
      if (segment !== previous) {
        expect(segment).toBe(previous + 1);
        pieces.push({ ids: [], targets: [] });
        previous = segment;
      }
      const piece = pieces.at(-1);
      expect(positions[index]).toBe(piece?.ids.length);
      piece?.ids.push(ids[index] ?? -1);
      piece?.targets.push(targets[index] ?? -1);
    }
  }
  return pieces;
}

const byFirstId = (a: { ids: number[] }, b: { ids: number[] }) => (a.ids[0] ?? 0) - (b.ids[0] ?? 0);

test('every document lands whole exactly once or is reported', () => {
  fc.assert(
    fc.property(anyDocuments, anySize, (documents, size) => {
      const { batch, leftOver } = packDocuments(documents, { ...size, padId: PAD_ID });
      const missing = new Set(leftOver);
      const expected = documents.filter((_, index) => !missing.has(index));
      expect(piecesOf(batch).toSorted(byFirstId)).toEqual(expected);
    }),
    SEED,
  );
});

test('a document is left over only if no row had room for it', () => {
  fc.assert(
    fc.property(anyDocuments, anySize, (documents, size) => {
      const { batch, leftOver } = packDocuments(documents, { ...size, padId: PAD_ID });
      for (const documentIndex of leftOver) {
        const needed = documents[documentIndex]?.ids.length ?? 0;
        for (let row = 0; row < size.rows; row++) {
          const segments = batch.segments.subarray(row * size.length, (row + 1) * size.length);
          const ownId = (index: number) => batch.ids[row * size.length + index] ?? 0;
          const takenBefore = segments.filter(
            (segment, index) => segment > 0 && ownId(index) < 1000 * (documentIndex + 1),
          ).length;
          expect(takenBefore + needed).toBeGreaterThan(size.length);
        }
      }
    }),
    SEED,
  );
});

test('no counted target belongs to another document', () => {
  fc.assert(
    fc.property(anyDocuments, anySize, (documents, size) => {
      const { batch } = packDocuments(documents, { ...size, padId: PAD_ID });
      batch.targets.forEach((target, index) => {
        if (target !== -100) expect(target).toBe((batch.ids[index] ?? 0) + 1);
      });
    }),
    SEED,
  );
});

test('first fit by hand: the third document goes back to the first row', () => {
  const document = (...ids: number[]): TrainingDocument => ({ ids, targets: ids.map(() => -100) });
  const { batch, leftOver } = packDocuments(
    [document(1, 1, 1), document(2, 2), document(3), document(4, 4, 4)],
    { rows: 2, length: 4, padId: 0 },
  );
  expect([...batch.ids]).toEqual([1, 1, 1, 3, 2, 2, 0, 0]);
  expect([...batch.segments]).toEqual([1, 1, 1, 2, 1, 1, 0, 0]);
  expect([...batch.positions]).toEqual([0, 1, 2, 0, 0, 1, 0, 0]);
  expect(leftOver).toEqual([3]);
});

test('empty documents, unequal lengths and impossible sizes are refused', () => {
  const size = { rows: 1, length: 4, padId: 0 };
  expect(() => packDocuments([{ ids: [], targets: [] }], size)).toThrow(ShapeError);
  expect(() => packDocuments([{ ids: [1, 2], targets: [1] }], size)).toThrow(/2 ids and 1 targets/);
  expect(() => packDocuments([], { ...size, rows: 0 })).toThrow(ConfigError);
  expect(() => packDocuments([], { ...size, length: 1.5 })).toThrow(/length is 1.5/);
});
