/** What may be written to: laws of targets, of folders, and of what a killed process leaves. */
import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileError } from '../../../errors.js';
import { nodeEntry } from '../../../../test/node-entry.js';
import { makeFolder, writeFileAtomic } from './index.js';

const isLinux = process.platform === 'linux';
const isRoot = process.getuid?.() === 0;

let directory: string;
beforeEach(() => void (directory = fs.mkdtempSync(join(tmpdir(), 'looplm-output-'))));
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

const at = (...names: string[]) => join(directory, ...names);
const refusal = async (path: string): Promise<string> => {
  const error = await writeFileAtomic(path, 'new').catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(FileError);
  return (error as FileError).message;
};

/** Runs a tool of the system; skips the test where it is missing or may not do this. */
function tool(context: TestContext, command: string, ...argv: string[]): void {
  const { status, error } = spawnSync(command, argv);
  if (error || status !== 0) context.skip(`${command} is missing or may not do this here`);
}

describe('what is no regular file is refused and stays what it is', () => {
  it('a pipe', async (context) => {
    tool(context, 'mkfifo', at('pipe'));
    expect(await refusal(at('pipe'))).toMatch(/pipe is a pipe, not a regular file/);
    expect(fs.statSync(at('pipe')).isFIFO()).toBe(true);
  });

  it('a device', async (context) => {
    tool(context, 'mknod', at('null'), 'c', '1', '3');
    expect(await refusal(at('null'))).toMatch(/null is a device/);
    expect(fs.statSync(at('null')).isCharacterDevice()).toBe(true);
  });

  it('a link to a device', async (context) => {
    tool(context, 'mknod', at('null'), 'c', '1', '3');
    fs.symlinkSync('null', at('link'));
    expect(await refusal(at('link'))).toMatch(/link is a device/);
    expect(fs.readlinkSync(at('link'))).toBe('null');
    expect(fs.statSync(at('null')).isCharacterDevice()).toBe(true);
  });

  it('a socket', async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(at('socket'), done));
    try {
      expect(await refusal(at('socket'))).toMatch(/socket is a socket/);
      expect(fs.statSync(at('socket')).isSocket()).toBe(true);
    } finally {
      server.close();
    }
  });

  it('a folder, and nothing is left beside it', async () => {
    fs.mkdirSync(at('folder'));
    expect(await refusal(at('folder'))).toMatch(/folder is a folder/);
    expect(fs.readdirSync(directory)).toEqual(['folder']);
  });
});

describe('a symbolic link', () => {
  it('stays, and the file that it leads to is replaced', async () => {
    fs.mkdirSync(at('elsewhere'));
    fs.writeFileSync(at('elsewhere', 'target'), 'old');
    fs.symlinkSync(join('elsewhere', 'target'), at('first'));
    fs.symlinkSync('first', at('second'));
    await writeFileAtomic(at('second'), 'new');
    expect(fs.readFileSync(at('elsewhere', 'target'), 'utf8')).toBe('new');
    expect([fs.readlinkSync(at('first')), fs.readlinkSync(at('second'))]).toEqual([
      join('elsewhere', 'target'),
      'first',
    ]);
    expect(fs.readdirSync(at('elsewhere'))).toEqual(['target']);
  });

  it('to nothing stays, and the file is made where it leads', async () => {
    fs.symlinkSync(join('new', 'target'), at('link'));
    await writeFileAtomic(at('link'), 'new');
    expect(fs.readFileSync(at('new', 'target'), 'utf8')).toBe('new');
    expect(fs.lstatSync(at('link')).isSymbolicLink()).toBe(true);
  });

  it('in a circle is told', async () => {
    fs.symlinkSync('b', at('a'));
    fs.symlinkSync('a', at('b'));
    expect(await refusal(at('a'))).toMatch(/links lead in a circle/);
  });
});

