/**
 * Files in gzip's format, unpacked: whole into memory, or once into a cache, since parts of a packed file cannot
 * be read by their place.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rename, rm, utimes } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import { FileError } from '../../../errors.js';
import { codeOf, failRead, failWrite } from './errors.js';
import { fileExists } from './read.js';
import { makeFolder } from './write.js';

/** Whether a name is that of a file in gzip's format. */
export const isGzip = (name: string): boolean => /\.gz$/i.test(name);

/** The name of what is in it. */
export const withoutGzip = (name: string): string => name.replace(/\.gz$/i, '');

/** @throws FileError if it cannot be read, or is cut off or damaged */
export async function readGzip(path: string): Promise<Uint8Array> {
  const bytes = await readFile(path).catch((cause: unknown) => failRead(path, cause));
  return promisify(gunzip)(bytes).catch((cause: unknown) => failPacked(path, cause));
}

/**
 * Unpacks a file into a folder below `cacheDir`, where it is found the next time. It has the time of change of
 * the packed one.
 *
 * @param info - of the packed file
 * @returns the path of the unpacked file, which has the name of the packed one without `.gz`
 * @throws FileError if it cannot be read or is damaged, or the cache cannot be written; the signal's reason
 */
export async function unpackGzip(
  path: string,
  { size, mtimeMs, mtime }: Pick<Stats, 'size' | 'mtimeMs' | 'mtime'>,
  cacheDir: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const identity = JSON.stringify([resolve(path), size, mtimeMs]);
  const key = createHash('sha256').update(identity).digest('hex').slice(0, 16);
  const folder = join(cacheDir, key);
  const target = join(folder, basename(withoutGzip(path)));
  if (await fileExists(target)) return target;
  await makeFolder(folder);
  const temporary = `${target}.${randomBytes(4).toString('hex')}.partial`;
  try {
    const parts = [createReadStream(path), createGunzip(), createWriteStream(temporary)] as const;
    await pipeline(...parts, { signal });
    await utimes(temporary, mtime, mtime);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    signal?.throwIfAborted();
    if (codeOf(error)?.startsWith('Z_')) failPacked(path, error);
    failWrite(target, error);
  }
  return target;
}

function failPacked(path: string, cause: unknown): never {
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new FileError(
    path,
    `${path} is no sound gzip file (${reason}). Copy or download it again.`,
    { cause },
  );
}
