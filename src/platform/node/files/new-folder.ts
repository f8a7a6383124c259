/**
 * A folder that appears whole or not at all: it is filled as `TARGET.partial/model`, under the lock
 * `TARGET.lock`, and gets its name when all is there.
 *
 * What a process leaves that ends before, however it ends, is found by the next one. It does not know
 * what the folder holds.
 */
import { readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError } from '../../../errors.js';
import { failWrite } from './errors.js';
import type { LockOptions } from './lock.js';
import { takeLock } from './lock.js';
import { fileExists } from './read.js';
import { makeFolder, writeFileAtomic } from './write.js';

export interface NewFolderOptions extends Pick<LockOptions, 'shouldWait' | 'onWait' | 'signal'> {
  /** What is being done, such as `converting`; for the messages of others who want the folder. */
  readonly doing: string;
  /** Says what the folder will hold: what was left of something else is removed. */
  readonly key: string;
}

/** An unfinished folder, held by this process. */
export interface NewFolder {
  /** The folder to fill. */
  readonly model: string;
  /** Path of a file beside it, for notes on what is done. */
  readonly journal: string;
  /** Gives the folder its name. */
  finish(): Promise<void>;
  /** Lets go; what is there stays for the next run. */
  release(): Promise<void>;
  /** Lets go and removes all that is left. */
  remove(): Promise<void>;
}

const JOURNAL = 'journal.jsonl';
const MODEL = 'model';
const KEY = 'key';

/**
 * Begins the folder of a target, or goes on with it.
 *
 * @param target - an absolute path without symbolic links.
 * @throws FileError if another process holds it and waiting is not wanted, or it cannot be made; the
 *   signal's reason when it aborts.
 */
export async function beginFolder(target: string, options: NewFolderOptions): Promise<NewFolder> {
  const { doing, key, ...waiting } = options;
  const remedy = 'Wait for it, or name another folder.';
  const lock = await takeLock(`${target}.lock`, {
    ...waiting,
    task: `${doing} to ${target}`,
    remedy,
  });
  const path = `${target}.partial`;
  const model = join(path, MODEL);
  try {
    await checkOurs(path);
    const found = await readFile(join(path, KEY), 'utf8').catch(() => undefined);
    if (found !== key) await rm(path, { recursive: true, force: true });
    await makeFolder(model);
    if (found !== key) await writeFileAtomic(join(path, KEY), key);
  } catch (error) {
    await lock.release();
    throw error;
  }
  return {
    model,
    journal: join(path, JOURNAL),
    async finish() {
      await lock.verify();
      await rename(model, target).catch((cause: unknown) => failWrite(target, cause));
    },
    release: () => lock.release(),
    async remove() {
      await rm(path, { recursive: true, force: true });
      await lock.release();
    },
  };
}

/** It will be removed: so it must hold nothing of anybody else. */
async function checkOurs(path: string): Promise<void> {
  if (!(await fileExists(path))) return;
  const names = await readdir(path).catch((cause: unknown) => failWrite(path, cause));
  const ours = [MODEL, JOURNAL, KEY];
  // Files with a dot are those of the system, or our own temporary ones.
  const other = names.find((name) => !ours.includes(name) && !name.startsWith('.'));
  if (other === undefined) return;
  throw new FileError(
    path,
    `${path} is needed for what is not finished, and holds ${other}. Move it away, or name another folder.`,
  );
}

/**
 * Makes way for a new folder: an empty one goes, anything else stays.
 *
 * @param what - what is there, if it is known.
 * @throws FileError if something is there.
 */
export async function makeWay(path: string, what = 'something'): Promise<void> {
  if (!(await fileExists(path))) return;
  await rmdir(path).catch((cause: unknown) => {
    const message = `${path} holds ${what} already. Name a new folder, or remove it.`;
    throw new FileError(path, message, { cause });
  });
}
