/** From the name of a model to a running one: converted once, planned, or refused with the numbers. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CapacityError, ConfigError } from '../../src/errors.js';
import { LoopLM } from '../../src/loop-lm.js';
import type { PretrainedOptions } from '../../src/platform/node/index.js';
import type { MemoryPlan } from '../../src/model/index.js';
import { TINY, cli, temporaryFolder } from './support.js';

const temporary = temporaryFolder();
const cacheDir = join(temporary, 'cache');
const generate = (...flags: readonly string[]) =>
  cli(['generate', '--ids', '5,9,2', '--max-new-tokens', '4', '--model', TINY, ...flags], {
    env: { LOOPLM_CACHE: cacheDir },
  });

it('converts a checkpoint at its first use and finds it at the next', async () => {
  const first = await generate('--dtype', 'q8', '--json');
  expect(first.exitCode).toBe(0);
  expect(first.stderr).toMatch(/converting: 100 %/);
  const [folder] = readdirSync(join(cacheDir, 'converted'));
  expect(folder).toMatch(/^tiny-mha-q8-/);
  const second = await generate('--dtype', 'q8', '--json');
  expect(second.stderr).not.toContain('converting');
  expect(second.stdout).toBe(first.stdout);
});

it.each(['q4', 'q8', 'f16', 'f32'])(
  'runs %s under every KV policy and cache type',
  async (dtype) => {
    for (const kvPolicy of ['per-loop', 'last-exited', 'shared']) {
      for (const kvDtype of ['f32', 'f16', 'i8']) {
        const flags = ['--dtype', dtype, '--kv-policy', kvPolicy, '--kv-dtype', kvDtype];
        const { exitCode, stderr } = await generate(...flags, '--exit-policy', 'fixed:2');
        expect([exitCode, stderr]).toEqual([0, expect.stringContaining('mean depth 2.00')]);
      }
    }
  },
);

it('converted to f32 a model gives what it gives as it is', async () => {
  const tokens = ({ stdout }: { readonly stdout: string }) =>
    (JSON.parse(stdout) as { readonly tokenIds: readonly number[] }).tokenIds;
  const plain = await generate('--json');
  const converted = await generate('--dtype', 'f32', '--kv-dtype', 'f32', '--json');
  expect(tokens(plain)).toHaveLength(4);
  expect(tokens(converted)).toEqual(tokens(plain));
});

it('refuses what the memory cannot hold, with the plan, before anything is loaded', async () => {
  let plan: MemoryPlan | undefined;
  const options = { numSequences: 1e9, onPlan: (made: MemoryPlan) => (plan = made) };
  await expect(LoopLM.fromPretrained(TINY, options)).rejects.toThrow(CapacityError);
  await expect(LoopLM.fromPretrained(TINY, options)).rejects.toThrow(
    /needs [\d.]+ GiB of memory and/,
  );
  expect(plan!.kvBytes).toBe(plan!.kvBytesPerPosition['per-loop'] * plan!.context * 1e9);
});

it('refuses a context that the model does not have', async () => {
  await expect(LoopLM.fromPretrained(TINY, { context: 1e6 })).rejects.toThrow(ConfigError);
  const { exitCode, stderr } = await generate('--context', '1000000');
  expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/^error: The context is 1000000/)]);
});

it('refuses an option that it does not know, naming those it does', async () => {
  const loading = LoopLM.fromPretrained(TINY, { device: 'webgpu' } as PretrainedOptions);
  await expect(loading).rejects.toThrow(ConfigError);
  await expect(loading).rejects.toThrow(
    /"device" of the loading options.*Known are numThreads, dt/,
  );
});

it('refuses another format than a converted model has', async () => {
  await generate('--dtype', 'q4');
  const converted = join(cacheDir, 'converted');
  const name = readdirSync(converted).find((entry) => entry.startsWith('tiny-mha-q4'))!;
  await expect(LoopLM.fromPretrained(join(converted, name), { dtype: 'q8' })).rejects.toThrow(
    /already converted to 4-bit/,
  );
});
