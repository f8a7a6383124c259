/** Texts of parquet files as pyarrow wrote them; damaged files are told, and never read as others. */
import { readFileSync } from 'node:fs';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { describe, expect, test } from 'vitest';
import { CHAT_ROWS } from '../../../test/fixtures/chat-rows.js';
import { FileError } from '../../errors.js';
import { memorySource } from '../../util/folder.js';
import { generatorFor } from '../../util/random.js';
import { corpusTexts } from './documents.js';
import { parquetLines, parquetParts } from './parquet.js';

const bytesOf = (name: string) =>
  new Uint8Array(
    readFileSync(new URL(`../../../test/fixtures/parquet/${name}.parquet`, import.meta.url)),
  );
const TEXTS = Array.from({ length: 25 }, (_, row) => {
  if (row === 7) return undefined;
  return row === 9 ? '' : `Row ${row}: größer 😀 ${'word '.repeat(row % 7)}`;
});

async function read(
  bytes: Uint8Array,
  { field = 'text', start = 0, end = 25 }: { field?: string; start?: number; end?: number } = {},
): Promise<string[]> {
  const texts: string[] = [];
  const source = memorySource('a.parquet', bytes);
  for await (const { text } of corpusTexts(source, 'parquet', { start, end }, { field })) {
    texts.push(text);
  }
  return texts;
}

describe.each(['none', 'snappy', 'gzip', 'brotli', 'zstd'])('%s', (name) => {
  const bytes = bytesOf(name);

  test('all texts in order; rows without one are left out', async () => {
    expect(await read(bytes)).toEqual(TEXTS.filter((text) => text !== undefined));
  });

  test('any rows', async () => {
    for (const [start, end] of [
      [0, 1],
      [3, 12],
      [9, 21],
      [20, 25],
    ] as const) {
      const expected = TEXTS.slice(start, end).filter((text) => text !== undefined);
      expect(await read(bytes, { start, end })).toEqual(expected);
    }
  });

  test('its row groups', async () => {
    const parts = await parquetParts(memorySource('a.parquet', bytes));
    expect(parts.map(({ start, end }) => [start, end])).toEqual([
      [0, 10],
      [10, 20],
      [20, 25],
    ]);
  });
});

describe('told with the file', () => {
  const refusal = async (...given: Parameters<typeof read>) => {
    const error = await read(...given).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FileError);
    return (error as Error).message;
  };

  test('a column that is not there, or holds no text', async () => {
    const bytes = bytesOf('snappy');
    expect(await refusal(bytes, { field: 'body' })).toBe(
      'a.parquet has no column "body"; it has id, text, raw. Name the one that holds the text.',
    );
    expect(await refusal(bytes, { field: 'id' })).toMatch(/^a\.parquet, row 1: "id" is no text/);
  });

  test('a text that is not UTF-8', async () => {
    expect(await refusal(bytesOf('invalid-utf8'))).toMatch(
      /^a\.parquet: rows 1 to 3 cannot be read/,
    );
  });

  test('a file that is none, or is cut short anywhere', async () => {
    const bytes = bytesOf('snappy');
    expect(await refusal(new Uint8Array())).toMatch(/it is no parquet file, or its end is missing/);
    expect(await refusal(new TextEncoder().encode('not a parquet file'))).toMatch(/no parquet/);
    for (let length = 0; length < bytes.length; length += 37) {
      expect(await refusal(bytes.slice(0, length))).toMatch(/^a\.parquet: /);
    }
  });

  test('bytes that were changed: an error of the file, or texts', async () => {
    const rng = generatorFor(20261129);
    for (const name of ['snappy', 'zstd']) {
      const sound = bytesOf(name);
      for (let i = 0; i < 150; i++) {
        const bytes = sound.slice();
        bytes[uniformInt(rng, 0, bytes.length - 1)] = uniformInt(rng, 0, 255);
        const outcome = await read(bytes).catch((thrown: unknown) => thrown);
        if (!Array.isArray(outcome)) expect(outcome).toBeInstanceOf(FileError);
      }
    }
  });
});

test('rows with lists of records are lines of JSON, of all row groups', async () => {
  const lines: unknown[] = [];
  for await (const line of parquetLines(memorySource('chat.parquet', bytesOf('chat')))) {
    lines.push(JSON.parse(line));
  }
  expect(lines).toEqual(CHAT_ROWS);
});
