/** `looplm pull`: what it says and prints, and that it goes on wherever it was stopped. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { noise, PULLED, setUpHub } from '../hub/hub-client.js';
import { COMMIT, hashOf, MODEL } from '../hub/hub-server.js';
import type { CliOptions } from './run-cli.js';
import { cli, repositoryPath } from './support.js';

const MAIN = repositoryPath('dist/src/cli/main.js');
const hubTest = setUpHub();

const env = () => hubTest.platform.env;
const pull = (flags: readonly string[] = [], options: CliOptions = {}) =>
  cli(['pull', MODEL, ...flags], { env: env(), ...options });
const repoPath = (...parts: string[]) => join(hubTest.cache, 'models--org--tiny', ...parts);
const partials = () =>
  readdirSync(repoPath('blobs')).filter((name) => name.endsWith('.incomplete'));

describe('pull', () => {
  test('prints where the model is, and lines of progress on stderr', async () => {
    const { exitCode, stdout, stderr } = await pull();
    expect({ exitCode, stdout }).toEqual({
      exitCode: 0,
      stdout: `5 files, 514 kB, in ${repoPath('snapshots', COMMIT)}\n`,
    });
    expect(stderr).toMatch(/^(?:[\w.]+: [\d.]+ ?k?B of 514 kB\n)+$/);
  });

  test('--json prints path, commit and files, offline the same', async () => {
    const online = await pull(['--json']);
    const printed = JSON.parse(online.stdout) as { files: { name: string }[] };
    expect(printed).toMatchObject({ path: repoPath('snapshots', COMMIT), revision: COMMIT });
    expect(printed.files.map(({ name }) => name).toSorted()).toEqual(PULLED);
    hubTest.hub.seen.length = 0;
    const offline = await pull(['--json', '--offline']);
    expect(offline.exitCode).toBe(0);
    expect(offline.stderr).toBe('');
    expect(hubTest.hub.seen).toEqual([]);
  });

  test('--revision and --cache-dir choose what and where', async () => {
    const cacheDir = join(hubTest.folder, 'other');
    const { stdout } = await pull(['--revision', COMMIT, '--cache-dir', cacheDir]);
    expect(stdout).toContain(` in ${cacheDir}`);
    expect(readdirSync(join(cacheDir, 'models--org--tiny'))).not.toContain('refs');
  });

  test.each<[string, readonly string[], RegExp]>([
    ['a malformed name', ['pull', 'tiny'], /ORG\/NAME/],
    ['an unknown model', ['pull', 'org/other'], /has no model org\/other/],
    ['an unknown revision', ['pull', MODEL, '--revision', 'v9'], /has no revision "v9"/],
    ['a model that is not in the cache', ['pull', MODEL, '--offline'], /offline mode is on/],
  ])('%s is one line and exit code 2', async (_, argv, message) => {
    const { exitCode, stdout, stderr } = await cli(argv, { env: env() });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toMatch(/^error: .*\n$/);
    expect(stderr).toMatch(message);
  });

  test('Ctrl-C ends with code 130, says that it can go on, and it does', async () => {
    hubTest.hub.files.set('model.safetensors', noise(500_000));
    hubTest.hub.bytesPerSecond = 4_000_000;
    const stopped = await pull([], { interrupts: 'at progress' });
    expect(stopped.exitCode).toBe(130);
    expect(stopped.stdout).toBe('');
    expect(stopped.stderr).toMatch(/\nStopped\. .*the same command goes on from there\.\n$/);
    expect((await pull()).exitCode).toBe(0);
  });
});

describe('the process', () => {
  const CONTENT = noise(1_500_000);
  const start = () =>
    spawn(process.execPath, [MAIN, 'pull', MODEL], {
      env: { ...process.env, ...env() },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  const exitOf = async (child: ChildProcess): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode;
  };
  /** Waits until something of the weights is on disk. */
  const firstBytes = (child: ChildProcess) =>
    new Promise<void>((done) => {
      let text = '';
      child.stderr!.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (/model\.safetensors: [\d.]+ [kM]B/.test(text)) done(); // the others have less
      });
    });
  const expectWhole = () => {
    const weights = readFileSync(repoPath('snapshots', COMMIT, 'model.safetensors'));
    expect(weights.equals(CONTENT)).toBe(true);
    expect(partials()).toEqual([]);
  };

  test('killed at any moment leaves what the next one completes, with equal bytes', async () => {
    hubTest.hub.files.set('model.safetensors', CONTENT);
    hubTest.hub.bytesPerSecond = 3_000_000;
    // Before, while and after the weights come, at moments that the seed fixes.
    const kills = [...noise(5)].map((byte, i) => ({ waits: i % 3 > 0, ms: byte }));
    for (const { waits, ms } of kills) {
      const child = start();
      if (waits) await firstBytes(child);
      await delay(ms);
      child.kill('SIGKILL');
      await exitOf(child);
    }
    expect(await exitOf(start())).toBe(0);
    expectWhole();
    const starts = hubTest.hub
      .downloads('model.safetensors')
      .map(({ range }) => Number(range?.slice('bytes='.length, -1) ?? 0));
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    expect(starts.at(-1)).toBeGreaterThan(0);
  });

  test('interrupted exits with 130 and leaves a part that the next one takes over', async () => {
    hubTest.hub.files.set('model.safetensors', CONTENT);
    hubTest.hub.bytesPerSecond = 3_000_000;
    const child = start();
    await firstBytes(child);
    child.kill('SIGINT');
    expect(await exitOf(child)).toBe(130);
    expect(partials()).toHaveLength(1);
    delete hubTest.hub.bytesPerSecond;
    expect(await exitOf(start())).toBe(0);
    expectWhole();
    expect(hubTest.hub.downloads('model.safetensors').at(-1)!.range).toMatch(/^bytes=\d+-$/);
  });

  test('beside another one that pulls the same ends like it', async () => {
    hubTest.hub.files.set('model.safetensors', CONTENT);
    hubTest.hub.bytesPerSecond = 6_000_000;
    const children = [start(), start()];
    expect(await Promise.all(children.map(exitOf))).toEqual([0, 0]);
    expectWhole();
    expect(hubTest.hub.downloads('model.safetensors')).toHaveLength(1);
    const hash = hashOf('model.safetensors', CONTENT);
    expect(readdirSync(repoPath('blobs'))).toContain(hash);
  });

  test('moved elsewhere, a cache still holds the model, since its links are relative', async () => {
    await pull();
    const cacheDir = join(hubTest.folder, 'moved');
    cpSync(hubTest.cache, cacheDir, { recursive: true, verbatimSymlinks: true });
    rmSync(hubTest.cache, { recursive: true });
    const { exitCode, stdout } = await pull(['--offline', '--cache-dir', cacheDir]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^5 files/);
  });
});
