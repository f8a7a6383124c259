/** Many rows give what few rows give: the program over gathered pages agrees with the kernel. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { AttentionFeeds, AttentionLimits } from './index.js';
import { KvMemory, PagedAttention } from './index.js';

/** The definition, for the heads that it is fed. */
function attendDefinition(feeds: AttentionFeeds, headDim: number): Float32Array {
  const { q, keys, values, bias, numRows, length } = feeds;
  const width = q.length / numRows;
  const numKvHeads = keys.length / (length * headDim);
  const perHead = width / (headDim * numKvHeads);
  const out = new Float32Array(q.length);
  for (let row = 0; row < numRows; row++) {
    for (let head = 0; head < width / headDim; head++) {
      const cached = Math.floor(head / perHead) * length * headDim;
      const at = row * width + head * headDim;
      const scores = Array.from({ length }, (_, position) => {
        let dot = 0;
        for (let d = 0; d < headDim; d++) {
          dot += q[at + d]! * keys[cached + position * headDim + d]!;
        }
        return dot / Math.sqrt(headDim) + bias[row * length + position]!;
      });
      const largest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - largest));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let d = 0; d < headDim; d++) {
        const mixed = weights.reduce(
          (sum, weight, position) => sum + weight * values[cached + position * headDim + d]!,
          0,
        );
        out[at + d] = mixed / total;
      }
    }
  }
  return out;
}

const cases = fc.record({
  numKvHeads: fc.integer({ min: 1, max: 3 }),
  perHead: fc.integer({ min: 1, max: 2 }),
  headDim: fc.constantFrom(2, 8),
  /** Rows of each group; they see one position more each. */
  groups: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 3 }),
  ahead: fc.nat(20),
  limits: fc.record({
    maxKernelRows: fc.nat(4),
    maxScores: fc.constantFrom(1, 40, 1e6),
    maxGathered: fc.constantFrom(1, 1e6),
  }) as fc.Arbitrary<AttentionLimits>,
});

it('gives the same rows wherever the work is cut, whoever does it', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ perHead, groups, ahead, limits, numKvHeads, headDim }) => {
      const pageSize = 4;
      const numHeads = numKvHeads * perHead;
      const spec = { numLayers: 1, numHeads, numKvHeads, headDim, pageSize, dtype: 'f32' } as const;
      const memory = KvMemory.create(spec, { numThreads: 1 });
      const pagesOf = groups.map((rows) => Math.ceil((ahead + rows) / pageSize));
      memory.ensurePages(pagesOf.reduce((sum, count) => sum + count, 0));
      const lengths: number[] = [];
      let [firstRow, firstPage] = [0, 0];
      const tables = groups.map((numRows, index) => {
        const table = Int32Array.from({ length: pagesOf[index]! }, (_, page) => firstPage + page);
        const slots = Int32Array.from({ length: ahead + numRows }, (_, at) => firstPage * 4 + at);
        const random = (seed: number) =>
          Float32Array.from({ length: slots.length * numKvHeads * headDim }, (_, at) =>
            Math.sin(seed + index + 1.7 * at),
          );
        memory.write(0, slots, random(1), random(2));
        for (let row = 0; row < numRows; row++) lengths.push(ahead + row + 1);
        const group = { firstRow, numRows, table };
        firstRow += numRows;
        firstPage += table.length;
        return group;
      });
      const batch = { lengths: Int32Array.from(lengths), groups: tables };
      const q = Float32Array.from({ length: firstRow * numHeads * headDim }, (_, at) =>
        Math.cos(2.3 * at),
      );
      const expected = new Float32Array(q.length);
      memory.attend(0, q, batch, expected);
      const actual = new Float32Array(q.length);
      const run = async (feeds: AttentionFeeds) => {
        expect(feeds.heads === 'all' || feeds.keys.length === feeds.length * headDim).toBe(true);
        return attendDefinition(feeds, headDim);
      };
      await new PagedAttention(memory, run, limits).attend(0, q, batch, actual);
      actual.forEach((value, index) => expect(value).toBeCloseTo(expected[index]!, 5));
      await memory.dispose();
    }),
    { seed: 4, numRuns: 60 },
  );
});
