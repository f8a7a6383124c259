/**
 * `--device webgpu` is decided once, before anything is converted or planned: what it does not do is
 * refused by name, and where no GPU is, one line says so. Natively, libraries write to the standard
 * error of the process, so the latter is seen in child processes only.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TINY, cli, repositoryPath, temporaryFolder } from './support.js';

const MAIN = repositoryPath('dist/src/cli/main.js');
const cache = join(temporaryFolder(), 'cache');
const GENERATE = ['generate', '--model', TINY, '--ids', '1', '--device', 'webgpu'];
const argv = (...flags: string[]) => [...GENERATE, ...flags];

describe('device webgpu refuses', () => {
  test.each([
    [['--dtype', 'q4'], /^error: dtype is q4 .* computes in f32 only\. Use dtype f32, or device/],
    [['--dtype', 'q8'], /^error: dtype is q8 .* computes in f32 only\. Use dtype f32, or device/],
    [['--dtype', 'f16'], /^error: dtype is f16 .* computes in f32 only\. Use dtype f32, or device/],
  ])('%j', async (flags, message) => {
    const { exitCode, stdout, stderr } = await cli(argv(...flags), {
      env: { LOOPLM_CACHE: cache },
    });
    expect([exitCode, stdout, existsSync(cache)]).toEqual([2, '', false]);
    expect(stderr.trimEnd()).toMatch(message);
    expect(stderr.trimEnd()).not.toContain('\n');
  });
});

test.for([[], ['--dtype', 'f32']])(
  'without a GPU, device webgpu with %j is one line on stderr',
  (flags, context) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...argv(...flags)], {
      encoding: 'utf8',
      env: { ...process.env, LOOPLM_CACHE: cache, VK_ICD_FILENAMES: join(cache, 'none.json') },
    });
    if (status === 0) context.skip('this machine has a GPU that does not go by Vulkan');
    expect([status, stdout, existsSync(cache)]).toEqual([2, '', false]);
    expect(stderr).toMatch(/^error: device "webgpu" [^\n]* device "cpu"\.\n$/);
  },
);
