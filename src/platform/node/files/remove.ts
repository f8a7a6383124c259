/**
 * Folders that are removed: gone at once for everybody, and never half there under their name.
 *
 * A folder is buried, which is to say renamed, and deleted then. What a process leaves that ends in
 * between is found among the graves. No symbolic link is followed.
 */
import { randomBytes } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { lstat, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, failRead, failWrite } from './errors.js';

const GRAVE = /^\.looplm-removed-[0-9a-f]{8}$/;

/**
 * Takes the name from a folder.
 *
 * @param parent - a folder of the same file system that takes its remains.
 * @throws FileError if that is not possible.
 */
export async function buryFolder(path: string, parent: string): Promise<void> {
  const grave = join(parent, `.looplm-removed-${randomBytes(4).toString('hex')}`);
  await rename(path, grave).catch((cause: unknown) => failWrite(path, cause));
}

/** Paths of the folders that were buried in a folder. */
export async function gravesIn(parent: string): Promise<string[]> {
  const names = (await foldersIn(parent)).filter((name) => GRAVE.test(name));
  return names.map((name) => join(parent, name));
}

/** Deletes a file, or a folder with all that is in it. @throws FileError if it cannot be deleted */
export async function deletePath(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch((cause: unknown) =>
    failWrite(path, cause),
  );
}

/** Names of the folders in a folder, sorted; links are none, and what does not exist has none. */
export async function foldersIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: unknown) =>
    codeOf(cause) === 'ENOENT' ? [] : failRead(path, cause),
  );
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
}

/** All entries in a folder and below that are no folders; what cannot be read has none. */
export async function entriesBelow(path: string): Promise<readonly Dirent[]> {
  const entries = await readdir(path, { withFileTypes: true, recursive: true }).catch(() => []);
  return entries.filter((entry) => !entry.isDirectory());
}

/** What a folder takes on the disk. */
interface FolderSize {
  readonly sizeBytes: number;
  /** When its newest file was written; undefined if it has none. */
  readonly modified: Date | undefined;
}

/** Adds up the files in a folder and below; what a symbolic link leads to does not count. */
export async function measureFolder(path: string): Promise<FolderSize> {
  let sizeBytes = 0;
  let modified: Date | undefined;
  for (const entry of await entriesBelow(path)) {
    if (!entry.isFile()) continue;
    const info = await lstat(join(entry.parentPath, entry.name)).catch(() => undefined);
    if (info === undefined) continue; // removed meanwhile
    sizeBytes += info.size;
    if (modified === undefined || info.mtime > modified) modified = info.mtime;
  }
  return { sizeBytes, modified };
}
