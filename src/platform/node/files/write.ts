/**
 * Files that are written, whole or not at all: under a temporary name beside the target, flushed, and
 * renamed, so that a crash at any moment leaves the old file or the new one.
 *
 * Renaming would replace whatever has the name, a device or a link as well, so the target is looked
 * at first. Whether a file may be replaced is not known here: see output.ts.
 */
import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { fstatSync } from 'node:fs';
import {
  access,
  constants,
  mkdir,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { FileError } from '../../../errors.js';
import { codeOf, failKind, failWrite } from './errors.js';
import { ownerTag, parseOwnerTag, stateOf } from './owner.js';

/** The regular file that a path stands for. */
export interface WriteTarget {
  /** Without symbolic links. */
  readonly path: string;
  /** Undefined if it does not exist yet. */
  readonly info: Stats | undefined;
}

/**
 * Follows the symbolic links of a path to the file that is to be written.
 *
 * @throws FileError if something other than a regular file is there, or the standard output or error
 *   of this process.
 */
async function writeTarget(path: string): Promise<WriteTarget> {
  const onFailure = (cause: unknown) => failWrite(path, cause);
  const info = await stat(path).catch((error: unknown) =>
    codeOf(error) === 'ENOENT' ? undefined : onFailure(error),
  );
  if (info && !info.isFile()) failKind(path, info);
  if (info && [1, 2].some((descriptor) => isOpenAs(descriptor, info))) {
    throw new FileError(path, `${path} is where this program prints to. Give another path.`);
  }
  return { path: await followLinks(path).catch(onFailure), info };
}

/** Where the symbolic links of a path lead, also if nothing is there. */
export async function followLinks(path: string): Promise<string> {
  let end = path;
  // A circle was found by whoever looked at the path before.
  for (let links = 0; links < MAX_LINKS; links++) {
    const link = await readlink(end).catch(() => undefined);
    if (link === undefined) break;
    end = resolve(await realpath(dirname(end)), link);
  }
  return end;
}

/** As many as Linux follows. */
const MAX_LINKS = 40;

function isOpenAs(descriptor: number, { dev, ino }: Stats): boolean {
  try {
    const ours = fstatSync(descriptor);
    return ours.dev === dev && ours.ino === ino;
  } catch {
    return false; // closed
  }
}

/**
 * Makes a folder and those above it.
 *
 * Not by the recursive mkdir of Node.js, which says that a folder of a read-only file system does not
 * exist, and never returns in /proc.
 *
 * @throws FileError if it cannot be made.
 */
export async function makeFolder(path: string): Promise<void> {
  const error = await tryMakeFolder(path);
  if (error === undefined) return;
  if (codeOf(error) !== 'ENOENT' || dirname(path) === path) failWrite(path, error);
  await makeFolder(dirname(path));
  const again = await tryMakeFolder(path);
  if (again !== undefined) failWrite(path, again);
}

/** What keeps the folder from being made; undefined if it is there now. */
async function tryMakeFolder(path: string): Promise<unknown> {
  try {
    await mkdir(path);
    return undefined;
  } catch (error) {
    const info = await stat(path).catch(() => undefined);
    return info?.isDirectory() ? undefined : error;
  }
}

/**
 * Makes sure that a file can be written, as far as can be known before.
 *
 * @throws FileError as `writeFileAtomic` does.
 */
export async function prepareWriting(path: string): Promise<WriteTarget> {
  const target = await writeTarget(path);
  const folder = dirname(target.path);
  await makeFolder(folder);
  await access(folder, constants.W_OK).catch((cause: unknown) => failWrite(folder, cause));
  return target;
}

/**
 * Writes a file whole or not at all: until the new content is on disk, the old one stays. Makes the
 * directory if needed. A symbolic link stays, and the file that it leads to is replaced.
 *
 * @throws FileError if it cannot be written, or is no regular file. What `content` throws is passed on.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Iterable<Uint8Array>,
): Promise<void> {
  const target = await prepareWriting(path);
  const folder = dirname(target.path);
  await removeLeftovers(folder);
  const temporary = join(folder, temporaryName());
  const onFailure = (cause: unknown) => failWrite(path, cause);
  const file = await open(temporary, 'wx').catch(onFailure);
  try {
    try {
      const chunks = typeof content === 'string' ? [new TextEncoder().encode(content)] : content;
      for (const chunk of chunks) {
        await file.writeFile(chunk).catch(onFailure); // continues where the last one ended
      }
      // Not every file system has permissions.
      if (target.info) await file.chmod(target.info.mode).catch(() => {});
      await file.sync().catch(onFailure);
    } finally {
      await file.close();
    }
    await rename(temporary, target.path).catch(onFailure);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Says which process it belongs to, so that it can be removed when that is gone. */
function temporaryName(): string {
  return `.looplm-${ownerTag()}-${randomBytes(4).toString('hex')}.tmp`;
}

/** A file whose owner cannot be asked is left over after so long without a write. */
const ABANDONED_AFTER_MS = 3_600_000;

/** Folders that this process has looked through. */
const tidied = new Set<string>();

/** Removes what processes that were killed have left in a folder. */
async function removeLeftovers(folder: string): Promise<void> {
  if (tidied.has(folder)) return;
  tidied.add(folder);
  for (const name of await readdir(folder).catch(() => [])) {
    const owner = parseOwnerTag(/^\.looplm-(.+)-[0-9a-f]{8}\.tmp$/.exec(name)?.[1]);
    if (owner === undefined) continue;
    const path = join(folder, name);
    const state = stateOf(owner);
    const { mtimeMs = Infinity } = (await stat(path).catch(() => undefined)) ?? {};
    const isOld = Date.now() - mtimeMs > ABANDONED_AFTER_MS;
    if (state === 'gone' || (state === 'unknown' && isOld)) await rm(path, { force: true });
  }
}
