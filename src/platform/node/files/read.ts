/**
 * Files that are read: whole as text, or by ranges. Does not know what the files hold.
 */
import type { Stats } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { FileError } from '../../../errors.js';
import type { ByteSource } from '../../../util/folder.js';
import { decodeUtf8 } from '../../../util/utf8.js';
import { codeOf, failKind, failRead } from './errors.js';

const MAX_READ_BYTES = 2 ** 30; // one read moves less than 2 GiB

/** Codes that say that there is nothing at a path; all others say that it cannot be known. */
const ABSENT = ['ENOENT', 'ENOTDIR'];

/**
 * What is at a path; undefined if nothing is, as where a link leads to nothing.
 *
 * @throws FileError if that cannot be known: a folder may not be entered, or the path is no path.
 */
export async function findFile(path: string): Promise<Stats | undefined> {
  return stat(path).catch((error: unknown) =>
    ABSENT.includes(codeOf(error) ?? '') ? undefined : failRead(path, error),
  );
}

/** Whether something is at this path. @throws FileError as `findFile` does */
export async function fileExists(path: string): Promise<boolean> {
  return (await findFile(path)) !== undefined;
}

/**
 * A file as text, without a byte-order mark.
 *
 * @throws FileError if the file is missing, unreadable, a device or not UTF-8.
 */
export async function readTextFile(path: string): Promise<string> {
  const info = await stat(path).catch((cause: unknown) => failRead(path, cause));
  // a device need not end; a pipe does, when its writer has said all
  if (info.isCharacterDevice() || info.isBlockDevice()) failKind(path, info);
  return decodeUtf8(await readFile(path).catch((cause: unknown) => failRead(path, cause)), path);
}

/**
 * Opens a file for reading by range; the caller closes it.
 *
 * @throws FileError if it is missing, unreadable or not a regular file.
 */
export async function openFile(path: string): Promise<ByteSource> {
  const onFailure = (cause: unknown) => failRead(path, cause);
  // Before it is opened: that of a pipe would wait for somebody who writes.
  const { size } = await stat(path).then(
    (info) => (info.isFile() ? info : failKind(path, info)),
    onFailure,
  );
  const file = await open(path, 'r').catch(onFailure);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const part = bytes.subarray(done, done + MAX_READ_BYTES);
      const { bytesRead } = await file.read(part, 0, part.length, offset + done).catch(onFailure);
      if (bytesRead === 0) {
        throw new FileError(path, `${path} became shorter while it was read. Try again.`);
      }
      done += bytesRead;
    }
    return bytes;
  };
  return { name: path, size, read, close: () => file.close() };
}
