/**
 * Attention of one layer for few query rows: the kernel over f32 and f16 pages, on one and two
 * threads, against the ONNX Runtime program over plain arrays.
 * `npm run bench:attention -- [--rounds N] [--json FILE]`.
 *
 * Layers are visited in turn, as a model does, so that keys and values come from memory and not from
 * a cache. Every round measures all variants of a case, in reversed order every second round.
 */
import type { Device, Program } from 'looplm/runtime';
import { createInlineDevice } from 'looplm/runtime';
import { PAGE_SIZE } from '../../src/engine/cache/sequence-pages.js';
import { spawnAttentionHelper } from '../../src/platform/node/attention-helper.js';
import type { AttentionBatch, KvMemorySpec } from '../../src/runtime/attention/index.js';
import { attentionGraph } from '../../src/runtime/attention/attention-graph.js';
import { KvMemory } from '../../src/runtime/attention/index.js';
import { normalSampler } from '../../src/util/normal.js';
import type { Variant } from '../lib/harness.js';
import { readRounds } from '../lib/flags.js';
import { alternate, provenance, writeResult } from '../lib/harness.js';
import type { Roofs } from '../lib/roofs.js';
import { openRoofs } from '../lib/roofs.js';
import { distribution, medianRatio } from '../lib/statistics.js';
import { kvPositionBytes } from '../../src/util/kv-dtype.js';
import { attentionText } from './report.js';

const ROUNDS = 7;
const SEED = 1;
const THREADS = [1, 2];
/** Context and layers: enough of them that they do not fit a cache. */
const CASES = [
  { context: 256, numLayers: 24, rows: [1, 4] },
  { context: 1024, numLayers: 24, rows: [1, 4] },
  { context: 4096, numLayers: 8, rows: [1, 4] },
];
/** A measurement repeats its layers for about this long. */
const MILLISECONDS = 60;
/** Heads of the 1.4B model. */
const HEADS = { numHeads: 16, numKvHeads: 16, headDim: 128 };
const WIDTH = HEADS.numHeads * HEADS.headDim;

/** Runs all layers until the time is over; microseconds of one layer. */
async function timed(numLayers: number, layer: (index: number) => unknown): Promise<number> {
  const start = performance.now();
  let passes = 0;
  do {
    for (let index = 0; index < numLayers; index++) await layer(index);
    passes++;
  } while (performance.now() - start < MILLISECONDS);
  return ((performance.now() - start) * 1000) / (passes * numLayers);
}

const sample = normalSampler(SEED);
const CHUNK_ROWS = 256;
/** Random numbers, of which every layer takes others. */
const POOL = Float32Array.from({ length: 4 * CHUNK_ROWS * WIDTH }, sample);
function rowsFor(layerIndex: number, start: number, kind: number): Float32Array {
  const offset =
    ((layerIndex * 7919 + start * 31 + kind * 104_729) * 16) % (3 * CHUNK_ROWS * WIDTH);
  return POOL.subarray(offset, offset + CHUNK_ROWS * WIDTH);
}

/** Newest rows of one sequence: the last sees the whole context. */
function batchOf(rows: number, context: number, table: Int32Array): AttentionBatch {
  const lengths = Int32Array.from({ length: rows }, (_, row) => context - rows + 1 + row);
  return { lengths, groups: [{ firstRow: 0, numRows: rows, table }] };
}

function filledMemory(
  dtype: KvMemorySpec['dtype'],
  numThreads: number,
  numLayers: number,
  context: number,
): KvMemory {
  const options = { numThreads, spawnHelper: spawnAttentionHelper };
  const memory = KvMemory.create({ ...HEADS, numLayers, dtype, pageSize: PAGE_SIZE }, options);
  memory.ensurePages(context / memory.spec.pageSize);
  for (let start = 0; start < context; start += CHUNK_ROWS) {
    const slots = Int32Array.from({ length: CHUNK_ROWS }, (_, row) => start + row);
    for (let layer = 0; layer < numLayers; layer++) {
      memory.write(layer, slots, rowsFor(layer, start, 0), rowsFor(layer, start, 1));
    }
  }
  return memory;
}

/** Slots are used in order, so tables count up. */
const tableFor = (context: number, pageSize: number) =>
  Int32Array.from({ length: context / pageSize }, (_, page) => page);

interface Subject extends Variant {
  readonly context: number;
  readonly rows: number;
  readonly implementation: string;
  /** Keys and values that a layer reads. */
  readonly bytes: number;
}

/** Keys and values of one layer. */
const kvBytes = (context: number, dtype: KvMemorySpec['dtype']) =>
  context * kvPositionBytes({ ...HEADS, dtype });