it('a file that is replaced keeps its permissions', async () => {
  fs.writeFileSync(at('a'), 'old', { mode: 0o640 });
  fs.chmodSync(at('a'), 0o640);
  await writeFileAtomic(at('a'), 'new');
  expect(fs.statSync(at('a')).mode & 0o777).toBe(0o640);
});

it('a name of 255 bytes is no longer than allowed, one of 256 is told', async () => {
  await writeFileAtomic(at('n'.repeat(255)), 'new');
  expect(await refusal(at('n'.repeat(256)))).toMatch(/name is longer than the file system allows/);
});

describe('a folder', () => {
  it('is made with those above it, and again without harm', async () => {
    await makeFolder(at('a', 'b', 'c'));
    await makeFolder(at('a', 'b', 'c'));
    expect(fs.statSync(at('a', 'b', 'c')).isDirectory()).toBe(true);
  });

  it('where none can be made is told, and not waited for', async (context) => {
    if (!isLinux) context.skip('needs /proc');
    await expect(makeFolder('/proc/looplm/a')).rejects.toThrow(/nothing can be made there/);
  });

  it('of a read-only file system is told as such', (context) => {
    if (!isLinux || !isRoot) context.skip('mounting needs root on Linux');
    const script = `
      const { writeFileAtomic } = await import(${JSON.stringify(nodeEntry())});
      await writeFileAtomic(${JSON.stringify(at('a', 'b'))}, 'x').catch((e) => console.log(e.message));
      await writeFileAtomic(${JSON.stringify(at('c'))}, 'x').catch((e) => console.log(e.message));`;
    const shell = 'mount -t tmpfs -o ro none "$1" && exec "$2" --input-type=module -e "$3"';
    const argv = ['-m', 'sh', '-c', shell, 'sh', directory, process.execPath, script];
    const { status, stdout, stderr } = spawnSync('unshare', argv, { encoding: 'utf8' });
    if (status !== 0) context.skip(`mounting is not possible: ${stderr}`);
    expect(stdout).toMatch(/^(Cannot write .*: it is on a read-only file system\..*\n){2}$/);
  });
});

describe('what a killed process leaves', () => {
  /** Writes in a process that kills itself half way. */
  const writeAndDie = (path: string) => {
    const script = `
      const { writeFileAtomic } = await import(${JSON.stringify(nodeEntry())});
      const content = function* () { yield Buffer.from('half'); process.kill(process.pid, 'SIGKILL'); };
      await writeFileAtomic(${JSON.stringify(path)}, content());`;
    const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
    expect(signal).toBe('SIGKILL');
  };

  it('is removed by the next one that writes there', async () => {
    writeAndDie(at('a'));
    writeAndDie(at('a'));
    expect(fs.readdirSync(directory)).toHaveLength(1);
    expect(fs.readdirSync(directory)[0]).toMatch(/^\.looplm-.*\.tmp$/);
    await writeFileAtomic(at('b'), 'whole');
    expect(fs.readdirSync(directory)).toEqual(['b']);
  });

  it('is told from what a living process, or another machine, is writing', async () => {
    writeAndDie(at('a'));
    const [left] = fs.readdirSync(directory) as [string];
    const ofElsewhere = left.replace(/looplm-[0-9a-f]{8}/, 'looplm-00000000');
    const ofNow = left.replace(/-\d+-\d+-/, `-${process.ppid}-${startOf(process.ppid)}-`);
    for (const name of [ofElsewhere, ofNow]) fs.copyFileSync(at(left), at(name));
    await writeFileAtomic(at('b'), 'whole');
    expect(fs.readdirSync(directory).toSorted()).toEqual([ofElsewhere, ofNow, 'b'].toSorted());
  });
});

/** When a process began, as /proc tells it; 0 elsewhere. */
function startOf(pid: number): string {
  if (!isLinux) return '0';
  const text = execFileSync('cat', [`/proc/${pid}/stat`], { encoding: 'utf8' });
  return text.slice(text.lastIndexOf(')')).split(' ')[20]!;
}
