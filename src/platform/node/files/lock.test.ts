/** One process at a time holds a lock, and none that is gone. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileError } from '../../../errors.js';
import { nodeEntry } from '../../../../test/node-entry.js';
import { takeLock } from './index.js';

const OPTIONS = { task: 'testing', remedy: 'Wait for it.' };

let directory: string;
let path: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'looplm-lock-'));
  path = join(directory, 'run.lock');
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  fs.rmSync(directory, { recursive: true, force: true });
});

/** A process that takes the lock, runs `inside` and lets go. */
function start(inside: string, options = OPTIONS): ChildProcess {
  const script = `
    const { takeLock } = await import(${JSON.stringify(nodeEntry())});
    const fs = await import('node:fs');
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    const lock = await takeLock(${JSON.stringify(path)}, ${JSON.stringify(options)});
    ${inside}
    await lock.release();`;
  const argv = ['--input-type=module', '-e', script];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

/** A process that holds the lock until it is killed. */
async function holder(): Promise<ChildProcess> {
  const child = start(`process.stdout.write('held'); await wait(1e6);`);
  await once(child.stdout!, 'data');
  return child;
}

const refusal = async (): Promise<string> => {
  const error = await takeLock(path, OPTIONS).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(FileError);
  return (error as FileError).message;
};
const takeAndRelease = async () => (await takeLock(path, OPTIONS)).release();

it('is free again when it was let go, and leaves nothing behind', async () => {
  await takeAndRelease();
  await takeAndRelease();
  expect(fs.readdirSync(directory)).toEqual([]);
});

it('is refused within one process, too', async () => {
  const lock = await takeLock(path, OPTIONS);
  expect(await refusal()).toContain(`Process ${process.pid} has been testing since `);
  await lock.release();
});

describe('of a living process', () => {
  it('is refused with who holds it since when, and what to do', async () => {
    const child = await holder();
    expect(await refusal()).toMatch(
      new RegExp(`^Process ${child.pid} has been testing since 20\\d\\d-.* UTC\\. Wait for it\\.`),
    );
  });

  it('is refused however long it stood still', async (context) => {
    if (process.platform !== 'linux') context.skip('only Linux tells when a process began');
    const child = await holder();
    child.kill('SIGSTOP');
    fs.utimesSync(path, 1, 1);
    expect(await refusal()).toContain(`Process ${child.pid} `);
  });

  it('is waited for where that is wanted, and told once', async () => {
    const child = start(`process.stdout.write('held'); await wait(700);`);
    await once(child.stdout!, 'data');
    const messages: string[] = [];
    const onWait = (message: string) => messages.push(message);
    const lock = await takeLock(path, { ...OPTIONS, shouldWait: true, onWait });
    expect(messages).toEqual([
      expect.stringMatching(`^Waiting: Process ${child.pid} has been testing`),
    ]);
    await lock.release();
  });

  it('is not waited for any more when the signal aborts', async () => {
    await holder();
    const signal = AbortSignal.timeout(300);
    const waiting = takeLock(path, { ...OPTIONS, shouldWait: true, signal });
    await expect(waiting).rejects.toThrow(/abort/i);
  });
});

describe('is taken over', () => {
  it('at once from a process that was killed', async () => {
    const child = await holder();
    child.kill('SIGKILL');
    await once(child, 'exit');
    await takeAndRelease();
  });

  const change = (fields: object) => {
    const lock = JSON.parse(fs.readFileSync(path, 'utf8')) as object;
    fs.writeFileSync(path, JSON.stringify({ ...lock, ...fields }));
  };

  it('from a process whose number another one has now', async (context) => {
    if (process.platform !== 'linux') context.skip('only Linux tells when a process began');
    await holder();
    change({ start: '1' });
    await takeAndRelease();
  });

  it('from another machine once it has not been touched for long, and not before', async () => {
    await holder();
    change({ place: '00000000' });
    expect(await refusal()).toMatch(
      /If it is gone, try again in 30 seconds, or delete .*run\.lock/,
    );
    fs.utimesSync(path, 1, 1);
    await takeAndRelease();
  });

  it('from one that ended before it wrote its name', async () => {
    fs.writeFileSync(path, '');
    expect(await refusal()).toContain('Another process has just begun');
    fs.utimesSync(path, 1, 1);
    await takeAndRelease();
  });
});

it('a holder whose lock was taken is told before it writes', async () => {
  const lock = await takeLock(path, OPTIONS);
  await lock.verify();
  fs.writeFileSync(path, '{}');
  await expect(lock.verify()).rejects.toThrow(/another one took over testing/);
  await lock.release();
  expect(fs.readFileSync(path, 'utf8')).toBe('{}'); // it is not ours to remove
});

it('of many that want an abandoned lock, one at a time has it', async () => {
  const dead = await holder();
  dead.kill('SIGKILL');
  await once(dead, 'exit');
  const counter = join(directory, 'counter');
  fs.writeFileSync(counter, '0');
  const inside = `
    const count = Number(fs.readFileSync(${JSON.stringify(counter)}, 'utf8'));
    await wait(20);
    fs.writeFileSync(${JSON.stringify(counter)}, String(count + 1));`;
  const all = Array.from({ length: 6 }, () =>
    once(start(inside, { ...OPTIONS, shouldWait: true } as typeof OPTIONS), 'exit'),
  );
  expect((await Promise.all(all)).map(([exitCode]) => exitCode as number)).toEqual(
    Array(6).fill(0),
  );
  expect(fs.readFileSync(counter, 'utf8')).toBe('6');
});
