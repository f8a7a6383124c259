/**
 * Every kind of device with every type of weights and of keys and values: it loads and computes, or is
 * refused in words. As compiled, with the worker thread that exists only there.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Errors from '../src/errors.js';
import type * as Library from '../src/index.js';
import type { Folder } from '../src/model/index.js';
import type * as Platform from '../src/platform/node/index.js';
import type { Device, DeviceSupport } from '../src/runtime/index.js';
import type * as Runtime from '../src/runtime/index.js';
import { KV_DTYPES } from '../src/util/kv-dtype.js';
import { MATRIX_DTYPES } from '../src/util/matrix-dtype.js';

const built = (path: string) => new URL(`../dist/src/${path}`, import.meta.url);
if (!existsSync(built('index.js'))) throw new Error('dist/ is missing: run `npm run build` first.');
const { LoopLM } = (await import(built('index.js').href)) as typeof Library;
const { UnsupportedError } = (await import(built('errors.js').href)) as typeof Errors;
const { createInlineDevice } = (await import(built('runtime/index.js').href)) as typeof Runtime;
const platform = (await import(built('platform/node/index.js').href)) as typeof Platform;

const TINY = fileURLToPath(new URL('fixtures/tiny-mha', import.meta.url));
const cache = mkdtempSync(join(tmpdir(), 'looplm-device-storage-'));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

const DEVICES: readonly (readonly [string, () => Promise<Device>])[] = [
  ['a worker thread', () => platform.createNodeDevice({ numThreads: 2 })],
  ['the thread of the caller', () => createInlineDevice({ numThreads: 1 })],
];
const DTYPES = ['auto', ...MATRIX_DTYPES] as const;
const PAIRS = DTYPES.flatMap((dtype) =>
  [undefined, ...KV_DTYPES].map((kvDtype) => [dtype, kvDtype] as const),
);

/** The folder that a model is loaded from in a format, and the type of its keys and values. */
const opened = (dtype: (typeof DTYPES)[number]) =>
  platform.openPretrained(
    TINY,
    { dtype, convertedDir: cache, numThreads: 1 },
    async (folder, { device, kvDtype }) => {
      await device.dispose();
      return { folder, kvDtype };
    },
  );

/** A device that says that it can do less. */
const less = (device: Device, supports: DeviceSupport): Device =>
  new Proxy(device, {
    get(target, key) {
      if (key === 'supports') return supports;
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

describe.each(DEVICES)('%s', (_, open) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });
  afterAll(() => device.dispose());

  async function answer(folder: Folder, kvDtype: (typeof KV_DTYPES)[number] | undefined) {
    const model = await LoopLM.load(folder, { device, kvDtype });
    const { tokenIds, rollout } = await model.complete([5, 9, 2], {
      maxNewTokens: 4,
      ignoreEos: true,
      record: true,
    });
    await model.dispose();
    return { tokenIds, logprobs: rollout!.logprobs };
  }

  it.each(PAIRS)(
    'computes with weights in %s and keys and values in %s',
    async (dtype, kvDtype) => {
      const { folder } = await opened(dtype);
      const { tokenIds, logprobs } = await answer(folder, kvDtype);
      expect(tokenIds).toHaveLength(4);
      expect(logprobs.every((value) => Number.isFinite(value) && value <= 0)).toBe(true);
    },
  );

  it.each(MATRIX_DTYPES)('refuses weights in %s where it says that it has none', async (dtype) => {
    const { folder } = await opened(dtype);
    const before = await device.stats();
    const matrices = MATRIX_DTYPES.filter((other) => other !== dtype);
    const loading = LoopLM.load(folder, {
      device: less(device, { ...device.supports, matrices }),
    });
    await expect(loading).rejects.toThrow(UnsupportedError);
    await expect(loading).rejects.toThrow(
      `The model has weights in ${dtype}, and the device computes with ${matrices.join(', ')}. Load it`,
    );
    expect(await device.stats()).toEqual(before);
  });

  it.each(KV_DTYPES)('refuses keys in %s where it says that it has none', async (kvDtype) => {
    const { folder } = await opened('q8');
    const kvDtypes = KV_DTYPES.filter((other) => other !== kvDtype);
    const loading = LoopLM.load(folder, {
      device: less(device, { ...device.supports, kvDtypes }),
      kvDtype,
    });
    await expect(loading).rejects.toThrow(UnsupportedError);
    await expect(loading).rejects.toThrow(`keeps them in ${kvDtypes.join(', ')}. Choose one`);
  });
});

it.each([
  ['auto', 'f32'],
  ['f32', 'f32'],
  ['f16', 'f16'],
  ['q8', 'i8'],
  ['q4', 'i8'],
] as const)('of %s, keys and values are in %s, however it is loaded', async (dtype, kvDtype) => {
  const { folder, kvDtype: planned } = await opened(dtype);
  expect(planned).toBe(kvDtype);
  await using device = await createInlineDevice({ numThreads: 1 });
  const stores: string[] = [];
  const watched = new Proxy(device, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      return (...args: readonly unknown[]) => {
        if (key === 'createKvStore') stores.push((args[0] as { dtype: string }).dtype);
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });
  const model = await LoopLM.load(folder, { device: watched });
  expect(stores).toEqual([kvDtype]);
  await model.dispose();
});
