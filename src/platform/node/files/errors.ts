/**
 * What the system says about a path, as a sentence: the one place where its error codes are known.
 */
import type { Stats } from 'node:fs';
import { FileError } from '../../../errors.js';

/** What is the matter with the path, and what to do. "It" is the path. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist. Check the path.',
  ENOTDIR: 'it lies below something that is not a folder. Check the path.',
  EISDIR: 'it is a folder. Give the path of a file.',
  EACCES: 'it may not be accessed by this user. Change its permissions or use another path.',
  EPERM: 'it may not be accessed by this user. Change its permissions or use another path.',
  EROFS: 'it is on a read-only file system. Use another path.',
  EEXIST: 'it is in the way: a file is where a folder is needed. Use another path.',
  ENOTEMPTY: 'it is in the way: it is a folder that holds something. Use another path.',
  ENAMETOOLONG: 'its name is longer than the file system allows. Use a shorter one.',
  ELOOP: 'its symbolic links lead in a circle. Correct them, or use another path.',
  ENOSPC: 'it does not fit: the disk is full. Free some space or use another path.',
  EDQUOT: 'it does not fit: the quota is used up. Free some space or use another path.',
  EFBIG: 'it is larger than a file may be here. Raise the limit or use another path.',
  ERR_FS_FILE_TOO_LARGE: 'it is larger than what is read at once. Split it.',
  EMFILE: 'too many files are open. Raise the limit (ulimit -n), or do less at a time.',
  ENFILE: 'too many files are open on this machine. End other programs, or try later.',
  ENXIO: 'nobody is at the other end of it. Use the path of a regular file.',
  EBUSY: 'it is in use by the system. Use another path.',
  ETXTBSY: 'it is a program that is running. Use another path.',
  EIO: 'the disk reports a fault. Check the disk, or use another path.',
  ESTALE: 'its server has lost it. Check the network drive.',
  EINVAL: 'the file system does not allow this name. Use another path.',
  ERR_INVALID_ARG_VALUE: 'no name may hold a zero byte. Use another path.',
};

/** @throws FileError that says why the path cannot be read. */
export function failRead(path: string, cause: unknown): never {
  throw new FileError(path, `Cannot read ${path}: ${reason(cause)}`, { cause });
}

/** @throws FileError that says why the path cannot be written. */
export function failWrite(path: string, cause: unknown): never {
  throw writeError(path, cause);
}

/** A FileError that says why the path cannot be written. */
export function writeError(path: string, cause: unknown): FileError {
  // Folders are made as needed: where that is not possible, nothing is.
  const isNoPlace = codeOf(cause) === 'ENOENT';
  const why = isNoPlace ? 'nothing can be made there. Use another path.' : reason(cause);
  return new FileError(path, `Cannot write ${path}: ${why}`, { cause });
}

/** @throws FileError that says what is there instead of a regular file. */
export function failKind(path: string, info: Stats): never {
  throw new FileError(
    path,
    `${path} is ${kindOf(info)}, not a regular file. Give the path of a file.`,
  );
}

function kindOf(info: Stats): string {
  if (info.isDirectory()) return 'a folder';
  if (info.isFIFO()) return 'a pipe';
  return info.isSocket() ? 'a socket' : 'a device';
}

/** The system's code of an error, such as ENOENT; undefined if it has none. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function reason(cause: unknown): string {
  const code = codeOf(cause) ?? 'an unknown error';
  return REASONS[code] ?? `the system says ${code}. Check the path.`;
}
