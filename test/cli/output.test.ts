/** Where results may go: over an earlier result of the same kind, and over nothing else unasked. */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openFile } from '../../src/platform/node/files/index.js';
import { openSafetensors } from '../../src/runtime/index.js';
import { TINY, cli, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
writeFileSync(at('ids.txt'), '1 2 3 4');

const COMMANDS = {
  trace: (out: string) => ['trace', '--model', TINY, '--ids', '1,2', '--out', out],
  calibrate: (out: string) => ['calibrate', TINY, '--ids', at('ids.txt'), '--out', out],
} as const;
const formatOf = async (path: string) => {
  const file = await openFile(path);
  const { metadata } = await openSafetensors(file);
  await file.close();
  return metadata.get('format');
};

describe.each(['trace', 'calibrate'] as const)('%s', (name) => {
  const command = COMMANDS[name];
  const own = at(`${name}.safetensors`);

  test('writes a file, and over an earlier one of its kind or an empty file', async () => {
    writeFileSync(own, '');
    for (let time = 0; time < 2; time++) expect((await cli(command(own))).exitCode).toBe(0);
    expect(await formatOf(own)).toBe(name === 'trace' ? 'looplm-trace' : 'looplm-calibration');
  });

  test.each([
    ['a model', (path: string) => copyFileSync(join(TINY, 'model.safetensors'), path)],
    ['a text', (path: string) => writeFileSync(path, 'my notes')],
    ['a damaged file', (path: string) => writeFileSync(path, Buffer.alloc(100, 255))],
  ])('asks for --force before it replaces %s', async (what, make) => {
    const path = at(`${name}-${what.replaceAll(' ', '-')}`);
    make(path);
    const before = readFileSync(path);
    const { exitCode, stderr, stdout } = await cli(command(path));
    expect(stderr).toMatch(
      /^error: .* is there already and is not an? (trace|calibration)\. .*--force/,
    );
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(readFileSync(path).equals(before)).toBe(true);
    expect((await cli([...command(path), '--force'])).exitCode).toBe(0);
    expect(readFileSync(path).equals(before)).toBe(false);
  });

  test('follows a link to its target, which it judges', async () => {
    const [target, link] = [at(`${name}-target`), at(`${name}-link`)];
    symlinkSync(target, link);
    expect((await cli(command(link))).exitCode).toBe(0);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(existsSync(target)).toBe(true);
    writeFileSync(target, 'my notes');
    expect((await cli(command(link))).exitCode).toBe(2);
    expect(readFileSync(target, 'utf8')).toBe('my notes');
  });

  test('refuses a pipe, also with --force', async (context) => {
    const pipe = at(`${name}-pipe`);
    if (spawnSync('mkfifo', [pipe]).status !== 0) context.skip('mkfifo is missing');
    const { exitCode, stderr } = await cli([...command(pipe), '--force']);
    expect(stderr).toMatch(/^error: .*is a pipe, not a regular file/);
    expect(exitCode).toBe(2);
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });
});

test('chat refuses to keep a conversation in a pipe, at once', async (context) => {
  const pipe = at('chat-pipe');
  if (spawnSync('mkfifo', [pipe]).status !== 0) context.skip('mkfifo is missing');
  const { exitCode, stderr } = await cli(['chat', '--history', pipe]);
  expect(stderr).toMatch(/^error: .*chat-pipe is a pipe, not a regular file/);
  expect(exitCode).toBe(2);
});

describe.each<[string, (out: string) => string[]]>([
  ['convert', (out) => ['convert', TINY, '--dtype', 'f16', '--out', out]],
  ['random', (out) => ['random', out, '--shape', join(TINY, 'config.json')]],
])('%s', (name, command) => {
  test('follows a link to where its folder belongs', async () => {
    const [target, link] = [at(`${name}-there`), at(`${name}-here`)];
    symlinkSync(target, link);
    expect((await cli(command(link))).exitCode).toBe(0);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(existsSync(join(target, 'model.safetensors'))).toBe(true);
  });

  test('takes nothing over from something else that was not finished', async () => {
    const out = at(`${name}-stale`);
    mkdirSync(`${out}.partial/model`, { recursive: true });
    writeFileSync(`${out}.partial/model/tokenizer.json`, 'stale');
    writeFileSync(`${out}.partial/key`, 'something else');
    expect((await cli(command(out))).exitCode).toBe(0);
    expect(readdirSync(out)).not.toContain('tokenizer.json');
    expect(existsSync(`${out}.partial`)).toBe(false);
  });

  test('leaves a model, a file and what is not its own unfinished folder alone', async () => {
    const model = at(`${name}-model`);
    cpSync(TINY, model, { recursive: true });
    const file = at(`${name}-file`);
    writeFileSync(file, 'my notes');
    for (const out of [model, file]) {
      const { exitCode, stderr } = await cli(command(out));
      expect(stderr).toMatch(/^error: .* holds something already\. /);
      expect(exitCode).toBe(2);
    }
    const mine = at(`${name}-new.partial`);
    mkdirSync(mine);
    writeFileSync(join(mine, 'notes.txt'), 'my notes');
    const { exitCode, stderr } = await cli(command(at(`${name}-new`)));
    expect(stderr).toMatch(/holds notes\.txt\. Move it away/);
    expect(exitCode).toBe(2);
    expect(readFileSync(join(mine, 'notes.txt'), 'utf8')).toBe('my notes');
    expect(readFileSync(file, 'utf8')).toBe('my notes');
  });
});
