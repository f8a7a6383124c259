/** The ONNX writer: protobuf encoding, weights inside and beside the model, large graphs. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import * as ort from '../../src/runtime/ort-node.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OnnxModel, Tensor } from 'looplm/graph';
import {
  add,
  addRows,
  buildGraph,
  cast,
  constant,
  gatherRows,
  gradients,
  input,
  matmul,
  mul,
  parameter,
  reduceSum,
  writeOnnx,
} from 'looplm/graph';
import { MessageWriter } from '../../src/graph/onnx/protobuf.js';
import { evaluateGraph, value } from './interpreter.js';
import { readFields, readModel } from './onnx-reader.js';
import { expectClose, runOnnx, runSession, SESSION_OPTIONS } from './support.js';

describe('protobuf', () => {
  const encoded = (build: (writer: MessageWriter) => unknown) => {
    const writer = new MessageWriter();
    build(writer);
    return [...writer.finish()];
  };

  test('integers take as many groups of seven bits as they need', () => {
    const cases: readonly (readonly [number | bigint, readonly number[]])[] = [
      [0, [0]],
      [1, [1]],
      [127, [0x7f]],
      [128, [0x80, 1]],
      [300, [0xac, 2]],
      [2 ** 31, [0x80, 0x80, 0x80, 0x80, 8]],
      [2 ** 53 - 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]],
      [2n ** 63n - 1n, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ];
    for (const [number, bytes] of cases) {
      expect(encoded((writer) => writer.int(1, number))).toEqual([0x08, ...bytes]);
    }
  });

  test('negative integers are ten bytes of two’s complement', () => {
    const ones = new Array<number>(8).fill(0xff);
    expect(encoded((writer) => writer.int(1, -1))).toEqual([0x08, 0xff, ...ones, 1]);
    expect(encoded((writer) => writer.int(1, -2))).toEqual([0x08, 0xfe, ...ones, 1]);
    expect(encoded((writer) => writer.int(1, -(2n ** 63n)))).toEqual([
      0x08,
      ...new Array<number>(9).fill(0x80),
      1,
    ]);
  });

  test('field numbers above 15 take two bytes of tag', () => {
    expect(encoded((writer) => writer.int(15, 1))).toEqual([0x78, 1]);
    expect(encoded((writer) => writer.int(16, 1))).toEqual([0x80, 1, 1]);
  });

  test('floats, strings and bytes, by hand', () => {
    expect(encoded((writer) => writer.float(2, 1))).toEqual([0x15, 0, 0, 0x80, 0x3f]);
    expect(encoded((writer) => writer.string(1, 'aé'))).toEqual([0x0a, 3, 0x61, 0xc3, 0xa9]);
    expect(encoded((writer) => writer.bytes(1, new Uint8Array(0)))).toEqual([0x0a, 0]);
  });

  test('a message inside a message is preceded by its length', () => {
    const nested = encoded((w) =>
      w.message(1, (a) => a.message(2, (b) => b.int(3, 150)).int(4, 1)),
    );
    expect(nested).toEqual([0x0a, 7, 0x12, 3, 0x18, 0x96, 1, 0x20, 1]);
    expect(encoded((w) => w.message(1, () => {}))).toEqual([0x0a, 0]);
  });

  test('any fields are read back in their order', () => {
    const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    const content = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(fc.array(fc.tuple(int64, content)), (items) => {
        const writer = new MessageWriter();
        for (const [number, bytes] of items) writer.int(1, number).bytes(1000, bytes);
        const fields = readFields(writer.finish());
        const numbers = (fields.get(1) ?? []).map((bits) => BigInt.asIntN(64, bits as bigint));
        expect(numbers).toEqual(items.map(([number]) => number));
        expect(fields.get(1000) ?? []).toEqual(items.map(([, bytes]) => bytes));
      }),
      { seed: 41 },
    );
  });
});

/** A graph whose parameters have every element type and sizes that are no multiple of a page. */
function weightsGraph() {
  const x = input('x', 'f32', ['N', 3]);
  const wave = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i));
  const large = parameter('large', 'f32', [3, 2000], wave(6000));
  const narrow = parameter('narrow', 'f32', [2000, 5], wave(10000));
  const half = cast(parameter('half', 'f16', [5], Uint16Array.of(0x3c00, 0, 0xc000, 1, 2)), 'f32');
  const bits = cast(parameter('bits', 'bool', [5], Uint8Array.of(1, 0, 1, 1, 0)), 'f32');
  const bytes = cast(parameter('bytes', 'u8', [5], Uint8Array.of(0, 1, 2, 200, 255)), 'f32');
  const rows = parameter('rows', 'i32', [2], Int32Array.of(4, 1));
  const longs = parameter('longs', 'i64', [5], BigInt64Array.of(1n, -2n, 3n, -4n, 5n));
  const scaled = mul(matmul(matmul(x, large), narrow), add(half, add(bits, bytes)));
  const chosen = gatherRows(cast(longs, 'f32'), rows);
  return buildGraph({ out: add(scaled, cast(longs, 'f32')), chosen });
}

