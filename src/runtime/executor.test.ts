import { expect, test } from 'vitest';
import { CapacityError, UnsupportedError } from '../errors.js';
import { add, buildGraph, input, matmul, parameter } from '../graph/index.js';
import { Executor } from './executor.js';
import { openGraphDevice, serialize } from './graph-device.js';
import * as ort from './ort-node.js';
import type { OrtModule } from './ort.js';

const weights = Float32Array.of(1, 2, 3, 4);
const bias = Float32Array.of(10, 20);
const graph = buildGraph({
  y: add(
    matmul(input('x', 'f32', ['N', 2]), parameter('weights', 'f32', [2, 2], weights)),
    parameter('bias', 'f32', [2], bias),
  ),
});
const x = { dtype: 'f32', dims: [1, 2], data: Float32Array.of(1, 1) } as const;

test.each([
  ['inside the model', undefined],
  ['beside the model', 0],
])('weights %s give the same result, also after their memory is reused', async (_, limit) => {
  const executor = new Executor(ort, {});
  const model = serialize(graph, limit);
  const program = await executor.compile(model);
  model.bytes.fill(0);
  model.external?.bytes.fill(0);
  const [result] = await executor.submit([{ kind: 'run', program, feeds: { x }, fetch: ['y'] }]);
  await executor.dispose();
  expect(model.external !== undefined).toBe(limit === 0);
  expect([...result!['y']!.data]).toEqual([14, 26]);
});

/** An ONNX Runtime whose sessions fail with `message`, on creation or when run. */
const failing = (where: 'create' | 'run', message: string): OrtModule =>
  ({
    Tensor: ort.Tensor,
    InferenceSession: {
      create: async (bytes: Uint8Array) => {
        if (where === 'create') throw new Error(message);
        const session = await ort.InferenceSession.create(bytes);
        return Object.create(session, {
          inputMetadata: { value: session.inputMetadata },
          outputNames: { value: session.outputNames },
          run: { value: () => Promise.reject(new Error(message)) },
        }) as typeof session;
      },
    },
  }) as unknown as OrtModule;

test('a device whose ONNX Runtime lacks an operation says so', async () => {
  const message = 'Could not find an implementation for Foo(9)';
  const opened = openGraphDevice(
    {},
    (options) => new Executor(failing('create', message), options),
  );
  await expect(opened).rejects.toThrow(UnsupportedError);
  await expect(opened).rejects.toThrow(/cannot run .* Foo\(9\)/);
});

test.each([
  ['Failed to allocate memory for requested buffer of size 9', CapacityError, /needs more memory/],
  ['something else\nin two lines', Error, /^program 1 failed: something else$/],
])(
  'a run that fails with "%s" names the program and the reason',
  async (message, kind, expected) => {
    const executor = new Executor(failing('run', message), {});
    const program = await executor.compile(serialize(graph));
    const run = executor.submit([{ kind: 'run', program, feeds: { x }, fetch: ['y'] }]);
    await expect(run).rejects.toThrow(kind);
    await expect(run).rejects.toThrow(expected);
  },
);
