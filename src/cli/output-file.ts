/**
 * Files that a user names for the result of a command.
 *
 * The one idea: a result replaces an earlier result of the same kind, and nothing else without
 * `--force`. That is asked before the work, which may be long, and once more when the file is written.
 */
import { FileError } from '../errors.js';
import { openFile, prepareWriting, writeFileAtomic } from '../platform/node/index.js';
import { openSafetensors } from '../runtime/index.js';
import type { ByteSource } from '../util/folder.js';

/** What a command writes. */
export interface OutputKind {
  /** With its article, such as `a trace`. */
  readonly name: string;
  /** Whether an existing file is one; throwing means no. */
  isOne(file: ByteSource): Promise<boolean>;
}

/** Safetensors files that say in the entry `format` of their metadata what they are. */
export function safetensorsKind(name: string, format: string): OutputKind {
  return {
    name,
    isOne: async (file) => (await openSafetensors(file)).metadata.get('format') === format,
  };
}

/** Text of `--force`. */
export const FORCE_HELP = 'let --out replace a file of another kind';

export interface OutputFile {
  /**
   * Writes the file whole or not at all.
   *
   * @throws FileError if that is not possible (any more); the reason of the signal when it aborts
   */
  write(content: string | Iterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
}

/**
 * Makes sure that a result can be written to a path, and may be.
 *
 * @throws FileError if the path is no regular file, holds something of another kind and `force` is
 *   not set, or cannot be written.
 */
export async function openOutput(
  path: string,
  kind: OutputKind,
  { force = false }: { readonly force?: boolean },
): Promise<OutputFile> {
  const check = async () => {
    const { path: target, info } = await prepareWriting(path);
    if (force || info === undefined || info.size === 0 || (await isOfKind(target, kind))) return;
    throw new FileError(
      path,
      `${path} is there already and is not ${kind.name}. Give another path, or --force to replace it.`,
    );
  };
  await check();
  return {
    async write(content, signal) {
      await check();
      const isText = typeof content === 'string';
      await writeFileAtomic(path, isText ? content : inPieces(content, signal));
    },
  };
}

/** Bytes that are written before a signal is heard again. */
const PIECE_BYTES = 2 ** 24;

function* inPieces(
  chunks: Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Iterable<Uint8Array> {
  for (const chunk of chunks) {
    for (let start = 0; start < chunk.length; start += PIECE_BYTES) {
      signal?.throwIfAborted();
      yield chunk.subarray(start, start + PIECE_BYTES);
    }
  }
  signal?.throwIfAborted();
}

async function isOfKind(path: string, kind: OutputKind): Promise<boolean> {
  const file = await openFile(path);
  try {
    return await kind.isOne(file);
  } catch {
    return false;
  } finally {
    await file.close();
  }
}
