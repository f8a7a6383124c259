/**
 * A row of a product has the same bits whatever the other rows are, if their number is a multiple of
 * what the format asks for; and of the small operators between products whatever their number is.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tensor } from '../../src/graph/index.js';
import {
  blockLinear,
  blockRowMultiple,
  buildGraph,
  input,
  linear,
  mul,
  parameter,
  rmsNorm,
  silu,
} from '../../src/graph/index.js';
import type { BlockFormat } from '../../src/model/quantize.js';
import { quantizeBlocks } from '../../src/model/quantize.js';
import type { Device, DeviceBuffer } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { normalSampler } from '../../src/util/normal.js';

const MAX_ROWS = 40;
const [INPUTS, OUTPUTS] = [352, 200];

const normals = (count: number, seed: number) =>
  Float32Array.from({ length: count }, normalSampler(seed));
const WEIGHTS = normals(INPUTS * OUTPUTS, 1);
const X = normals(MAX_ROWS * INPUTS, 2);

function blockProduct(x: Tensor, format: BlockFormat): Tensor {
  const { bits, blockSize } = format;
  const size = { outputs: OUTPUTS, inputs: INPUTS, format, method: 'round-to-nearest' } as const;
  const { packed, scales } = quantizeBlocks(WEIGHTS, size);
  const shape = [OUTPUTS, Math.ceil(INPUTS / blockSize)] as const;
  return blockLinear(
    x,
    parameter('w', 'u8', [...shape, (blockSize * bits) / 8], packed),
    parameter('scales', 'f32', shape, scales),
    format,
  );
}

const FORMATS = ([8, 4] as const).flatMap((bits) =>
  ([32, 64, 128] as const).map((blockSize): BlockFormat => ({ kind: 'blocks', bits, blockSize })),
);

const vector = (name: string, width: number) => parameter(name, 'f32', [width], normals(width, 3));
const CASES = [
  ['float product', (x: Tensor) => linear(x, parameter('w', 'f32', [OUTPUTS, INPUTS], WEIGHTS)), 1],
  [
    'one output',
    (x: Tensor) => linear(x, parameter('w', 'f32', [1, INPUTS], WEIGHTS.subarray(0, INPUTS))),
    1,
  ],
  ['weight as input', (x: Tensor) => linear(x, input('w', 'f32', [OUTPUTS, INPUTS])), 2],
  ['one output, weight as input', (x: Tensor) => linear(x, input('w', 'f32', [1, INPUTS])), 2],
  ['norm and gate', (x: Tensor) => mul(silu(rmsNorm(x, vector('n', INPUTS), 1e-6)), x), 1],
  ...FORMATS.map(
    (format) =>
      [
        `${format.bits}-bit blocks of ${format.blockSize}`,
        (x: Tensor) => blockProduct(x, format),
        blockRowMultiple(format),
      ] as const,
  ),
] as const;

describe.each([1, 2])('on %i threads', (numThreads) => {
  let device: Device;
  beforeAll(async () => void (device = await createInlineDevice({ numThreads })));
  afterAll(async () => device.dispose());

  it.each(CASES)('%s', async (_, product, multiple) => {
    const graph = buildGraph({ y: product(input('x', 'f32', ['N', INPUTS])) });
    const bound: Record<string, DeviceBuffer> = {};
    for (const { attributes, shape } of graph.inputs) {
      if (attributes['name'] !== 'w') continue;
      const dims = shape as readonly number[];
      const data = WEIGHTS.subarray(0, dims[0]! * INPUTS);
      bound['w'] = await device.upload({ dtype: 'f32', dims, data });
    }
    const program = await device.compile(graph, { bound });
    const rowsOf = async (first: number, count: number) => {
      const data = X.slice(first * INPUTS, (first + count) * INPUTS);
      const feeds = { x: { dtype: 'f32', dims: [count, INPUTS], data } } as const;
      const [result] = await device.submit([{ kind: 'run', program, feeds, fetch: ['y'] }]);
      return result!['y']!.data as Float32Array;
    };
    const all = await rowsOf(0, MAX_ROWS);
    const width = all.length / MAX_ROWS;
    for (let count = multiple; count < MAX_ROWS; count += multiple) {
      for (const first of [0, 1, MAX_ROWS - count]) {
        const expected = all.subarray(first * width, (first + count) * width);
        expect(await rowsOf(first, Math.min(count, MAX_ROWS - first))).toEqual(expected);
      }
    }
    await device.free(program);
  });
});
