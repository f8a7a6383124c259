/** Attention in blocks equals attention over the whole square, its gradients too, however it is computed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tensor } from '../graph/index.js';
import {
  add,
  buildGraph,
  constant,
  gradients,
  input,
  matmul,
  mul,
  reduceSum,
  reshape,
  softmax,
  transpose,
  where,
} from '../graph/index.js';
import type { Device } from '../runtime/index.js';
import { createInlineDevice } from '../runtime/index.js';
import { normalSampler } from '../util/normal.js';
import { selfAttention } from './self-attention.js';

const [ROWS, H, K, HEAD_DIM] = [2, 4, 2, 6];

/**
 * Documents and their branches, by row: 47 positions each in the first row, one of which has three branches after
 * 11 positions; in the second one document and padding.
 */
function layoutOf(length: number) {
  const at = (row: number, position: number) => {
    if (row === 1) return { document: position < length - 5 ? 1 : 0, branch: 0 };
    const within = position % 47;
    const isBranched = Math.floor(position / 47) === 1;
    const branch = isBranched && within >= 11 ? 1 + Math.floor((within - 11) / 12) : 0;
    return { document: 1 + Math.floor(position / 47), branch };
  };
  /** The definition: what is later, of another document or of another branch is hidden. */
  const isSeen = (row: number, query: number, key: number) => {
    const [own, other] = [at(row, query), at(row, key)];
    const isOfBranch = other.branch === 0 || other.branch === own.branch;
    return key <= query && own.document === other.document && isOfBranch;
  };
  const seenUntil = Float32Array.from({ length: ROWS * length }, (_, index) => {
    const [row, key] = [Math.floor(index / length), index % length];
    let end = key + 1;
    while (end < length && isSeen(row, end, key)) end++;
    return end;
  });
  return { isSeen, seenUntil };
}

/** Every query against every key of its row, hidden ones at minus infinity nearly. */
function wholeSquare(q: Tensor, k: Tensor, v: Tensor, { shape }: Tensor): Tensor {
  const length = shape[1] as number;
  const split = (x: Tensor, heads: number) =>
    transpose(reshape(x, [ROWS, length, heads, HEAD_DIM]), [0, 2, 1, 3]);
  const grouped = (x: Tensor) => reshape(split(x, K), [ROWS, K, 1, length, HEAD_DIM]);
  const scores = matmul(reshape(split(q, H), [ROWS, K, H / K, length, HEAD_DIM]), grouped(k), {
    transposeB: true,
    alpha: HEAD_DIM ** -0.5,
  });
  const { isSeen } = layoutOf(length);
  const seen = Uint8Array.from({ length: ROWS * length * length }, (_, index) => {
    const query = Math.floor(index / length) % length;
    return isSeen(Math.floor(index / length ** 2), query, index % length) ? 1 : 0;
  });
  const mask = constant(seen, [ROWS, 1, 1, length, length], 'bool');
  const mixed = matmul(softmax(add(scores, where(mask, 0, -1e9))), grouped(v));
  const byRow = transpose(reshape(mixed, [ROWS, H, length, HEAD_DIM]), [0, 2, 1, 3]);
  return reshape(byRow, [ROWS * length, H, HEAD_DIM]);
}

type Attention = (q: Tensor, k: Tensor, v: Tensor, seenUntil: Tensor) => Tensor;
const inBlocks =
  (keepsWeights: boolean): Attention =>
  (q, k, v, seenUntil) =>
    selfAttention({ seenUntil, keepsWeights })(q, k, v);

/** The result and the gradients of a weighted sum of it. */
function graphOf(attention: Attention, length: number) {
  const heads = (name: string, count: number) =>
    input(name, 'f32', [ROWS * length, count, HEAD_DIM]);
  const [q, k, v] = [heads('q', H), heads('k', K), heads('v', K)];
  const out = attention(q, k, v, input('seenUntil', 'f32', [ROWS, length]));
  const loss = reduceSum(mul(out, heads('weights', H)));
  const [dq, dk, dv] = gradients(loss, [q, k, v]);
  return buildGraph({ out, dq: dq!, dk: dk!, dv: dv! });
}

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

async function run(attention: Attention, length: number) {
  const sample = normalSampler(length);
  const heads = (count: number) => ({
    dtype: 'f32' as const,
    dims: [ROWS * length, count, HEAD_DIM],
    data: Float32Array.from({ length: ROWS * length * count * HEAD_DIM }, () => sample()),
  });
  const feeds = {
    q: heads(H),
    k: heads(K),
    v: heads(K),
    weights: heads(H),
    seenUntil: {
      dtype: 'f32' as const,
      dims: [ROWS, length],
      data: layoutOf(length).seenUntil,
    },
  };
  const graph = graphOf(attention, length);
  const program = await device.compile(graph);
  const names = new Set(graph.inputs.map((node) => node.attributes['name']));
  const used = Object.fromEntries(Object.entries(feeds).filter(([name]) => names.has(name)));
  const fetch = ['out', 'dq', 'dk', 'dv'];
  const [result] = await device.submit([{ kind: 'run', program, feeds: used, fetch }]);
  await device.free(program);
  return result!;
}

describe.each([1, 127, 128, 129, 300])('over %i positions', (length) => {
  it.each([true, false])('blocks give what the square gives; weights kept: %s', async (keeps) => {
    const expected = await run(wholeSquare, length);
    const actual = await run(inBlocks(keeps), length);
    for (const [name, { data }] of Object.entries(expected)) {
      const worst = (data as Float32Array).reduce(
        (most, x, index) => Math.max(most, Math.abs(x - Number(actual[name]!.data[index]))),
        0,
      );
      expect(worst, name).toBeLessThan(2e-5);
    }
  });
});

it.each([true, false])(
  'computes no score above the diagonal’s blocks; weights kept: %s',
  (keeps) => {
    const length = 1000;
    const scores = graphOf(inBlocks(keeps), length).nodes.filter(
      ({ op, shape }) => op === 'softmax' && shape.length === 4,
    );
    const ends = Array.from({ length: 8 }, (_, i) => Math.min(length, 128 * (i + 1)));
    const widths = scores.map(({ shape }) => shape[3]);
    expect(widths.toSorted((a, b) => Number(a) - Number(b))).toEqual(
      keeps ? ends : ends.flatMap((end) => [end, end]),
    );
  },
);
