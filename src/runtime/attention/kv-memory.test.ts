/**
 * Attention over pages against its definition in float64, and what pages keep.
 *
 * Random shapes: GQA, page sizes, groups with rows of different lengths. Half precision and 8 bits
 * are compared with the definition on rounded keys and values; rounding itself with the float16
 * package, and with the definition.
 */
import { f16round } from '@petamoriken/float16';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CapacityError, ConfigError, DisposedError } from '../../errors.js';
import type { KvDtype } from '../../util/kv-dtype.js';
import { KV_DTYPES } from '../../util/kv-dtype.js';
import { createInlineDevice } from '../inline-device.js';
import type { AttentionBatch, KvMemorySpec } from './index.js';
import { attentionGraph } from './attention-graph.js';
import { KvMemory } from './index.js';

const ONE_THREAD = { numThreads: 1 };
const RUNS = { seed: 3, numRuns: 60 };

/** A repeatable sequence of numbers in [-1, 1). */
function numbers(count: number, seed: number, scale = 1): Float32Array {
  let state = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
}

interface Case {
  readonly spec: KvMemorySpec;
  /** Lengths of the rows of each group. */
  readonly groups: readonly (readonly number[])[];
  readonly seed: number;
}

const cases = (dtype: KvDtype): fc.Arbitrary<Case> =>
  fc.record({
    spec: fc
      .record({
        numKvHeads: fc.integer({ min: 1, max: 3 }),
        perHead: fc.integer({ min: 1, max: 4 }),
        headDim: fc.constantFrom(2, 6, 8, 20, 64, 80, 128),
        pageSize: dtype === 'i8' ? fc.constantFrom(32, 64, 96) : fc.constantFrom(4, 8, 32, 36),
      })
      .map(({ perHead, ...rest }) => ({
        ...rest,
        numLayers: 2,
        numHeads: perHead * rest.numKvHeads,
        dtype,
      })),
    groups: fc.array(fc.array(fc.integer({ min: 1, max: 75 }), { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 4,
    }),
    seed: fc.integer({ min: 1, max: 1e6 }),
  });

/** Pages in a scattered order, so that tables are not the identity. */
function tablesFor({ spec, groups, seed }: Case): { tables: Int32Array[]; numPages: number } {
  const counts = groups.map((lengths) => Math.ceil(Math.max(...lengths) / spec.pageSize));
  const numPages = counts.reduce((sum, count) => sum + count, 0);
  const order = [...numbers(numPages, seed).entries()]
    .toSorted(([, a], [, b]) => a - b)
    .map(([page]) => page);
  let at = 0;
  const tables = counts.map((count) => Int32Array.from(order.slice(at, (at += count))));
  return { tables, numPages };
}

function filled(example: Case, scale = 1) {
  const { spec, groups, seed } = example;
  const { tables, numPages } = tablesFor(example);
  const memory = KvMemory.create(spec, ONE_THREAD);
  memory.ensurePages(numPages);
  const width = spec.numKvHeads * spec.headDim;
  const contents = groups.map((lengths, group) => {
    const length = Math.max(...lengths);
    const slots = Int32Array.from({ length }, (_, position) => {
      const page = tables[group]![Math.floor(position / spec.pageSize)]!;
      return page * spec.pageSize + (position % spec.pageSize);
    });
    const k = numbers(length * width, seed + group, scale);
    const v = numbers(length * width, seed + 100 + group, scale);
    memory.write(1, slots, k, v);
    return { slots, k, v, length, table: tables[group]! };
  });
  let firstRow = 0;
  const batch: AttentionBatch = {
    lengths: Int32Array.from(groups.flat()),
    groups: groups.map(({ length: numRows }, group) => {
      firstRow += numRows;
      return { firstRow: firstRow - numRows, numRows, table: tables[group]! };
    }),
  };
  const q = numbers(batch.lengths.length * spec.numHeads * spec.headDim, seed + 7, 3 * scale);
  return { memory, contents, batch, q, numPages };
}

/** To the nearest integer, ties to even. */
function roundToEven(x: number): number {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** Rows [N, K * Dh] as they are stored. */
function stored(rows: Float32Array, { dtype, headDim }: KvMemorySpec): Float32Array {
  if (dtype !== 'i8') return dtype === 'f16' ? rows.map(f16round) : rows;
  return rows.map((value, index) => {
    const d = index % headDim;
    const block = rows.subarray(index - (d % 32), index - d + Math.min(headDim, d - (d % 32) + 32));
    const largest = Math.max(...block.map(Math.abs));
    if (largest === 0) return 0;
    const steps = Math.fround(value * Math.fround(127 / largest));
    return roundToEven(steps) * Math.fround(largest / 127);
  });
}

/**
 * How far attention may be off: in 8 bits scores and weights are rounded to 16 bits as well, relative
 * to the largest; the sum of all these errors stays below this for the rows here.
 */
const tolerance = (dtype: KvDtype): number => (dtype === 'i8' ? 3e-4 : 1e-5);

/** The definition, in float64, on keys and values as they are stored. */
function reference(example: Case, { contents, batch, q }: ReturnType<typeof filled>): number[] {
  const { numHeads, numKvHeads, headDim } = example.spec;
  const out: number[] = [];
  for (const [group, { firstRow, numRows }] of batch.groups.entries()) {
    const k = stored(contents[group]!.k, example.spec);
    const v = stored(contents[group]!.v, example.spec);
    for (let row = firstRow; row < firstRow + numRows; row++) {
      for (let head = 0; head < numHeads; head++) {
        const kvHead = Math.floor((head * numKvHeads) / numHeads);
        const query = q.subarray((row * numHeads + head) * headDim).subarray(0, headDim);
        const at = (position: number) => (position * numKvHeads + kvHead) * headDim;
        const scores = Array.from({ length: batch.lengths[row]! }, (_, position) =>
          query.reduce((sum, x, d) => sum + (x * k[at(position) + d]!) / headDim ** 0.5, 0),
        );
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let d = 0; d < headDim; d++) {
          const sum = weights.reduce((s, weight, p) => s + weight * v[at(p) + d]!, 0);
          out.push(sum / total);
        }
      }
    }
  }
  return out;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

const SMALL: KvMemorySpec = {
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 6,
  dtype: 'f32',
  pageSize: 4,
};
/** Slots 0 to count - 1. */
const slotsTo = (count: number) => Int32Array.from({ length: count }, (_, slot) => slot);

/** What a layer holds at the first `length` positions of a table, [K, length, Dh]. */
function gathered(memory: KvMemory, layerIndex: number, table: Int32Array, length: number) {
  const size = memory.spec.numKvHeads * length * memory.spec.headDim;
  const out = { keys: new Float32Array(size), values: new Float32Array(size) };
  memory.gather(layerIndex, table, length, out);
  return out;
}

/** Rows [N, K * Dh] as [K, N, Dh]. */
function headsFirst(rows: Float32Array, numKvHeads: number, headDim: number): Float32Array {
  const count = rows.length / (numKvHeads * headDim);
  return rows.map((_, index) => {
    const [d, row] = [index % headDim, Math.floor(index / headDim) % count];
    const head = Math.floor(index / (headDim * count));
    return rows[(row * numKvHeads + head) * headDim + d]!;
  });
}

describe.each(KV_DTYPES)('attention on %s', (dtype) => {
  it('is the softmax average of the values that a row sees', () => {
    fc.assert(
      fc.property(cases(dtype), (example) => {
        const state = filled(example);
        const out = new Float32Array(state.q.length);
        state.memory.attend(1, state.q, state.batch, out);
        void state.memory.dispose();
        expect(largestDifference(out, reference(example, state))).toBeLessThan(tolerance(dtype));
      }),
      RUNS,
    );
  });

  it('is what the ONNX Runtime program computes from the gathered pages', async () => {
    const spec = { ...SMALL, dtype, headDim: 64, pageSize: 32 };
    const example: Case = { spec, groups: [[90, 91, 92, 93, 94]], seed: 11 };
    const { memory, batch, q, contents } = filled(example);
    const out = new Float32Array(q.length);
    memory.attend(1, q, batch, out);
    const { keys, values } = gathered(memory, 1, contents[0]!.table, 94);
    const bias = Float32Array.from({ length: 5 * 94 }, (_, index) =>
      index % 94 < batch.lengths[Math.floor(index / 94)]! ? 0 : -1e9,
    );
    await using device = await createInlineDevice({ numThreads: 1 });
    const program = await device.compile(attentionGraph(spec));
    const tensor = (data: Float32Array, ...dims: number[]) => ({
      dtype: 'f32' as const,
      dims,
      data,
    });
    const feeds = {
      q: tensor(q, 5, 256),
      keys: tensor(keys, 2, 94, 64),
      values: tensor(values, 2, 94, 64),
      bias: tensor(bias, 5, 94),
    };
    const [result] = await device.submit([{ kind: 'run', program, feeds, fetch: ['heads'] }]);
    const given = result!['heads']!.data as Float32Array;
    expect(largestDifference(out, given)).toBeLessThan(tolerance(dtype));
  });

  it('gives each row the bits that it has alone', () => {
    fc.assert(
      fc.property(cases(dtype), (example) => {
        const { memory, batch, q } = filled(example);
        const { numHeads, headDim } = example.spec;
        const width = numHeads * headDim;
        const together = new Float32Array(q.length);
        memory.attend(1, q, batch, together);
        const alone = new Float32Array(q.length);
        for (const { firstRow, numRows, table } of batch.groups) {
          for (let row = firstRow; row < firstRow + numRows; row++) {
            const own = [row * width, (row + 1) * width] as const;
            const groups = [{ firstRow: 0, numRows: 1, table }];
            const lengths = batch.lengths.subarray(row, row + 1);
            memory.attend(1, q.subarray(...own), { lengths, groups }, alone.subarray(...own));
          }
        }
        expect(together).toEqual(alone);
        void memory.dispose();
      }),
      RUNS,
    );
  });

  it('stays finite and picks the largest score where scores are extreme', () => {
    const pageSize = dtype === 'i8' ? 32 : 4;
    const spec = { ...SMALL, numHeads: 1, numKvHeads: 1, headDim: 8, dtype, pageSize };
    const memory = KvMemory.create(spec, ONE_THREAD);
    memory.ensurePages(2);
    const k = numbers(7 * 8, 5, 1000);
    const v = numbers(7 * 8, 6);
    memory.write(0, slotsTo(7), k, v);
    // Scores are about +-1e4: each query is 10 times a key.
    const q = k.subarray(16, 24).map((x) => x / 10);
    const out = new Float32Array(8);
    const batch = {
      lengths: Int32Array.of(7),
      groups: [{ firstRow: 0, numRows: 1, table: Int32Array.of(0, 1) }],
    };
    memory.attend(0, q, batch, out);
    const scores = Array.from({ length: 7 }, (_, p) =>
      q.reduce((sum, x, d) => sum + x * k[p * 8 + d]!, 0),
    );
    expect(Math.max(...scores.map(Math.abs))).toBeGreaterThan(1e4);
    const best = scores.indexOf(Math.max(...scores));
    const chosen = stored(v, spec).subarray(best * 8, best * 8 + 8);
    expect(largestDifference(out, chosen)).toBeLessThan(1e-4);
  });

  it('does not read behind a row, whatever was left in the page', () => {
    const spec = { ...SMALL, dtype, pageSize: 32 };
    const memory = KvMemory.create(spec, ONE_THREAD);
    memory.ensurePages(1);
    const poison = new Float32Array(4 * 12).fill(NaN);
    memory.write(0, slotsTo(4), poison, poison);
    const v = numbers(12, 3);
    memory.write(0, slotsTo(1), numbers(12, 2), v);
    const out = new Float32Array(4 * 6);
    const groups = [{ firstRow: 0, numRows: 1, table: Int32Array.of(0) }];
    memory.attend(0, numbers(24, 4), { lengths: Int32Array.of(1), groups }, out);
    const seen = gathered(memory, 0, Int32Array.of(0), 1).values;
    // Two query heads for each kv head.
    const expected = [0, 0, 1, 1].flatMap((head) => [...seen.subarray(head * 6, head * 6 + 6)]);
    expect(largestDifference(out, expected)).toBeLessThan(dtype === 'i8' ? 1e-4 : 1e-7);
  });

  it('takes more rows than are staged at a time', () => {
    const lengths = Array.from({ length: 150 }, (_, row) => 1 + (row % 30));
    const spec = { ...SMALL, dtype, numLayers: 2, pageSize: 32 };
    const example: Case = { spec, groups: [[3], lengths, [5, 6]], seed: 21 };
    const state = filled(example);
    const out = new Float32Array(state.q.length);
    state.memory.attend(1, state.q, state.batch, out);
    expect(largestDifference(out, reference(example, state))).toBeLessThan(tolerance(dtype));
  });
});

describe('pages', () => {
  it.each(KV_DTYPES)('give back the %s rows that were written', (dtype) => {
    fc.assert(
      fc.property(cases(dtype), (example) => {
        const { memory, contents } = filled(example, 40);
        const { numKvHeads, headDim } = example.spec;
        for (const { k, v, length, table } of contents) {
          const { keys, values } = gathered(memory, 1, table, length);
          const written = (rows: Float32Array) =>
            headsFirst(stored(rows, example.spec), numKvHeads, headDim);
          expect(largestDifference(keys, written(k))).toBe(0);
          expect(largestDifference(values, written(v))).toBe(0);
          const step = { f32: 0, f16: 2 ** -5, i8: 40 / 127 }[dtype];
          expect(largestDifference(values, headsFirst(v, numKvHeads, headDim))).toBeLessThanOrEqual(
            step * 0.50001,
          );
        }
        void memory.dispose();
      }),
      RUNS,
    );
  });

  it('round to the nearest half, ties to even, and clamp', () => {
    const spec = { ...SMALL, numHeads: 1, numKvHeads: 1, headDim: 8, dtype: 'f16' as const };
    const memory = KvMemory.create(spec, ONE_THREAD);
    memory.ensurePages(1);
    const bits = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    const float = fc
      .oneof(
        bits,
        bits.map((word) => (word & 0x87ffffff) | 0x30000000),
      )
      .map((word) => new Float32Array(Int32Array.of(word).buffer)[0]!)
      .filter(Number.isFinite);
    const half = (word: number) =>
      word < 1024 ? word * 2 ** -24 : (1024 + (word & 1023)) * 2 ** ((word >> 10) - 25);
    const ties = fc
      .tuple(fc.integer({ min: 0, max: 0x7bfe }), fc.constantFrom(-1, 1))
      .map(([word, sign]) => (sign * (half(word) + half(word + 1))) / 2);
    fc.assert(
      fc.property(fc.array(fc.oneof(float, ties), { minLength: 8, maxLength: 8 }), (list) => {
        const row = Float32Array.from(list);
        memory.write(0, Int32Array.of(2), row, row);
        const expected = row.map((x) => f16round(Math.min(65504, Math.max(-65504, x))));
        memory.copy(Int32Array.of(2), Int32Array.of(0));
        const { keys, values } = gathered(memory, 0, Int32Array.of(0), 1);
        expect([...keys]).toEqual([...expected]);
        expect([...values]).toEqual([...expected]);
      }),
      { seed: 5, numRuns: 2000 },
    );
  });

  it('hold finite numbers in 8 bits whatever is written, and zero as zero', () => {
    const spec = {
      ...SMALL,
      numHeads: 1,
      numKvHeads: 1,
      headDim: 40,
      dtype: 'i8' as const,
      pageSize: 32,
    };
    const memory = KvMemory.create(spec, ONE_THREAD);
    memory.ensurePages(1);
    const rows = [NaN, Infinity, -Infinity, 3e38, 1e-40, 0].map((value) =>
      new Float32Array(40).fill(1).fill(value, 3, 36),
    );
    for (const [slot, row] of rows.slice(0, 4).entries()) {
      memory.write(0, Int32Array.of(slot), row, row);
    }
    const { keys, values } = gathered(memory, 0, Int32Array.of(0), 4);
    expect(keys.every(Number.isFinite)).toBe(true);
    expect(values).toEqual(keys);
    expect(Math.sign(keys[40 + 5]!)).toBe(1);
    expect(Math.sign(keys[80 + 5]!)).toBe(-1);
    for (const row of rows.slice(4)) {
      memory.write(0, Int32Array.of(0), row, row);
      const { keys: small } = gathered(memory, 0, Int32Array.of(0), 1);
      expect([...small.subarray(3, 36)]).toEqual(Array.from({ length: 33 }, () => 0));
      expect(small[0]).toBeCloseTo(1, 6);
      expect(small[39]).toBeCloseTo(1, 6);
    }
  });

  it.each(KV_DTYPES)('are read to the last byte of the memory, in %s', (dtype) => {
    // Pages of 4 KiB fill the memory before it grows.
    const rows = { f32: 8, f16: 16, i8: 32 }[dtype];
    const spec = { ...SMALL, numHeads: 1, numKvHeads: 1, headDim: 64, pageSize: rows, dtype };
    const memory = KvMemory.create(spec, ONE_THREAD);
    const row = numbers(64, 2);
    for (let page = 0; page < 64; page++) {
      memory.ensurePages(page + 1);
      memory.write(0, Int32Array.of((page + 1) * rows - 1), row, row);
      const { values } = gathered(memory, 0, Int32Array.of(page), rows);
      expect(values.subarray(-64)).toEqual(stored(row, spec));
      const out = new Float32Array(64);
      const groups = [{ firstRow: 0, numRows: 1, table: Int32Array.of(page) }];
      memory.attend(0, row, { lengths: Int32Array.of(rows), groups }, out);
      expect(out.every(Number.isFinite)).toBe(true);
    }
  });

  it('keep their contents when there are more of them', () => {
    const memory = KvMemory.create(SMALL, ONE_THREAD);
    memory.ensurePages(2);
    const [k, v] = [numbers(8 * 12, 1), numbers(8 * 12, 2)];
    memory.write(1, slotsTo(8), k, v);
    const before = memory.bytes;
    memory.ensurePages(30_000);
    expect(memory.bytes).toBeGreaterThan(before + 2 * 30_000 * 2 * 2 * 4 * 6 * 4);
    memory.write(1, Int32Array.of(29_999 * 4), k.subarray(0, 12), v.subarray(0, 12));
    const { keys, values } = gathered(memory, 1, Int32Array.of(0, 1), 8);
    expect(keys).toEqual(headsFirst(k, 2, 6));
    expect(values).toEqual(headsFirst(v, 2, 6));
    memory.ensurePages(3);
    expect(memory.numPages).toBe(30_000);
  });

  it.each(KV_DTYPES)('copy %s slots in every layer, in order', (dtype) => {
    const spec = { ...SMALL, dtype, pageSize: dtype === 'i8' ? 32 : 4 };
    const memory = KvMemory.create(spec, ONE_THREAD);
    memory.ensurePages(2);
    const rows = [numbers(8 * 12, 1), numbers(8 * 12, 2)];
    for (const [layer, row] of rows.entries()) memory.write(layer, slotsTo(8), row, row);
    // Slot 1 goes to 6, and from there to 3.
    memory.copy(Int32Array.of(1, 6, 0), Int32Array.of(6, 3, 7));
    for (const [layer, row] of rows.entries()) {
      const from = [0, 1, 2, 1, 4, 5, 1, 0];
      const expected = Float32Array.from(
        from.flatMap((slot) => [...row.subarray(slot * 12, slot * 12 + 12)]),
      );
      const { keys, values } = gathered(memory, layer, Int32Array.of(0, 1), 8);
      const written = headsFirst(stored(expected, spec), 2, 6);
      expect(largestDifference(keys, written)).toBe(0);
      expect(largestDifference(values, written)).toBe(0);
    }
  });
});

describe('a memory', () => {
  it('refuses a spec that cannot be', () => {
    const create = (change: Partial<KvMemorySpec>) => () =>
      KvMemory.create({ ...SMALL, ...change }, ONE_THREAD);
    expect(create({ numHeads: 3 })).toThrow(ConfigError);
    expect(create({ pageSize: 6 })).toThrow(ConfigError);
    expect(create({ headDim: 0 })).toThrow(ConfigError);
  });

  it('says how many positions fit when more are wanted', () => {
    const memory = KvMemory.create({ ...SMALL, numKvHeads: 4, headDim: 128 }, ONE_THREAD);
    // A position takes 4 heads x 128 x 2 x 4 bytes = 4 KiB; 4 GiB hold about a million.
    expect(() => memory.ensurePages(2 ** 18)).toThrow(CapacityError);
    expect(() => memory.ensurePages(2 ** 18)).toThrow(
      /got 1048576 .* at most 104\d{4} in f32; use/,
    );
    expect(memory.numPages).toBe(0);
  });

  it('is gone after dispose', async () => {
    const memory = KvMemory.create(SMALL, ONE_THREAD);
    await memory.dispose();
    expect(() => memory.ensurePages(1)).toThrow(DisposedError);
    expect(() => memory.write(0, slotsTo(0), new Float32Array(0), new Float32Array(0))).toThrow(
      DisposedError,
    );
    expect(memory.bytes).toBe(0);
  });
});
