/** Many rows give what few rows give: the program over gathered pages agrees with the kernel. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { AttentionFeeds, AttentionLimits } from './index.js';
import { createInlineDevice } from '../inline-device.js';
import { attentionGraph } from './attention-graph.js';
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
  groups: fc.array(
    fc.record({
      numRows: fc.integer({ min: 1, max: 7 }),
      via: fc.constantFrom('kernel' as const, 'products' as const),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  ahead: fc.nat(20),
  limits: fc.record({
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
      const pagesOf = groups.map(({ numRows }) => Math.ceil((ahead + numRows) / pageSize));
      memory.ensurePages(pagesOf.reduce((sum, count) => sum + count, 0));
      const lengths: number[] = [];
      let [firstRow, firstPage] = [0, 0];
      const tables = groups.map(({ numRows, via }, index) => {
        const table = Int32Array.from({ length: pagesOf[index]! }, (_, page) => firstPage + page);
        const slots = Int32Array.from({ length: ahead + numRows }, (_, at) => firstPage * 4 + at);
        const random = (seed: number) =>
          Float32Array.from({ length: slots.length * numKvHeads * headDim }, (_, at) =>
            Math.sin(seed + index + 1.7 * at),
          );
        memory.write(0, slots, random(1), random(2));
        for (let row = 0; row < numRows; row++) lengths.push(ahead + row + 1);
        const group = { firstRow, numRows, table, via };
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

it('gives a row of products the bits that it has alone, wherever the work is cut', async () => {
  const pageSize = 32;
  const spec = { numLayers: 1, numHeads: 4, numKvHeads: 2, headDim: 24, pageSize } as const;
  const [numRows, width, length] = [50, 4 * 24, 300];
  const random = (count: number, seed: number) =>
    Float32Array.from({ length: count }, (_, at) => 2 * Math.sin(seed + 1.7 * at * at));
  const memory = KvMemory.create({ ...spec, dtype: 'f32' }, { numThreads: 1 });
  const table = Int32Array.from({ length: Math.ceil(length / pageSize) }, (_, page) => page);
  memory.ensurePages(table.length);
  const slots = Int32Array.from({ length }, (_, slot) => slot);
  memory.write(0, slots, random(length * 48, 1), random(length * 48, 2));
  const q = random(numRows * width, 3);
  const lengths = Int32Array.from({ length: numRows }, (_, row) => length - numRows + row + 1);

  const device = await createInlineDevice({ numThreads: 2 });
  const all = await device.compile(attentionGraph({ ...spec, dtype: 'f32' }));
  const one = await device.compile(
    attentionGraph({ ...spec, dtype: 'f32', numHeads: 2, numKvHeads: 1 }),
  );
  const run = async (feeds: AttentionFeeds) => {
    const tensor = (data: Float32Array, ...dims: number[]) =>
      ({ dtype: 'f32', dims, data: data.slice() }) as const;
    const count = feeds.keys.length / feeds.length / 24;
    const [result] = await device.submit([
      {
        kind: 'run',
        program: feeds.heads === 'all' ? all : one,
        feeds: {
          q: tensor(feeds.q, feeds.numRows, feeds.q.length / feeds.numRows),
          keys: tensor(feeds.keys, count, feeds.length, 24),
          values: tensor(feeds.values, count, feeds.length, 24),
          bias: tensor(feeds.bias, feeds.numRows, feeds.length),
        },
        fetch: ['heads'],
      },
    ]);
    return result!['heads']!.data as Float32Array;
  };
  const attend = async (first: number, count: number, limits: Partial<AttentionLimits>) => {
    const out = new Float32Array(count * width);
    const own = q.subarray(first * width, (first + count) * width);
    const groups = [{ firstRow: 0, numRows: count, table, via: 'products' as const }];
    const batch = { lengths: lengths.subarray(first, first + count), groups };
    await new PagedAttention(memory, run, limits).attend(0, own, batch, out);
    return out;
  };
  const together = await attend(0, numRows, {});
  for (const [first, count] of [
    [0, 1],
    [7, 2],
    [13, 9],
    [49, 1],
    [1, 49],
  ] as const) {
    for (const limits of [{}, { maxScores: 4000 }, { maxGathered: 1 }]) {
      const expected = together.subarray(first * width, (first + count) * width);
      expect(await attend(first, count, limits)).toEqual(expected);
    }
  }
  await device.dispose();
  await memory.dispose();
});