const ALL_OUTSIDE = { inlineLimitBytes: 0 };

/** The external file, put together from its parts. */
function externalFile({ external }: OnnxModel): Uint8Array {
  const file = new Uint8Array(external!.sizeBytes);
  for (const { offset, bytes } of external!.tensors) file.set(bytes, offset);
  return file;
}

describe('weights beside the model', () => {
  const graph = weightsGraph();
  const feeds = { x: value([2, 3], [1, 2, 3, -1, 0, 0.5]) };
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'looplm-onnx-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('compute what weights inside the model compute, from memory and from disk', async () => {
    const inside = await runOnnx(graph, feeds);
    for (const [name, expected] of Object.entries(evaluateGraph(graph, feeds))) {
      expectClose(inside[name]!, expected);
    }
    const model = writeOnnx(graph, ALL_OUTSIDE);
    const data = externalFile(model);
    const fromMemory = await ort.InferenceSession.create(model.bytes, {
      ...SESSION_OPTIONS,
      externalData: [{ path: model.external!.location, data }],
    });
    expect(await runSession(fromMemory, graph, feeds)).toEqual(inside);
    await fromMemory.release();

    const path = join(folder, 'model.onnx');
    await writeFile(path, model.bytes);
    await writeFile(join(folder, model.external!.location), data);
    const fromDisk = await ort.InferenceSession.create(path, SESSION_OPTIONS);
    expect(await runSession(fromDisk, graph, feeds)).toEqual(inside);
    await fromDisk.release();
  });

  test('start at whole pages, in order, without overlap', () => {
    const { external } = writeOnnx(graph, ALL_OUTSIDE);
    const names = external!.tensors.map(({ name }) => name);
    expect(names.toSorted()).toEqual(
      graph.parameters.map(({ attributes }) => attributes['name'] as string).toSorted(),
    );
    let end = 0;
    for (const { offset, bytes } of external!.tensors) {
      expect(offset % 4096).toBe(0);
      expect(offset).toBeGreaterThanOrEqual(end);
      end = offset + bytes.byteLength;
    }
    expect(external!.sizeBytes).toBe(end);
  });

  test('begin above the limit, counted over all weights', () => {
    const total = graph.parameters.reduce((sum, { data }) => sum + data!.byteLength, 0);
    expect(writeOnnx(graph, { inlineLimitBytes: total }).external).toBeUndefined();
    expect(writeOnnx(graph, { inlineLimitBytes: total - 1 }).external).toBeDefined();
    expect(writeOnnx(graph).external).toBeUndefined();
  });

  test('borrow the arrays of the parameters, views included', () => {
    const all = Float32Array.of(9, 1, 2, 9);
    const view = parameter('view', 'f32', [2], all.subarray(1, 3));
    const { external } = writeOnnx(buildGraph({ out: add(view, 1) }), ALL_OUTSIDE);
    const { bytes } = external!.tensors[0]!;
    expect(bytes.buffer).toBe(all.buffer);
    expect([...new Float32Array(bytes.slice().buffer)]).toEqual([1, 2]);
  });

  test('do not include the constants of the graph', async () => {
    const table = constant(Float32Array.from({ length: 1000 }, Math.sqrt), [1000]);
    const out = add(
      mul(input('x', 'f32', [1000]), table),
      parameter('w', 'f32', [], new Float32Array(1)),
    );
    const { external } = writeOnnx(buildGraph({ out }), ALL_OUTSIDE);
    expect(external!.tensors.map(({ name }) => name)).toEqual(['w']);
  });
});

