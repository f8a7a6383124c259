/**
 * A stretch of a text file, decoded piece by piece: large files are cut into stretches that are read
 * apart from each other, and no stretch is ever in memory as a whole.
 *
 * The one idea: a file is cut only right after a delimiter, and where that is depends on the file
 * alone, so whoever reads the stretch before and whoever reads the one after agree.
 */
import { FileError } from '../../errors.js';
import type { ByteSource } from '../../util/folder.js';
import { concatBytes } from '../../util/folder.js';
import { SAVE_AS_UTF8, invalidUtf8Offset, strictDecoder, unfinishedUtf8 } from '../../util/utf8.js';

/** Bytes `[start, end)` of a file. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

const CHUNK_BYTES = 2 ** 20;
const NEWLINE = 0x0a;

/** Moves both ends of a stretch to the place after the next delimiter, or the end of the file. */
export async function alignStretch(
  source: ByteSource,
  { start, end }: Stretch,
  delimiter: Uint8Array,
): Promise<Stretch> {
  return {
    start: await alignPlace(source, start, delimiter),
    end: await alignPlace(source, end, delimiter),
  };
}

async function alignPlace(
  source: ByteSource,
  place: number,
  delimiter: Uint8Array,
): Promise<number> {
  if (place === 0) return 0;
  const overlap = delimiter.length - 1;
  // A delimiter that ends right here counts.
  for (let at = Math.max(0, place - delimiter.length); at < source.size; at += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES + overlap, source.size - at);
    const found = indexOfBytes(await source.read(at, length), delimiter);
    if (found >= 0) return at + found + delimiter.length;
  }
  return source.size;
}

function indexOfBytes(bytes: Uint8Array, wanted: Uint8Array): number {
  const last = bytes.length - wanted.length;
  for (let at = bytes.indexOf(wanted[0]!); at >= 0 && at <= last;) {
    if (wanted.every((byte, index) => bytes[at + index] === byte)) return at;
    at = bytes.indexOf(wanted[0]!, at + 1);
  }
  return -1;
}

/**
 * The text of a stretch in pieces that do not end within a character.
 *
 * @throws FileError, while iterating, that names the line if the bytes are not UTF-8.
 */
export async function* decodeStretch(
  source: ByteSource,
  { start, end }: Stretch,
): AsyncGenerator<string, void, undefined> {
  let rest = new Uint8Array();
  for (let at = start; at < end; at += CHUNK_BYTES) {
    const bytes = concatBytes([rest, await source.read(at, Math.min(CHUNK_BYTES, end - at))]);
    const from = at - rest.length;
    const isLast = at + CHUNK_BYTES >= end;
    const whole = bytes.length - (isLast ? 0 : unfinishedUtf8(bytes));
    rest = bytes.slice(whole);
    let text: string;
    try {
      text = strictDecoder(from === 0).decode(bytes.subarray(0, whole));
    } catch {
      throw await notUtf8(source, from + (invalidUtf8Offset(bytes.subarray(0, whole)) ?? 0));
    }
    yield text;
  }
}

async function notUtf8(source: ByteSource, offset: number): Promise<FileError> {
  const { name } = source;
  const [byte] = await source.read(offset, 1);
  const shown = byte!.toString(16).padStart(2, '0').toUpperCase();
  const line = await lineAt(source, offset);
  return new FileError(
    name,
    `${name}, line ${line}: byte ${offset} of the file is 0x${shown}, which is not UTF-8. ${SAVE_AS_UTF8}`,
  );
}

/** Number of the line, from 1, that a byte of a file belongs to. */
export async function lineAt(source: ByteSource, offset: number): Promise<number> {
  let line = 1;
  for (let at = 0; at < offset; at += CHUNK_BYTES) {
    const bytes = await source.read(at, Math.min(CHUNK_BYTES, offset - at));
    for (let i = bytes.indexOf(NEWLINE); i >= 0; i = bytes.indexOf(NEWLINE, i + 1)) line++;
  }
  return line;
}
