/** `looplm list` and `looplm rm`: what is in the caches, and gone when it was confirmed. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TINY, cli, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const env = { LOOPLM_CACHE: join(folder, 'looplm'), HF_HOME: join(folder, 'hf') };
const looplm = (argv: readonly string[], input = '', isTerminal = false) =>
  cli(argv, { env, input, isTerminal });

const REPO = join(env.HF_HOME, 'hub', 'models--org--tiny');
const COMMIT = 'c'.repeat(40);
mkdirSync(join(REPO, 'snapshots', COMMIT), { recursive: true });
mkdirSync(join(REPO, 'refs'));
writeFileSync(join(REPO, 'refs', 'main'), COMMIT);
writeFileSync(join(REPO, 'snapshots', COMMIT, 'config.json'), '{"torch_dtype":"bfloat16"}');
writeFileSync(join(REPO, 'snapshots', COMMIT, 'model.safetensors'), 'x'.repeat(2000));

interface Listing {
  readonly totalBytes: number;
  readonly models: readonly { readonly name: string; readonly path: string }[];
}

async function listed(): Promise<Listing> {
  return JSON.parse((await looplm(['list', '--json'])).stdout) as Listing;
}

test('list shows models with type, size, origin and state; --json their folders', async () => {
  const argv = ['generate', '--model', TINY, '--ids', '1', '--max-new-tokens', '1'];
  expect(await looplm([...argv, '--dtype', 'q8'])).toMatchObject({ exitCode: 0 });
  const { stdout, exitCode } = await looplm(['list']);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(
    /^from the hub {2}.*hub\n {2}name +type .*\n {2}org\/tiny +bfloat16 +2\.07 kB +\d{4}-\d\d-\d\d +ccccccc main\n/,
  );
  expect(stdout).toMatch(
    /\nconverted {2}.*converted\n {2}name .*\n {2}tiny-mha-q8-[0-9a-f]{16} +q8 .*fixtures\/tiny-mha\n2 models, /,
  );
  const { models, totalBytes } = await listed();
  expect(models.map(({ path }) => existsSync(path))).toEqual([true, true]);
  expect(totalBytes).toBeGreaterThan(200_000);
});

test('list says so where there is nothing', async () => {
  const { stdout } = await cli(['list'], {
    env: { LOOPLM_CACHE: join(folder, 'none'), HF_HOME: join(folder, 'none') },
  });
  expect(stdout).toMatch(/\n0 models, 0 B\n$/);
});

test('rm asks at a terminal, and takes nothing but yes for an answer', async () => {
  const { models } = await listed();
  for (const answer of ['\n', 'n\n', 'yesterday\n', '']) {
    const { exitCode, stderr } = await looplm(['rm', 'org/tiny'], answer, true);
    expect([answer, exitCode]).toEqual([answer, 0]);
    expect(stderr).toMatch(/org\/tiny {2}2\.07 kB, .*models--org--tiny\n.*Remove\? \[y\/N\]/);
    expect(stderr).toMatch(/Nothing was removed\.\n$/);
  }
  for (const flags of [[], ['--json']]) {
    const { exitCode, stderr } = await looplm(['rm', 'org/tiny', ...flags], 'y\n');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error: .*give --yes\.\n$/);
  }
  expect((await listed()).models).toEqual(models);
});

test('rm removes what was confirmed, and says what that frees', async () => {
  const { models } = await listed();
  const { name } = models.find((model) => model.name.startsWith('tiny-mha'))!;
  const first = await looplm(['rm', 'org/tiny@main'], 'y\n', true);
  expect(first).toMatchObject({ exitCode: 0, stdout: 'Removed org/tiny@ccccccc: 2.07 kB.\n' });
  const second = await looplm(['rm', name, '--yes', '--json']);
  expect(JSON.parse(second.stdout)).toMatchObject({ removed: [name] });
  expect((await listed()).models).toEqual([]);
  expect(readdirSync(join(env.HF_HOME, 'hub'))).toEqual([]);
  expect(readdirSync(join(env.LOOPLM_CACHE, 'converted'))).toEqual([]);
  const third = await looplm(['rm', name, '--yes']);
  expect(third).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('No cached model') });
});
