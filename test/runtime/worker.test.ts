/** The worker device as it is shipped: compiled, since a worker of Node 20 cannot load TypeScript. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type * as sourceErrors from '../../src/errors.js';
import { buildGraph, input, mul, scalar } from '../../src/graph/index.js';
import { deviceConformance } from '../../src/runtime/device.conformance.js';
import { kvStoreConformance } from '../../src/runtime/kv-store.conformance.js';
import type { Device, DeviceOptions, HostTensor } from '../../src/runtime/index.js';

const built = (path: string) => new URL(`../../dist/src/${path}`, import.meta.url);
if (!existsSync(built('platform/node/worker.js'))) {
  throw new Error('dist/ is missing: run `npm run build` first.');
}
const { createNodeDevice } = (await import(built('platform/node/index.js').href)) as {
  createNodeDevice(options?: DeviceOptions): Promise<Device>;
};
const errors = (await import(built('errors.js').href)) as typeof sourceErrors;

deviceConformance('the worker device', createNodeDevice, errors);
kvStoreConformance('the worker device', createNodeDevice, errors);

test('a call in another thread leaves the fed arrays with the caller', async () => {
  const device = await createNodeDevice();
  const program = await device.compile(buildGraph({ y: mul(input('x', 'f32', ['N']), scalar(2)) }));
  const data = Float32Array.of(1, 2);
  const x: HostTensor = { dtype: 'f32', dims: [2], data };
  const pending = device.submit([{ kind: 'run', program, feeds: { x }, fetch: ['y'] }]);
  data.fill(0);
  const [result] = await pending;
  await device.dispose();
  expect([...data]).toEqual([0, 0]);
  expect([...result!['y']!.data]).toEqual([2, 4]);
});

test('a process that forgets to dispose an idle device still ends', () => {
  const script = `
    const { createNodeDevice } = await import(${JSON.stringify(built('platform/node/index.js').href)});
    const device = await createNodeDevice({ numThreads: 1 });
    await device.allocate('f32', [2]);
    console.log('idle');`;
  const flags = ['--input-type=module', '--eval', script];
  const output = execFileSync(process.execPath, flags, {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    timeout: 30_000,
    encoding: 'utf8',
  });
  expect(output.trim()).toBe('idle');
});

test('a worker that cannot start says so instead of waiting', async () => {
  // Beside the source there is no compiled worker entry.
  const { createNodeDevice: openUnbuilt } = await import('../../src/platform/node/device.js');
  await expect(openUnbuilt()).rejects.toThrow(/worker thread stopped: .*worker\.js/);
});
