/**
 * Files as the core sees them: a folder of named files and a file read by byte ranges.
 *
 * The core never opens a path; it is given a `Folder`, which the platform makes from a directory and
 * `memoryFolder` from bytes. Nothing here knows what the files hold.
 */
import { CheckpointError, FileError } from '../errors.js';
import { decodeUtf8 } from './utf8.js';

/** A file that is read by ranges, so that one part of a large file costs only that part. */
export interface ByteSource {
  /** What to call the file in messages. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /**
   * Bytes `[offset, offset + length)`, which must lie inside the file: either a new buffer of
   * exactly this length, which is the caller's, or a view of a larger one, which is borrowed.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A folder of files; names are plain file names. */
export interface Folder {
  /** What to call the folder in messages. */
  readonly path: string;
  exists(name: string): Promise<boolean>;
  /** Without a byte-order mark. @throws FileError if the file is missing, unreadable or not UTF-8. */
  readText(name: string): Promise<string>;
  /**
   * The caller closes the source.
   *
   * @throws FileError if the file is missing or unreadable.
   */
  open(name: string): Promise<ByteSource>;
  /**
   * Writes a whole file, or leaves what was there as it was: a reader never sees half a file.
   *
   * @throws FileError if the folder cannot be written to.
   */
  write(name: string, content: string | Iterable<Uint8Array>): Promise<void>;
}

/** The JSON value that a file holds. @throws CheckpointError if it holds none; else as `readText` */
export async function readJson(folder: Folder, name: string): Promise<unknown> {
  const text = await folder.readText(name);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new CheckpointError(`${name} in ${folder.path} is not valid JSON. Copy the file again.`, {
      cause,
    });
  }
}

/** A source over bytes in memory; reads are views of them. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    close: async () => {},
  };
}

/** A folder over a map from file name to content; `write` replaces entries of the map. */
export function memoryFolder(path: string, files: Map<string, Uint8Array>): Folder {
  const bytesOf = (name: string): Uint8Array => {
    const bytes = files.get(name);
    if (bytes === undefined) throw new FileError(name, `${path} has no file ${name}.`);
    return bytes;
  };
  return {
    path,
    exists: async (name) => files.has(name),
    readText: async (name) => decodeUtf8(bytesOf(name), name),
    open: async (name) => memorySource(name, bytesOf(name)),
    write: async (name, content) => {
      files.set(
        name,
        typeof content === 'string' ? new TextEncoder().encode(content) : concatBytes(content),
      );
    },
  };
}

/** All chunks in one new array. */
export function concatBytes(chunks: Iterable<Uint8Array>): Uint8Array {
  const list = [...chunks];
  const bytes = new Uint8Array(list.reduce((total, chunk) => total + chunk.length, 0));
  let offset = 0;
  for (const chunk of list) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}