describe('a written model', () => {
  test('says the names, types and sizes of its inputs and outputs', async () => {
    const out = add(input('a', 'f32', ['N', 3]), input('b', 'f32', [3]));
    const graph = buildGraph({ out, flags: cast(input('c', 'i32', ['S']), 'bool') });
    const session = await ort.InferenceSession.create(writeOnnx(graph).bytes, SESSION_OPTIONS);
    const described = [...session.inputMetadata, ...session.outputMetadata].map((entry) =>
      entry.isTensor ? [entry.name, entry.type, entry.shape] : entry,
    );
    expect(described).toEqual([
      ['a', 'float32', ['N', 3]],
      ['b', 'float32', [3]],
      ['c', 'int32', ['S']],
      ['out', 'float32', ['N', 3]],
      ['flags', 'bool', ['S']],
    ]);
    await session.release();
  });

  test('can be read back: one node per operation, one initializer per weight', () => {
    const w = parameter('w', 'f32', [2], Float32Array.of(1, 2));
    const model = readModel(writeOnnx(buildGraph({ out: mul(add(w, w), 3) })).bytes);
    expect(model.nodes.map(({ opType }) => opType)).toEqual(['Add', 'Mul', 'Identity']);
    expect(model.initializers).toContain('w');
    expect(model.initializers).toHaveLength(2);
  });

  test('may have ten thousand nodes', async () => {
    const numNodes = 10_000;
    let sum: Tensor = input('x', 'f32', [1]);
    for (let index = 0; index < numNodes; index++) sum = add(sum, index % 2 === 0 ? 0.5 : -0.25);
    const model = readModel(writeOnnx(buildGraph({ sum })).bytes);
    expect(model.nodes.filter(({ opType }) => opType === 'Add')).toHaveLength(numNodes);
  });
});

test('rows of equal index add up exactly, run after run, on several threads', async () => {
  const [numRows, width, height] = [2048, 1024, 8];
  const indices = input('indices', 'i32', [numRows]);
  const rows = input('rows', 'f32', [numRows, width]);
  const graph = buildGraph({ sums: addRows([height, width], indices, rows) });
  const feeds = {
    indices: value(
      [numRows],
      Int32Array.from({ length: numRows }, (_, index) => index % height),
    ),
    rows: value([numRows, width], new Float32Array(numRows * width).fill(1)),
  };
  const { bytes } = writeOnnx(graph);
  // A race shows only now and then; this is the operator that has one.
  expect(readModel(bytes).nodes.map(({ opType }) => opType)).not.toContain('ScatterND');
  const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 2 });
  for (let run = 0; run < 5; run++) {
    const { sums } = await runSession(session, graph, feeds);
    expect(new Set(sums!.data)).toEqual(new Set([numRows / height]));
  }
  await session.release();
});

test('the gradient of a lookup is as large as its table only while it runs', () => {
  const table = input('table', 'f32', [5000, 8]);
  const loss = reduceSum(gatherRows(table, input('ids', 'i32', [3])));
  const graph = buildGraph({ grad: gradients(loss, [table])[0]! });
  expect(writeOnnx(graph).bytes.byteLength).toBeLessThan(5000);
});
