/** Laws of decoding: what is UTF-8 comes through, and what is not is told by its place. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { FileError } from '../errors.js';
import { decodeUtf8 } from './utf8.js';

const SEED = { seed: 20261128 };
const bytesOf = (...parts: (string | number)[]) =>
  Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))),
  );

test('every text comes back, with a byte-order mark or without', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      fc.pre(!text.startsWith('\uFEFF'));
      expect(decodeUtf8(bytesOf(text), 'a')).toBe(text);
      expect(decodeUtf8(bytesOf('\uFEFF', text), 'a')).toBe(text);
    }),
    SEED,
  );
});

test('exactly the bytes that the platform calls UTF-8 are taken', () => {
  const piece = fc.oneof(
    fc.constantFrom('a', 'é', '€', '😀').map((text) => [...Buffer.from(text)]),
    // Around the borders of the ranges that a sequence may have.
    fc.constantFrom(0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf).map((b) => [b]),
    fc.constantFrom(0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff).map((b) => [b]),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      const bytes = Uint8Array.from(pieces.flat());
      const isValid = (upTo: number) => {
        try {
          new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, upTo));
          return true;
        } catch {
          return false;
        }
      };
      if (isValid(bytes.length)) {
        expect(decodeUtf8(bytes, 'a')).toBe(new TextDecoder().decode(bytes));
        return;
      }
      // The longest part from the start that is whole is where the fault begins.
      const lengths = Array.from({ length: bytes.length }, (_, length) => length);
      const offset = lengths.findLast(isValid)!;
      expect(() => decodeUtf8(bytes, 'a')).toThrow(FileError);
      expect(() => decodeUtf8(bytes, 'a')).toThrow(
        new RegExp(`byte ${offset} is 0x|it begins as UTF-16`),
      );
    }),
    { ...SEED, numRuns: 2000 },
  );
});

describe('the message names the file, the place and the way out', () => {
  it.each([
    [
      'Latin-1',
      bytesOf('caf', 0xe9, ' au lait'),
      /^notes\.txt is not UTF-8: byte 3 is 0xE9\. .*iconv/,
    ],
    ['a cut character', bytesOf('a', 0xe2, 0x82), /byte 1 is 0xE2/],
    ['a surrogate', bytesOf('ab', 0xed, 0xa0, 0x80), /byte 2 is 0xED/],
    ['UTF-16, low byte first', Buffer.from('\uFEFFab', 'utf16le'), /begins as UTF-16LE .*UTF-16/],
    ['UTF-16, high byte first', Buffer.from('\uFEFFab', 'utf16le').swap16(), /UTF-16BE/],
  ])('%s', (_, bytes, message) => {
    expect(() => decodeUtf8(bytes, 'notes.txt')).toThrow(message);
  });
});
