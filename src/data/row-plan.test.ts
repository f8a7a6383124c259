/** Laws of packing: every position once, no row too long, nothing cut that fits, next to no padding. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planRows } from './row-plan.js';

const SEED = { seed: 20261129 };
const lengths = fc.array(fc.nat({ max: 40 }), { maxLength: 60 });
const rowsOf = (list: readonly number[], length: number) => {
  const plan = planRows(list, length);
  return Array.from({ length: plan.numRows }, (_, row) => plan.piecesOf(row));
};

test('every position of every document is in one row, once, and no row is too long or empty', () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 16 }), (list, length) => {
      const seen = list.map((positions) => new Array<number>(positions).fill(0));
      for (const pieces of rowsOf(list, length)) {
        const total = pieces.reduce((sum, { positions }) => sum + positions, 0);
        expect(total).toBeGreaterThan(0);
        expect(total).toBeLessThanOrEqual(length);
        for (const { document, first, positions } of pieces) {
          for (let i = first; i < first + positions; i++) seen[document]![i]!++;
        }
      }
      expect(seen.flat().every((count) => count === 1)).toBe(true);
    }),
    SEED,
  );
});

test('a document that fits a row is not cut; a longer one fills whole rows and a rest', () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 16 }), (list, length) => {
      const pieces = rowsOf(list, length).flat();
      list.forEach((positions, document) => {
        const parts = pieces.filter((piece) => piece.document === document);
        expect(parts).toHaveLength(Math.ceil(positions / length));
      });
    }),
    SEED,
  );
});

test('two rows are never both so empty that they were one', () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 16 }), (list, length) => {
      const totals = rowsOf(list, length)
        .map((pieces) => pieces.reduce((sum, { positions }) => sum + positions, 0))
        .toSorted((a, b) => a - b);
      if (totals.length > 1) expect(totals[0]! + totals[1]!).toBeGreaterThan(length);
    }),
    SEED,
  );
});
