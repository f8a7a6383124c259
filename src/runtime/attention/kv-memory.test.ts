/**
 * Attention over pages against its definition in float64, and what pages keep.
 *
 * Random shapes: GQA, page sizes, groups with rows of different lengths. Half precision is compared
 * with the definition on rounded keys and values; rounding itself with the float16 package.
 */
import { f16round } from '@petamoriken/float16';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AttentionBatch, KvMemorySpec } from './index.js';
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
  readonly spec: Required<KvMemorySpec>;
  /** Lengths of the rows of each group. */
  readonly groups: readonly (readonly number[])[];
  readonly seed: number;
}

const cases = (dtype: 'f32' | 'f16'): fc.Arbitrary<Case> =>
  fc.record({
    spec: fc
      .record({
        numKvHeads: fc.integer({ min: 1, max: 3 }),
        perHead: fc.integer({ min: 1, max: 4 }),
        headDim: fc.constantFrom(2, 6, 8, 20, 64, 128),
        pageSize: fc.constantFrom(4, 8, 32, 36),
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

/** The definition, in float64, on keys and values as they are stored. */
function reference(example: Case, { contents, batch, q }: ReturnType<typeof filled>): number[] {
  const { numHeads, numKvHeads, headDim, dtype } = example.spec;
  const stored = (value: number) => (dtype === 'f16' ? f16round(value) : value);
  const out: number[] = [];
  for (const [group, { firstRow, numRows }] of batch.groups.entries()) {
    const { k, v } = contents[group]!;
    for (let row = firstRow; row < firstRow + numRows; row++) {
      for (let head = 0; head < numHeads; head++) {
        const kvHead = Math.floor((head * numKvHeads) / numHeads);
        const query = q.subarray((row * numHeads + head) * headDim).subarray(0, headDim);
        const at = (position: number) => (position * numKvHeads + kvHead) * headDim;
        const scores = Array.from({ length: batch.lengths[row]! }, (_, position) =>
          query.reduce((sum, x, d) => sum + (x * stored(k[at(position) + d]!)) / headDim ** 0.5, 0),
        );
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let d = 0; d < headDim; d++) {
          const sum = weights.reduce((s, weight, p) => s + weight * stored(v[at(p) + d]!), 0);
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

describe.each(['f32', 'f16'] as const)('attention on %s', (dtype) => {
  it('is the softmax average of the values that a row sees', () => {
    fc.assert(
      fc.property(cases(dtype), (example) => {
        const state = filled(example);
        const out = new Float32Array(state.q.length);
        state.memory.attend(1, state.q, state.batch, out);
        expect(largestDifference(out, reference(example, state))).toBeLessThan(1e-5);
      }),
      RUNS,
    );
  });
});
