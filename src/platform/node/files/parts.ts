/**
 * Parts of large files, read and written in place by worker threads, which compute anyway and so need
 * not wait for the disk asynchronously.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { FileError } from '../../../errors.js';
import { failRead, failWrite } from './errors.js';

/** Bytes of a file in a new buffer. @throws FileError if they cannot be read. */
export function readAt(path: string, byteOffset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const done = withFile(path, 'r', failRead, (file) => {
    let end = 0;
    for (let count = -1; end < length && count !== 0; end += count) {
      count = readSync(file, bytes, end, length - end, byteOffset + end);
    }
    return end;
  });
  if (done === length) return bytes;
  throw new FileError(path, `${path} became shorter while it was read. Try again.`);
}

/** Writes bytes into an existing file. @throws FileError if they cannot be written. */
export function writeAt(path: string, byteOffset: number, bytes: Uint8Array): void {
  withFile(path, 'r+', failWrite, (file) => {
    for (let done = 0; done < bytes.length;) {
      done += writeSync(file, bytes, done, bytes.length - done, byteOffset + done);
    }
  });
}

function withFile<T>(
  path: string,
  flags: string,
  fail: (path: string, cause: unknown) => never,
  task: (file: number) => T,
): T {
  try {
    const file = openSync(path, flags);
    try {
      return task(file);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    fail(path, cause);
  }
}
