/**
 * One file from the hub into one blob: resumed where an earlier download stopped, hashed while it is
 * written, and renamed to its final name only if its hash is right. Nothing is held in memory.
 *
 * One process of ours at a time is at work in a repository of the cache (see pull.ts); what is not whole
 * yet has a name of our own, since the Python client may be there too.
 * It does not know snapshots or what the file is for.
 */
import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DownloadError } from '../../../errors.js';
import { failWrite, makeFolder } from '../files/index.js';
import type { HubBody, HubFile } from './protocol.js';
import type { RetryOptions } from './retry.js';
import { TransientError, withRetries } from './retry.js';

/** Opens a file for reading and writing, made if it does not exist; handed in for tests. */
export type OpenWritable = (path: string) => Promise<FileHandle>;

export interface DownloadOptions extends RetryOptions {
  /** The bytes of the file from an offset on. */
  openBody(offset: number): Promise<HubBody>;
  readonly openWritable: OpenWritable;
  /** Called with the number of bytes of the file that are on disk. */
  onProgress(bytes: number): void;
}

/**
 * Downloads a file to a blob's path. A failure leaves what has arrived to be resumed, except wrong
 * bytes, which are removed.
 *
 * @throws DownloadError if the hub does not send the file, or other bytes than it lists; FileError
 *   if they cannot be written; the signal's reason.
 */
export async function downloadBlob(
  file: HubFile,
  blobPath: string,
  options: DownloadOptions,
): Promise<void> {
  await makeFolder(dirname(blobPath));
  const path = `${blobPath}.looplm.incomplete`;
  const writer = await BlobWriter.open(path, file, options);
  try {
    await receiveWhole(writer, file, options);
    await writer.sync();
  } catch (error) {
    const isUseless = error instanceof WrongBytesError || writer.position === 0;
    if (isUseless) await rm(path, { force: true });
    throw error;
  } finally {
    await writer.close();
  }
  await rename(path, blobPath).catch((cause: unknown) => failWrite(blobPath, cause));
}

/** What arrived is not the file. */
class WrongBytesError extends DownloadError {}

async function receiveWhole(
  writer: BlobWriter,
  file: HubFile,
  options: DownloadOptions,
): Promise<void> {
  // Parts of several downloads may not fit together: then once more, from the start.
  for (let isRepeated = false; ; isRepeated = true) {
    let isOnePiece = writer.position === 0;
    await withRetries(
      async () => {
        if (writer.position === file.size) return;
        const body = await options.openBody(writer.position);
        isOnePiece = body.offset === 0;
        if (isOnePiece) await writer.restart();
        await receive(writer, body, file, options);
      },
      { ...options, progress: () => writer.furthest },
    );
    if (writer.digest() === file.hash) return;
    if (isOnePiece || isRepeated) {
      throw new WrongBytesError(
        `${file.name}: the bytes that arrived do not have the checksum ${file.hash} that the hub lists. They were removed; try again later.`,
      );
    }
    await writer.restart();
    writer.furthest = 0;
  }
}

async function receive(
  writer: BlobWriter,
  { chunks }: HubBody,
  file: HubFile,
  { signal, onProgress }: DownloadOptions,
): Promise<void> {
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    if (writer.position + chunk.length > file.size) {
      throw new WrongBytesError(
        `${file.name}: the server sends more than the ${file.size} bytes that the hub lists. Try again later.`,
      );
    }
    await writer.write(chunk);
    onProgress(writer.position);
  }
  if (writer.position < file.size) throw new TransientError('The connection was closed early');
}

/** Appends to a file and hashes what is in it. */
class BlobWriter {
  /** Bytes on disk, all of them hashed. */
  position = 0;
  /** The most bytes that were ever on disk. */
  furthest = 0;
  readonly #path: string;
  readonly #file: HubFile;
  readonly #handle: FileHandle;
  #hash: Hash;

  private constructor(path: string, file: HubFile, handle: FileHandle) {
    this.#path = path;
    this.#file = file;
    this.#handle = handle;
    this.#hash = newHash(file);
  }

  /** Hashes what an earlier download has left; more than the file holds is dropped. */
  static async open(path: string, file: HubFile, options: DownloadOptions): Promise<BlobWriter> {
    const handle = await options
      .openWritable(path)
      .catch((cause: unknown) => failWrite(path, cause));
    const writer = new BlobWriter(path, file, handle);
    try {
      await writer.#hashPresent(options);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return writer;
  }

  async #hashPresent({ signal, onProgress }: DownloadOptions): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size > this.#file.size) await this.restart();
    const buffer = new Uint8Array(2 ** 20);
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.position);
      if (bytesRead === 0) break;
      this.#append(buffer.subarray(0, bytesRead));
    }
    onProgress(this.position);
  }

  #append(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.position += bytes.length;
    this.furthest = Math.max(this.furthest, this.position);
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length;) {
      const { bytesWritten } = await this.#handle
        .write(chunk, done, chunk.length - done, this.position)
        .catch((cause: unknown) => failWrite(this.#path, cause));
      this.#append(chunk.subarray(done, done + bytesWritten));
      done += bytesWritten;
    }
  }

  async restart(): Promise<void> {
    await this.#handle.truncate(0).catch((cause: unknown) => failWrite(this.#path, cause));
    this.#hash = newHash(this.#file);
    this.position = 0;
  }

  /** The hash of all bytes, in hex; `restart` before writing more. */
  digest(): string {
    return this.#hash.digest('hex');
  }

  async sync(): Promise<void> {
    await this.#handle.sync().catch((cause: unknown) => failWrite(this.#path, cause));
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

function newHash({ hashKind, size }: HubFile): Hash {
  return hashKind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`); // as git names a file's content
}
