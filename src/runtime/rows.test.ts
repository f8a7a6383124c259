import fc from 'fast-check';
import { expect, test } from 'vitest';
import { copyRows } from './rows.js';

const seed = 20_261_101;

/** Row numbers of a copy inside one tensor, with its layout. */
const copies = fc
  .record({
    outer: fc.integer({ min: 1, max: 3 }),
    rowBytes: fc.integer({ min: 0, max: 5 }),
    numFrom: fc.integer({ min: 1, max: 6 }),
    numTo: fc.integer({ min: 1, max: 6 }),
  })
  .chain((layout) => {
    const from = fc.nat({ max: layout.numFrom - 1 });
    const to = fc.nat({ max: layout.numTo - 1 });
    const pairs = fc.array(fc.tuple(from, to), { maxLength: 8 });
    return fc.record({ layout: fc.constant(layout), pairs });
  });

const numbered = (length: number, offset = 0) =>
  Uint8Array.from({ length }, (_, index) => index + offset);

/** One byte after the other, all reads from a copy made before. */
function byteByByte(
  from: Uint8Array,
  to: Uint8Array,
  { outer, rowBytes, numFrom, numTo }: { [name: string]: number },
  pairs: readonly (readonly [number, number])[],
): Uint8Array {
  const before = Uint8Array.from(from);
  for (let slab = 0; slab < outer!; slab++) {
    for (const [fromRow, toRow] of pairs) {
      for (let byte = 0; byte < rowBytes!; byte++) {
        const at = (slab * numFrom! + fromRow) * rowBytes! + byte;
        to[(slab * numTo! + toRow) * rowBytes! + byte] = before[at]!;
      }
    }
  }
  return to;
}

test('copying rows between tensors equals copying byte by byte', () => {
  const law = fc.property(copies, ({ layout, pairs }) => {
    const { outer, rowBytes, numFrom, numTo } = layout;
    const from = numbered(outer * numFrom * rowBytes);
    const to = numbered(outer * numTo * rowBytes, 100);
    const expected = byteByByte(from, Uint8Array.from(to), layout, pairs);
    const [fromRows, toRows] = [pairs.map(([row]) => row), pairs.map(([, row]) => row)];
    copyRows(
      { bytes: from, numRows: numFrom },
      { bytes: to, numRows: numTo },
      layout,
      fromRows,
      toRows,
    );
    expect(to).toEqual(expected);
  });
  fc.assert(law, { seed, numRuns: 300 });
});

test('copying rows within a tensor reads all of them before it writes', () => {
  const law = fc.property(copies, ({ layout, pairs }) => {
    const square = { ...layout, numTo: layout.numFrom };
    const inside = pairs.filter(([, toRow]) => toRow < square.numFrom);
    const { outer, rowBytes, numFrom: numRows } = square;
    const bytes = numbered(outer * numRows * rowBytes);
    const expected = byteByByte(bytes, Uint8Array.from(bytes), square, inside);
    const space = { bytes, numRows };
    copyRows(
      space,
      space,
      square,
      inside.map(([row]) => row),
      inside.map(([, row]) => row),
    );
    expect(bytes).toEqual(expected);
  });
  fc.assert(law, { seed, numRuns: 300 });
});
