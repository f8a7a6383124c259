/** What rotary positions promise, whatever the shape. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { rotatedRows } from './rotary.js';

const number = fc.double({ min: -3, max: 3, noNaN: true });
const cases = fc
  .record({
    numRows: fc.integer({ min: 1, max: 4 }),
    numKvHeads: fc.integer({ min: 1, max: 3 }),
    perHead: fc.integer({ min: 1, max: 3 }),
    half: fc.integer({ min: 1, max: 5 }),
  })
  .chain(({ numRows, numKvHeads, perHead, half }) => {
    const spec = { numHeads: perHead * numKvHeads, numKvHeads, headDim: 2 * half };
    const width = (spec.numHeads + 2 * numKvHeads) * spec.headDim;
    const list = (length: number) => fc.array(number, { minLength: length, maxLength: length });
    return fc.record({
      spec: fc.constant(spec),
      numRows: fc.constant(numRows),
      rows: list(numRows * width),
      angles: list(numRows * half),
    });
  });
const RUNS = { seed: 9, numRuns: 100 };

const cosAndSin = (angles: readonly number[]) => ({
  cos: Float32Array.from(angles, Math.cos),
  sin: Float32Array.from(angles, Math.sin),
});

it('turns each pair as a complex number by the angle of its row, and leaves values alone', () => {
  fc.assert(
    fc.property(cases, ({ spec, numRows, rows, angles }) => {
      const { numHeads, numKvHeads, headDim } = spec;
      const half = headDim / 2;
      const width = rows.length / numRows;
      const { q, k, v } = rotatedRows(Float32Array.from(rows), spec, cosAndSin(angles));
      for (let row = 0; row < numRows; row++) {
        for (let head = 0; head < numHeads + 2 * numKvHeads; head++) {
          for (let j = 0; j < half; j++) {
            const at = row * width + head * headDim + j;
            const angle = head < numHeads + numKvHeads ? angles[row * half + j]! : 0;
            const radius = Math.hypot(rows[at]!, rows[at + half]!);
            const turned = Math.atan2(rows[at + half]!, rows[at]!) + angle;
            const [out, heads, first] =
              head < numHeads
                ? ([q, numHeads, head] as const)
                : head < numHeads + numKvHeads
                  ? ([k, numKvHeads, head - numHeads] as const)
                  : ([v, numKvHeads, head - numHeads - numKvHeads] as const);
            const to = (row * heads + first) * headDim + j;
            expect(out[to]).toBeCloseTo(radius * Math.cos(turned), 5);
            expect(out[to + half]).toBeCloseTo(radius * Math.sin(turned), 5);
          }
        }
      }
    }),
    RUNS,
  );
});
