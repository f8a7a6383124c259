/**
 * A lock that one process holds at a time: a file that says who, since when and for what.
 *
 * The lock of a process that is gone, however it ended, is taken over at once. Where that cannot be
 * asked (another machine, or a system that does not tell when a process began), the file's age
 * decides: its owner touches it as long as it runs. It does not know what is locked.
 * Why not a lock of the system's: docs/decisions/2026-11-28-locks.md.
 */
import { randomUUID } from 'node:crypto';
import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { FileError } from '../../../errors.js';
import { codeOf, failWrite } from './errors.js';
import { stateOf, thisOwner } from './owner.js';
import { makeFolder } from './write.js';

const TOUCH_MS = 5000;
/** Where only its age can tell, a lock that nobody has touched for so long is nobody's. */
const STALE_MS = 30_000;
const POLL_MS = 200;
/** A process of many gigabytes that was killed is not gone at once. */
const DYING_MS = 2000;

export interface LockOptions {
  /** What the holder is doing, such as `training in runs/mine`; for the messages of the others. */
  readonly task: string;
  /** What somebody can do who cannot have it, as a sentence. */
  readonly remedy: string;
  /** Waits for another process to let go, instead of refusing. Default false. */
  readonly shouldWait?: boolean | undefined;
  /** Called once if it has to be waited for, with a sentence that says for whom. */
  readonly onWait?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A lock that this process holds. */
export interface Lock {
  /** @throws FileError if another process has taken it, which only happens to one that stood still. */
  verify(): Promise<void>;
  release(): Promise<void>;
}

const holderSchema = z.object({
  place: z.string(),
  pid: z.int().positive(),
  start: z.string(),
  host: z.string(),
  since: z.string(),
  task: z.string(),
  token: z.string(),
});
type Holder = z.output<typeof holderSchema>;

/**
 * Takes the lock of a path, which is the path of the lock's own file.
 *
 * @throws FileError if another process holds it and waiting is not wanted, or it cannot be written;
 *   the signal's reason when it aborts.
 */
export async function takeLock(path: string, options: LockOptions): Promise<Lock> {
  const { task, remedy, shouldWait = false, onWait, signal } = options;
  const since = new Date().toISOString();
  const us: Holder = { ...thisOwner(), host: hostname(), since, task, token: randomUUID() };
  const start = performance.now();
  let isTold = false;
  while (!(await tryCreate(path, us))) {
    signal?.throwIfAborted();
    const found = await readLock(path);
    if (found && isAbandoned(found)) {
      await removeAbandoned(path);
      continue;
    }
    if (found && !shouldWait && performance.now() - start > DYING_MS) {
      throw new FileError(path, `${describe(found.holder)}. ${remedy}${lastResort(path, found)}`);
    }
    if (found && shouldWait && !isTold) {
      isTold = true;
      onWait?.(`Waiting: ${describe(found.holder)}.`);
    }
    await wait(POLL_MS, undefined, signal && { signal });
  }
  const timer = setInterval(() => void touch(path), TOUCH_MS).unref();
  const isOurs = async () => (await readLock(path))?.holder?.token === us.token;
  return {
    async verify() {
      if (await isOurs()) return;
      throw new FileError(
        path,
        `This process stood still for so long that another one took over ${task}. Let that one finish.`,
      );
    },
    async release() {
      clearInterval(timer);
      if (await isOurs()) await rm(path, { force: true });
    },
  };
}

/** A lock as it is on disk. */
interface FoundLock {
  /** Undefined if it is not written yet. */
  readonly holder: Holder | undefined;
  readonly state: ReturnType<typeof stateOf>;
  readonly ageMs: number;
}

/** Undefined if there is none any more. */
async function readLock(path: string): Promise<FoundLock | undefined> {
  const info = await stat(path).catch(() => undefined);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (info === undefined || text === undefined) return undefined;
  const holder = parseHolder(text);
  const state = holder ? stateOf(holder) : 'unknown';
  return { holder, state, ageMs: Date.now() - info.mtimeMs };
}

function parseHolder(text: string): Holder | undefined {
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function isAbandoned({ state, ageMs }: FoundLock): boolean {
  return state === 'gone' || (state === 'unknown' && ageMs > STALE_MS);
}

function describe(holder: Holder | undefined): string {
  if (!holder) return 'Another process has just begun with this';
  const since = holder.since.slice(0, 19).replace('T', ' ');
  const place = holder.host === hostname() ? '' : ` on ${holder.host}`;
  return `Process ${holder.pid}${place} has been ${holder.task} since ${since} UTC`;
}

/** What to do if nobody can tell whether the holder is still there. */
function lastResort(path: string, { state }: FoundLock): string {
  if (state === 'here') return '';
  return ` If it is gone, try again in ${STALE_MS / 1000} seconds, or delete ${path}.`;
}

/** Makes the lock; false if there is one already. */
async function tryCreate(path: string, us: Holder): Promise<boolean> {
  await makeFolder(dirname(path));
  try {
    await writeFile(path, JSON.stringify(us), { flag: 'wx' });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    await rm(path, { force: true }).catch(() => {}); // made, and the disk is full
    return failWrite(path, error);
  }
}

/**
 * Removes an abandoned lock. One process at a time does so and looks again before: else the lock of
 * the process that was faster would be removed.
 */
async function removeAbandoned(path: string): Promise<void> {
  const guard = `${path}.removing`;
  const isOurs = await writeFile(guard, '', { flag: 'wx' }).then(
    () => true,
    () => false,
  );
  if (isOurs) {
    const found = await readLock(path);
    if (found && isAbandoned(found)) await rm(path, { force: true });
    await rm(guard, { force: true });
    return;
  }
  const info = await stat(guard).catch(() => undefined);
  if (info && Date.now() - info.mtimeMs > STALE_MS) await rm(guard, { force: true });
  await wait(POLL_MS);
}

async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => {}); // removed: we are done
}
