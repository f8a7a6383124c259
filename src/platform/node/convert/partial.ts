/**
 * The folder of a conversion that is not finished, `TARGET.partial`, and the lock in it.
 *
 * The lock is a file that its owner touches; whoever finds it untouched, or its owner dead, takes it.
 * It saves work, it is not what keeps files whole: two runs of one conversion write equal bytes to
 * equal places. It does not know what is converted.
 */
import { mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { FileError } from '../../../errors.js';
import { failWrite } from '../files.js';

/** A lock whose owner has not touched it for so long is nobody's. */
const STALE_MS = 30_000;
const TOUCH_MS = 5000;
const POLL_MS = 500;
/** A process of many gigabytes that was killed is not gone at once. */
const DYING_MS = 2000;

/** Whether to wait for another process that works on the same target, or to refuse. */
export interface LockOptions {
  readonly shouldWait: boolean;
  readonly signal: AbortSignal | undefined;
}

/** The folder of an unfinished conversion, held by this process. */
export interface PartialFolder {
  /** A folder that becomes the target. */
  readonly model: string;
  /** Path of the journal. */
  readonly journal: string;
  /** Lets go; what is there stays for the next run. */
  release(): Promise<void>;
  /** Removes all that is left. */
  remove(): Promise<void>;
}

/**
 * Takes the unfinished folder of a target, making it if needed.
 *
 * @throws FileError if another process holds it and waiting is not wanted, or it cannot be made; the
 *   signal's reason when it aborts.
 */
export async function takePartial(target: string, options: LockOptions): Promise<PartialFolder> {
  const path = `${target}.partial`;
  const lock = join(path, 'lock');
  const model = join(path, 'model');
  const start = Date.now();
  while (!(await tryLock(model, lock))) {
    options.signal?.throwIfAborted();
    if (await isStale(lock)) {
      await removeStale(lock);
    } else if (options.shouldWait || Date.now() - start < DYING_MS) {
      await wait(POLL_MS, undefined, { ...(options.signal && { signal: options.signal }) });
    } else {
      throw new FileError(
        target,
        `Another process is converting to ${target}. Wait for it, or name another folder.`,
      );
    }
  }
  const timer = setInterval(() => void touch(lock), TOUCH_MS).unref();
  const end = async (what: string) => {
    clearInterval(timer);
    await rm(what, { recursive: true, force: true });
  };
  const journal = join(path, 'journal.jsonl');
  return { model, journal, release: () => end(lock), remove: () => end(path) };
}

/** Makes the folder and its lock; false if there is a lock already. */
async function tryLock(model: string, lock: string): Promise<boolean> {
  const onFailure = (error: NodeJS.ErrnoException) => {
    // ENOENT: the owner has just finished and removed the folder
    if (error.code === 'EEXIST' || error.code === 'ENOENT') return false;
    return failWrite(lock, error);
  };
  await mkdir(model, { recursive: true }).catch((cause: unknown) => failWrite(model, cause));
  const owner = JSON.stringify({ pid: process.pid, host: hostname() });
  return writeFile(lock, owner, { flag: 'wx' }).then(() => true, onFailure);
}

const ownerSchema = z.object({ pid: z.int(), host: z.string() });

/**
 * Removes a lock whose owner is gone. One process at a time does so and looks again before: else the
 * lock of the process that was faster would be removed.
 */
async function removeStale(lock: string): Promise<void> {
  const guard = `${lock}.removing`;
  const isOurs = await writeFile(guard, '', { flag: 'wx' }).then(
    () => true,
    () => false,
  );
  if (isOurs) {
    if (await isStale(lock)) await rm(lock, { force: true });
    await rm(guard, { force: true });
    return;
  }
  const info = await stat(guard).catch(() => undefined);
  if (info && Date.now() - info.mtimeMs > STALE_MS) await rm(guard, { force: true });
  await wait(POLL_MS / 10);
}

/** Whether the owner of a lock is gone. */
async function isStale(lock: string): Promise<boolean> {
  const info = await stat(lock).catch(() => undefined);
  const text = await readFile(lock, 'utf8').catch(() => undefined);
  if (info === undefined || text === undefined) return false; // just removed
  if (Date.now() - info.mtimeMs > STALE_MS) return true;
  try {
    const { pid, host } = ownerSchema.parse(JSON.parse(text));
    return host === hostname() && !isAlive(pid);
  } catch {
    return false; // just made, and not written yet
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function touch(lock: string): Promise<void> {
  const now = new Date();
  await utimes(lock, now, now).catch(() => {}); // removed: we are done
}
