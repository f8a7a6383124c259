/**
 * Files on disk, as the core's `Folder` and `ByteSource`.
 *
 * A file is written under a temporary name in the same directory, flushed, and renamed, so that a
 * crash at any moment leaves the old file or the new one. Every failure is a `FileError` in one line.
 * It does not know what the files hold.
 */
import { randomUUID } from 'node:crypto';
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileError } from '../../errors.js';
import type { ByteSource, Folder } from '../../util/folder.js';

const MAX_READ_BYTES = 2 ** 30; // one read moves less than 2 GiB

/** A directory as the core sees it. It is created at the first write if it does not exist. */
export function nodeFolder(path: string): Folder {
  return {
    path,
    exists: (name) => fileExists(join(path, name)),
    readText: (name) => readTextFile(join(path, name)),
    open: (name) => openFile(join(path, name)),
    write: (name, content) => writeFileAtomic(join(path, name), content),
  };
}

/** Whether something is at this path. */
export async function fileExists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** @throws FileError if the file is missing or unreadable. */
export async function readTextFile(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => failRead(path, cause));
}

/**
 * Opens a file for reading by range; the caller closes it.
 *
 * @throws FileError if it is missing, unreadable or not a regular file.
 */
export async function openFile(path: string): Promise<ByteSource> {
  const file = await open(path, 'r').catch((cause: unknown) => failRead(path, cause));
  const stat = await file.stat();
  if (!stat.isFile()) {
    await file.close();
    throw new FileError(path, `${path} is not a regular file. Give the path of a file.`);
  }
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const part = bytes.subarray(done, done + MAX_READ_BYTES);
      const { bytesRead } = await file
        .read(part, 0, part.length, offset + done)
        .catch((cause: unknown) => failRead(path, cause));
      if (bytesRead === 0) {
        throw new FileError(path, `${path} became shorter while it was read. Try again.`);
      }
      done += bytesRead;
    }
    return bytes;
  };
  return { name: path, size: stat.size, read, close: () => file.close() };
}

/**
 * Writes a file whole or not at all: until the new content is on disk, the old one stays. Makes the
 * directory if needed.
 *
 * @throws FileError if it cannot be written. What `content` throws is passed on.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Iterable<Uint8Array>,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  const onFailure = (cause: unknown) => failWrite(path, cause);
  await mkdir(dirname(path), { recursive: true }).catch(onFailure);
  const file = await open(temporary, 'wx').catch(onFailure);
  try {
    try {
      const chunks = typeof content === 'string' ? [new TextEncoder().encode(content)] : content;
      for (const chunk of chunks) {
        await file.writeFile(chunk).catch(onFailure); // continues where the last one ended
      }
      await file.sync().catch(onFailure);
    } finally {
      await file.close();
    }
    await rename(temporary, path).catch(onFailure);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist. Check the path.',
  ENOTDIR: 'lies below something that is not a folder. Check the path.',
  EISDIR: 'is a folder. Give the path of a file.',
  EACCES: 'may not be accessed by this user. Change its permissions or use another path.',
  EPERM: 'may not be accessed by this user. Change its permissions or use another path.',
  EROFS: 'is on a read-only file system. Use another path.',
  EEXIST: 'is in the way: a file is where a folder is needed. Use another path.',
  ENOSPC: 'does not fit: the disk is full. Free some space or use another path.',
  EDQUOT: 'does not fit: the quota is used up. Free some space or use another path.',
  EFBIG: 'is larger than a file may be here. Raise the limit or use another path.',
};

/** @throws FileError that says why the path cannot be read. */
export function failRead(path: string, cause: unknown): never {
  throw new FileError(path, `Cannot read ${path}: it ${reason(cause)}`, { cause });
}

/** @throws FileError that says why the path cannot be written. */
export function failWrite(path: string, cause: unknown): never {
  throw new FileError(path, `Cannot write ${path}: it ${reason(cause)}`, { cause });
}

function reason(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'an unknown error';
  return REASONS[code] ?? `gave ${code}. Check the path.`;
}