function kernelSubject(memory: KvMemory, threads: number, context: number, rows: number): Subject {
  const { numLayers, dtype, pageSize } = memory.spec;
  const implementation = `kernel ${dtype}, ${threads} thread${threads > 1 ? 's' : ''}`;
  const batch = batchOf(rows, context, tableFor(context, pageSize));
  const q = POOL.slice(0, rows * WIDTH);
  const out = new Float32Array(q.length);
  const measure = () => timed(numLayers, (layer) => memory.attend(layer, q, batch, out));
  return {
    name: `${implementation}, ${rows} rows`,
    context,
    rows,
    implementation,
    bytes: kvBytes(context, dtype),
    measure,
  };
}

function programSubject(
  [device, program]: readonly [Device, Program],
  threads: number,
  memory: KvMemory,
  gathered: readonly { readonly keys: Float32Array; readonly values: Float32Array }[],
  rows: number,
): Subject {
  const length = gathered[0]!.keys.length / WIDTH;
  const implementation = `ONNX Runtime f32, ${threads} thread${threads > 1 ? 's' : ''}`;
  const { lengths } = batchOf(rows, length, tableFor(length, memory.spec.pageSize));
  const tensor = (data: Float32Array, ...dims: number[]) => ({ dtype: 'f32' as const, dims, data });
  const bias = Float32Array.from({ length: rows * length }, (_, index) =>
    index % length < lengths[Math.floor(index / length)]! ? 0 : -1e9,
  );
  const feeds = gathered.map(({ keys, values }) => ({
    q: tensor(POOL.slice(0, rows * WIDTH), rows, WIDTH),
    keys: tensor(keys, HEADS.numKvHeads, length, HEADS.headDim),
    values: tensor(values, HEADS.numKvHeads, length, HEADS.headDim),
    bias: tensor(bias, rows, length),
  }));
  const measure = () =>
    timed(feeds.length, (layer) =>
      device.submit([{ kind: 'run', program, feeds: feeds[layer]!, fetch: ['heads'] }]),
    );
  return {
    name: `${implementation}, ${rows} rows`,
    context: length,
    rows,
    implementation,
    bytes: kvBytes(length, 'f32'),
    measure,
  };
}

/** All variants of one context, measured and released. */
async function measureCase(
  { context, numLayers, rows }: (typeof CASES)[number],
  roofs: Roofs,
  rounds: number,
) {
  const subjects: Subject[] = [];
  const memories = (['f32', 'f16', 'i8'] as const).flatMap((dtype) =>
    THREADS.map((threads) => {
      const memory = filledMemory(dtype, threads, numLayers, context);
      subjects.push(...rows.map((count) => kernelSubject(memory, threads, context, count)));
      return memory;
    }),
  );
  const source = memories[0]!;
  const gathered = Array.from({ length: numLayers }, (_, layer) => {
    const [keys, values] = [0, 1].map(() => new Float32Array(context * WIDTH));
    const out = { keys: keys!, values: values! };
    source.gather(layer, tableFor(context, source.spec.pageSize), context, out);
    return out;
  });
  const devices: Device[] = [];
  for (const numThreads of THREADS) {
    const device = await createInlineDevice({ numThreads });
    const program = await device.compile(attentionGraph(source.spec));
    devices.push(device);
    for (const count of rows) {
      subjects.push(programSubject([device, program], numThreads, source, gathered, count));
    }
  }
  for (const subject of subjects) await subject.measure(); // warm-up, not counted
  const raw = await alternate(
    [
      { name: 'products', measure: () => roofs.product() },
      ...subjects.slice(0, subjects.length / 2),
      { name: 'memory', measure: () => roofs.memory() },
      ...subjects.slice(subjects.length / 2),
    ],
    rounds,
  );
  for (const memory of memories) await memory.dispose();
  for (const device of devices) await device.dispose();
  return { subjects, raw };
}

const flags = readRounds(ROUNDS);
await using roofs = await openRoofs(Math.max(...THREADS));
const entries = [];
const raw: Record<string, readonly number[]> = {};
for (const example of CASES) {
  process.stderr.write(`context ${example.context}\n`);
  const measured = await measureCase(example, roofs, flags.rounds);
  const memory = measured.raw['memory']!;
  for (const { name, context, rows, implementation, bytes } of measured.subjects) {
    const values = measured.raw[name]!;
    const program = measured.raw[`ONNX Runtime f32, ${THREADS.at(-1)} threads, ${rows} rows`]!;
    raw[`context ${context}, ${name}`] = values;
    entries.push({
      context,
      rows,
      implementation,
      microseconds: distribution(values),
      speedOverProgram: medianRatio(program, values),
      shareOfMemory: medianRatio(
        values.map((microseconds) => bytes / microseconds / 1000),
        memory,
      ),
    });
  }
}
const result = {
  title: 'Attention of one layer for few rows',
  settings: { rounds: flags.rounds, ...HEADS, seed: SEED },
  ...provenance(),
  roofs: roofs.rounds,
  entries,
  raw,
};
await writeResult('attention', result, flags.json);
process.stdout.write(`${attentionText(result)}\n`);
