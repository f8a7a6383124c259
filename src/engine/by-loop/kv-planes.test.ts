import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseModelConfig } from '../../model/index.js';
import type { Device, DeviceBuffer } from '../../runtime/index.js';
import { createInlineDevice } from '../../runtime/index.js';
import { KvPlanes } from './kv-planes.js';

const { config } = parseModelConfig({
  model_type: 'ouro',
  hidden_act: 'silu',
  hidden_size: 4,
  intermediate_size: 4,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  head_dim: 2,
  vocab_size: 5,
  rope_theta: 100,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 1000,
  tie_word_embeddings: true,
  total_ut_steps: 3,
  early_exit_threshold: 1,
  initializer_range: 0.02,
});
const NUM_HEADS = 2;
const HEAD_DIM = 2;
const BYTES_PER_SLOT = NUM_HEADS * HEAD_DIM * 4;
const BUFFERS_PER_PLANE = 4; // keys and values of two layers

let device: Device;
let cache: KvPlanes;
beforeEach(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  cache = new KvPlanes(device, config);
});
afterEach(() => device.dispose());

/** Writes a value into a slot of every buffer of a plane: the value plus the buffer's number. */
async function fill(plane: number, slot: number, value: number): Promise<void> {
  for (const [index, to] of Object.values(cache.feeds(plane)).entries()) {
    const data = new Float32Array(NUM_HEADS * HEAD_DIM).fill(value + index);
    const from = await device.upload({ dtype: 'f32', dims: [NUM_HEADS, 1, HEAD_DIM], data });
    await device.submit([{ kind: 'copyRows', from, to, axis: 1, fromRows: [0], toRows: [slot] }]);
    await device.free(from);
  }
}

/** The values of a slot in every buffer of a plane. */
async function read(plane: number, slot: number): Promise<number[]> {
  const slotOf = async (buffer: DeviceBuffer) => {
    const { data } = await device.download(buffer);
    const at = (head: number) => (head * cache.capacity + slot) * HEAD_DIM;
    const values = [0, 1].flatMap((head) => [...data.subarray(at(head), at(head) + HEAD_DIM)]);
    expect(new Set(values).size).toBe(1);
    return Number(values[0]);
  };
  return Promise.all(Object.values(cache.feeds(plane)).map(slotOf));
}

describe('KvPlanes', () => {
  it('hands out consecutive slots and keeps at least as many rows', async () => {
    let next = 0;
    for (const count of [3, 1, 60, 1, 200, 0, 1]) {
      expect(await cache.reserve(count, 1)).toBe(next);
      next += count;
      expect(cache.capacity).toBeGreaterThanOrEqual(next);
    }
  });

  it('grows seldom: by half at least', async () => {
    const capacities = new Set<number>();
    for (let n = 0; n < 400; n++) {
      await cache.reserve(1, 1);
      capacities.add(cache.capacity);
    }
    const sizes = [...capacities];
    sizes.slice(1).forEach((size, index) => {
      expect(size).toBeGreaterThanOrEqual(1.5 * sizes[index]!);
    });
  });

  it('keeps the content of every plane when it grows', async () => {
    await cache.reserve(64, 3);
    for (const plane of [0, 1, 2]) await fill(plane, 63, 100 * plane);
    for (let grown = 0; grown < 2; grown++) {
      await cache.reserve(cache.capacity, 3);
      for (const plane of [0, 1, 2]) {
        expect(await read(plane, 63)).toEqual([0, 1, 2, 3].map((n) => 100 * plane + n));
        expect(await read(plane, 5)).toEqual([0, 0, 0, 0]);
      }
    }
  });

  it('copies slots from one plane to another, layer by layer', async () => {
    await cache.reserve(4, 2);
    await fill(0, 1, 10);
    await fill(0, 2, 20);
    await fill(1, 3, 30);
    await device.submit(cache.copyCommands(0, 1, [1]));
    expect(await read(1, 1)).toEqual([10, 11, 12, 13]);
    expect(await read(1, 2)).toEqual([0, 0, 0, 0]);
    expect(await read(1, 3)).toEqual([30, 31, 32, 33]);
    expect(await read(0, 1)).toEqual([10, 11, 12, 13]);
  });

  it('frees what it drops and, at the end, everything', async () => {
    await cache.reserve(1, 3);
    await fill(2, 0, 7);
    await cache.keepOnly(2);
    const bytes = BUFFERS_PER_PLANE * cache.capacity * BYTES_PER_SLOT;
    expect(await device.stats()).toEqual({ buffers: BUFFERS_PER_PLANE, bytes, programs: 0 });
    expect(await read(0, 0)).toEqual([7, 8, 9, 10]);
    await cache.dispose();
    await cache.dispose();
    expect(await device.stats()).toEqual({ buffers: 0, bytes: 0, programs: 0 });
  });
});
