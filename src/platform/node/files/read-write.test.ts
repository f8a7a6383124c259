import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileError } from '../../../errors.js';
import { loadCheckpoint, saveCheckpoint } from '../../../model/checkpoint.js';
import { nodeFolder, openFile, readTextFile, writeFileAtomic } from './index.js';

const NOBODY = 65534; // the user without rights on Linux

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'looplm-files-'));
});
afterEach(() => {
  fs.rmSync(directory, { recursive: true, force: true });
});

/** The one-line FileError that the promise rejects with. */
async function fileErrorOf(promise: Promise<unknown>): Promise<FileError> {
  const error = await promise.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(FileError);
  expect((error as FileError).message).not.toContain('\n');
  return error as FileError;
}

describe('reading', () => {
  it('a source gives the bytes of any range in an array of its own', async () => {
    const path = join(directory, 'a');
    fs.writeFileSync(path, Uint8Array.of(1, 2, 3, 4, 5));
    const source = await openFile(path);
    expect(source).toMatchObject({ name: path, size: 5 });
    expect(await source.read(1, 3)).toEqual(Uint8Array.of(2, 3, 4));
    expect(await source.read(5, 0)).toEqual(new Uint8Array(0));
    await fileErrorOf(source.read(4, 2));
    await source.close();
  });

  it('a missing file and a folder in place of a file are errors that name the path', async () => {
    const missing = join(directory, 'missing');
    expect((await fileErrorOf(openFile(missing))).message).toBe(
      `Cannot read ${missing}: it does not exist. Check the path.`,
    );
    expect((await fileErrorOf(readTextFile(missing))).path).toBe(missing);
    await fileErrorOf(openFile(directory));
    await fileErrorOf(readTextFile(directory));
    await fileErrorOf(readTextFile(join(directory, 'missing', 'deeper')));
  });

  it('a device is no text: it may never end', async (context) => {
    const path = join(directory, 'zero');
    const made = spawnSync('mknod', [path, 'c', '1', '5']);
    if (made.status !== 0) context.skip('mknod is not allowed');
    expect((await fileErrorOf(readTextFile(path))).message).toMatch(/zero is a device/);
  });

  it('a pipe is read to its end', async (context) => {
    const path = join(directory, 'pipe');
    if (spawnSync('mkfifo', [path]).status !== 0) context.skip('mkfifo is missing');
    const [text] = await Promise.all([readTextFile(path), fs.promises.writeFile(path, 'hello')]);
    expect(text).toBe('hello');
  });
});

describe('writing', () => {
  it('makes missing folders and leaves no temporary file', async () => {
    const path = join(directory, 'deep', 'er', 'a.txt');
    await writeFileAtomic(path, [Uint8Array.of(104), Uint8Array.of(105)]);
    expect(fs.readFileSync(path, 'utf8')).toBe('hi');
    await writeFileAtomic(path, 'hello');
    expect(await readTextFile(path)).toBe('hello');
    expect(fs.readdirSync(join(directory, 'deep', 'er'))).toEqual(['a.txt']);
  });

  it('a failure half way leaves the old file and no temporary one', async () => {
    const path = join(directory, 'a.txt');
    await writeFileAtomic(path, 'old');
    const failing = function* () {
      yield Uint8Array.of(1);
      throw new RangeError('half way');
    };
    await expect(writeFileAtomic(path, failing())).rejects.toThrow(RangeError);
    expect(fs.readFileSync(path, 'utf8')).toBe('old');
    expect(fs.readdirSync(directory)).toEqual(['a.txt']);
  });

  it('a path through a file and a path that is a folder are errors', async () => {
    fs.writeFileSync(join(directory, 'file'), '');
    await fileErrorOf(writeFileAtomic(join(directory, 'file', 'a'), 'x'));
    fs.mkdirSync(join(directory, 'folder', 'a'), { recursive: true });
    await fileErrorOf(writeFileAtomic(join(directory, 'folder', 'a'), 'x'));
    expect(fs.readdirSync(join(directory, 'folder'))).toEqual(['a']);
  });

  it('a folder that this user may not write to is an error that says so', async () => {
    fs.chmodSync(directory, 0o500);
    const isSuperuser = process.getuid?.() === 0; // permissions do not bind the superuser
    if (isSuperuser) process.seteuid?.(NOBODY);
    try {
      const error = await fileErrorOf(writeFileAtomic(join(directory, 'a'), 'x'));
      expect(error.message).toContain('may not be accessed by this user');
    } finally {
      if (isSuperuser) process.seteuid?.(0);
      fs.chmodSync(directory, 0o700);
    }
  });
});

describe('nodeFolder', () => {
  const fixture = new URL('../../../../test/fixtures/', import.meta.url).pathname;

  it('loads and saves checkpoints on disk, with equal bits', async () => {
    const original = await loadCheckpoint(nodeFolder(join(fixture, 'tiny-gqa-tied')));
    const folder = nodeFolder(join(directory, 'saved'));
    const { config, weights } = original;
    await saveCheckpoint(folder, config, weights, { dtype: 'bf16', extraFiles: { 'a.txt': 'a' } });
    const again = await loadCheckpoint(folder);
    expect(again.config).toEqual(config);
    for (const [name, values] of weights) {
      expect(Buffer.from(again.weights.get(name)!.buffer).equals(Buffer.from(values.buffer))).toBe(
        true,
      );
    }
    expect(fs.readdirSync(folder.path).toSorted()).toEqual([
      'a.txt',
      'config.json',
      'model.safetensors',
    ]);
  });

  it('follows the symbolic links that a hub cache is made of', async () => {
    for (const name of ['config.json', 'model.safetensors']) {
      fs.symlinkSync(join(fixture, 'tiny-mha', name), join(directory, name));
    }
    expect((await loadCheckpoint(nodeFolder(directory))).config.numLoops).toBe(4);
  });

  it('a folder that does not exist is a FileError', async () => {
    await fileErrorOf(loadCheckpoint(nodeFolder(join(directory, 'nowhere'))));
  });
});
