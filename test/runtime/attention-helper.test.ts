/** The helper thread of attention as it is shipped: compiled, like the worker that starts it. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type * as attention from '../../src/runtime/attention/index.js';

const built = (path: string) => new URL(`../../dist/src/${path}`, import.meta.url);
const HELPER = built('platform/node/attention-helper.js');
if (!existsSync(HELPER)) throw new Error('dist/ is missing: run `npm run build` first.');

const { spawnAttentionHelper: spawnHelper } = (await import(HELPER.href)) as {
  spawnAttentionHelper: attention.SpawnHelper;
};
const { KvMemory } = (await import(built('runtime/attention/index.js').href)) as typeof attention;

/** Repeatable numbers in [-1, 1). */
const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, index) => Math.sin(index * 12.9898 + seed));

/** The results of jobs on two layers, small ones between large ones, with tables that grow. */
async function results(numThreads: number): Promise<Float32Array[]> {
  await using memory = KvMemory.create(
    { numLayers: 2, numHeads: 8, numKvHeads: 4, headDim: 64, dtype: 'f16', pageSize: 32 },
    { numThreads, spawnHelper },
  );
  const width = 4 * 64;
  return Array.from({ length: 40 }, (_, job) => {
    const pages = 1 + job;
    memory.ensurePages(pages);
    const slots = Int32Array.from({ length: 32 }, (__, offset) => job * 32 + offset);
    const layer = job % 2;
    for (const each of [0, 1]) {
      memory.write(each, slots, numbers(32 * width, job), numbers(32 * width, job + 0.5));
    }
    const table = Int32Array.from({ length: pages }, (__, page) => page);
    const out = new Float32Array(3 * 8 * 64);
    const length = job % 3 === 0 ? 32 : pages * 32;
    const batch = {
      lengths: Int32Array.of(length, length - 7, length - 31),
      groups: [
        { firstRow: 0, numRows: 2, table },
        { firstRow: 2, numRows: 1, table },
      ],
    };
    memory.attend(layer, numbers(out.length, job + 0.25), batch, out);
    return out;
  });
}

test('two threads give the bits of one', async () => {
  expect(await results(2)).toEqual(await results(1));
});

test('a process that does not dispose the memory still ends, and so does one that does', () => {
  const script = `
    const { KvMemory } = await import(${JSON.stringify(built('runtime/attention/index.js').href)});
    const { spawnAttentionHelper: spawnHelper } = await import(${JSON.stringify(HELPER.href)});
    const spec = { numLayers: 1, numHeads: 1, numKvHeads: 1, headDim: 8, dtype: 'f32', pageSize: 32 };
    const [kept, disposed] = [1, 2].map(() => KvMemory.create(spec, { numThreads: 2, spawnHelper }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await disposed.dispose();
    console.log(kept.numPages);`;
  const flags = ['--input-type=module', '--eval', script];
  const output = execFileSync(process.execPath, flags, {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    timeout: 30_000,
    encoding: 'utf8',
  });
  expect(output.trim()).toBe('0');
});
