/**
 * Bytes of a file to text: UTF-8 with or without a byte-order mark, and nothing else.
 *
 * Bytes that are not UTF-8 are told by their place instead of being replaced, since what replaces
 * them would be trained on or answered without a word. Source: table 3-7 of the Unicode standard.
 */
import { FileError } from '../errors.js';

/**
 * The text of a file's bytes, without a byte-order mark.
 *
 * @param path - of the file, for messages.
 * @throws FileError if the bytes are not UTF-8, or more than one string can hold.
 */
export function decodeUtf8(bytes: Uint8Array, path: string): string {
  try {
    return strictDecoder().decode(bytes);
  } catch (cause) {
    const offset = invalidUtf8Offset(bytes);
    if (offset === undefined) {
      const message = `${path} has ${bytes.length} bytes, more than one text can be. Split it.`;
      throw new FileError(path, message, { cause });
    }
    throw new FileError(path, `${path} is not UTF-8: ${describe(bytes, offset)}`, { cause });
  }
}

function describe(bytes: Uint8Array, offset: number): string {
  const mark = bytes[0] === 0xff && bytes[1] === 0xfe ? 'LE' : bytes[1] === 0xff ? 'BE' : undefined;
  if (mark !== undefined && offset === 0) {
    return `it begins as UTF-16${mark} does. Save it as UTF-8, such as with iconv -f UTF-16 -t UTF-8.`;
  }
  const byte = bytes[offset]!.toString(16).padStart(2, '0').toUpperCase();
  return `byte ${offset} is 0x${byte}. ${SAVE_AS_UTF8}`;
}

/** A decoder that throws on other bytes. @param isBeginning - whether a byte-order mark is dropped. */
export function strictDecoder(isBeginning = true): TextDecoder {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: !isBeginning });
}

/** What to do with a file that is not UTF-8. */
export const SAVE_AS_UTF8 = 'Save it as UTF-8, such as with iconv -f WINDOWS-1252 -t UTF-8.';

/** Bytes at the end of a stretch of UTF-8 that begin a character and do not end it, 0 to 3. */
export function unfinishedUtf8(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue; // within a character
    const length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return back < length ? back : 0;
  }
  return 0;
}

/** Where the first sequence begins that is not a character of UTF-8; undefined if all are. */
export function invalidUtf8Offset(bytes: Uint8Array): number | undefined {
  for (let offset = 0; offset < bytes.length;) {
    const length = sequenceLength(bytes, offset);
    if (length === 0) return offset;
    offset += length;
  }
  return undefined;
}

/** Bytes of the character that begins here, 1 to 4; 0 if none does. */
function sequenceLength(bytes: Uint8Array, offset: number): number {
  const lead = bytes[offset]!;
  if (lead < 0x80) return 1;
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  for (let index = 1; index < length; index++) {
    const [low, high] = index === 1 ? secondByteRange(lead) : [0x80, 0xbf];
    const byte = bytes[offset + index] ?? 0;
    if (byte < low || byte > high) return 0;
  }
  return length;
}

/** Narrower where a longer form of a short character, a surrogate or too large a number would be. */
function secondByteRange(lead: number): readonly [number, number] {
  switch (lead) {
    case 0xe0:
      return [0xa0, 0xbf];
    case 0xed:
      return [0x80, 0x9f];
    case 0xf0:
      return [0x90, 0xbf];
    case 0xf4:
      return [0x80, 0x8f];
    default:
      return [0x80, 0xbf];
  }
}
