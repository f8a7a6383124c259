/** A shard gives back what was put in, and one that was changed anywhere is refused. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FileError } from '../../errors.js';
import { concatBytes } from '../../util/folder.js';
import { crc32 } from '../../util/crc32.js';
import { documentRows, shardRows } from '../row-sets.js';
import type { TokenArray } from './format.js';
import { encodeShard } from './format.js';
import { Shard } from './reader.js';

const SEED = { seed: 20261129 };
const TOKENIZER = '0123456789abcdef';

function fileOf(bytes: Uint8Array) {
  return {
    name: 'a.shard',
    size: bytes.length,
    read: (offset: number, length: number) => bytes.slice(offset, offset + length),
  };
}

function bytesOf(documents: readonly (readonly number[])[], tokenBytes: 2 | 4): Uint8Array {
  const all = documents.flat();
  const tokens: TokenArray = tokenBytes === 2 ? Uint16Array.from(all) : Uint32Array.from(all);
  let end = 0;
  const ends = Uint32Array.from(documents, ({ length }) => (end += length));
  return concatBytes(encodeShard({ tokens, ends, tokenizer: TOKENIZER }).parts);
}

const documentsOf = (max: number) =>
  fc.array(fc.array(fc.nat({ max }), { minLength: 2, maxLength: 30 }), {
    minLength: 1,
    maxLength: 12,
  });

test.each([
  [2, 2 ** 16 - 1],
  [4, 2 ** 31 - 1],
] as const)('documents of tokens of %i bytes come back, whole and in parts', (tokenBytes, max) => {
  fc.assert(
    fc.property(documentsOf(max), fc.nat(), (documents, place) => {
      const shard = new Shard(fileOf(bytesOf(documents, tokenBytes)));
      shard.verify(2 ** 32);
      expect(shard.header.tokenizer).toBe(TOKENIZER);
      expect(shard.numDocuments).toBe(documents.length);
      documents.forEach((tokens, index) => {
        expect(shard.lengthOf(index)).toBe(tokens.length);
        const first = place % tokens.length;
        expect([...shard.read(index, first, tokens.length - first)]).toEqual(tokens.slice(first));
      });
    }),
    SEED,
  );
});

test('rows of shards are rows of the documents that they hold', () => {
  fc.assert(
    fc.property(fc.array(documentsOf(900), { minLength: 1, maxLength: 3 }), (lists) => {
      const shards = lists.map((documents) => new Shard(fileOf(bytesOf(documents, 2))));
      const rows = shardRows('shards', shards, 8);
      const expected = lists.map((documents) =>
        documentRows(
          'documents',
          documents.map((tokens) => ({ ids: tokens.slice(0, -1), targets: tokens.slice(1) })),
          8,
        ),
      );
      const plain = (set: typeof rows) =>
        Array.from({ length: set.numRows }, (_, row) =>
          set.documentsOf(row).map(({ ids, targets }) => [[...ids], [...targets]]),
        );
      expect(plain(rows)).toEqual(expected.flatMap(plain));
    }),
    SEED,
  );
});

describe('a file that is not as it was written', () => {
  const sound = bytesOf(
    [
      [1, 2, 3],
      [4, 5],
    ],
    2,
  );
  const refusal = (bytes: Uint8Array): string => {
    try {
      new Shard(fileOf(bytes)).verify(6);
    } catch (error) {
      expect(error).toBeInstanceOf(FileError);
      return (error as Error).message;
    }
    return 'none';
  };

  test('sound, it is read', () => expect(refusal(sound)).toBe('none'));

  test('any byte of it changed', () => {
    for (let at = 0; at < sound.length; at++) {
      for (const bit of [1, 128]) {
        const changed = sound.slice();
        changed[at]! ^= bit;
        expect(refusal(changed), `byte ${at}`).toMatch(/^a\.shard (is|has) .*looplm tokenize\.$/);
      }
    }
  });

  test('cut short or too long', () => {
    for (let length = 0; length < sound.length; length++) {
      expect(refusal(sound.slice(0, length))).not.toBe('none');
    }
    expect(refusal(concatBytes([sound, new Uint8Array(4)]))).toMatch(/header says/);
  });

  test('tokens beyond the vocabulary', () => {
    expect(refusal(bytesOf([[1, 6]], 2))).toMatch(/it holds token 6, and there are 6/);
  });
});

test('the checksum is that of zlib', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  expect(crc32(new TextEncoder().encode('6789'), crc32(new TextEncoder().encode('12345')))).toBe(
    0xcbf43926,
  );
});
