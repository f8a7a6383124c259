/**
 * The texts of a corpus: plain text, lines of JSON and parquet as one stream of documents.
 *
 * The one idea: whatever the format, what comes out is texts in the order of the file, one at a time,
 * each with whether a document ends with it. Files are handed in by byte ranges.
 */
import { FileError } from '../../errors.js';
import type { ByteSource } from '../../util/folder.js';
import { textBlocks } from '../text-documents.js';
import { parquetTexts } from './parquet.js';
import type { Stretch } from './stretch.js';
import { alignStretch, decodeStretch, lineAt } from './stretch.js';

/** Formats of text files, and the ends of file names that mean them. */
export const CORPUS_FORMATS = {
  jsonl: ['.jsonl', '.ndjson'],
  text: ['.txt', '.text', '.md'],
  parquet: ['.parquet'],
} as const;
export type CorpusFormat = keyof typeof CORPUS_FORMATS;

export interface CorpusOptions {
  /** Field of a line, or column, that holds the text. */
  readonly field: string;
  /** What stands between the documents of a plain text. Default: a file is one document. */
  readonly separator?: string | undefined;
}

/** A text of a corpus. */
export interface CorpusText {
  readonly text: string;
  /** False for a part of a long plain text that goes on in the next one. */
  readonly endsDocument: boolean;
}

/** Characters of a part of a plain text that is one document. */
const BLOCK_CHARACTERS = 2048;

/** Characters of a document that still fit into one string with room to work. */
const MAX_CHARACTERS = 2 ** 28;

/**
 * The texts of a part of a file; those of a plain text without separator are blocks of about 2000
 * characters that end at lines. Parts that cover a file give all its texts, each of them once.
 *
 * @param part - a stretch of bytes; of parquet, of rows.
 * @throws FileError, while iterating, that names the place of what is wrong: bytes that are not UTF-8,
 *   a line that is no object with that field, a damaged parquet file, a document that is too long.
 */
export async function* corpusTexts(
  source: ByteSource,
  format: CorpusFormat,
  part: Stretch,
  { field, separator }: CorpusOptions,
): AsyncGenerator<CorpusText, void, undefined> {
  if (format === 'parquet') {
    for await (const text of parquetTexts(source, part, field)) yield { text, endsDocument: true };
    return;
  }
  const delimiter = format === 'text' ? (separator ?? '\n') : '\n';
  const stretch = await alignStretch(source, part, new TextEncoder().encode(delimiter));
  const pieces = decodeStretch(source, stretch);
  if (format === 'text' && separator === undefined) {
    yield* blocksOf(pieces, stretch.end === source.size);
    return;
  }
  let line = 0;
  for await (const piece of split(pieces, delimiter, source)) {
    line++;
    if (format === 'text') yield { text: piece, endsDocument: true };
    else if (piece.trim() !== '') {
      const fault = (problem: string) => lineFault(source, stretch.start, line, problem);
      yield { text: await textOfLine(piece, field, fault), endsDocument: true };
    }
  }
}

/** A plain text as blocks; what is left over at the end of a piece goes to the next. */
async function* blocksOf(
  pieces: AsyncIterable<string>,
  endsFile: boolean,
): AsyncGenerator<CorpusText, void, undefined> {
  let rest = '';
  for await (const piece of pieces) {
    const blocks = textBlocks(rest + piece, BLOCK_CHARACTERS);
    rest = blocks.pop() ?? '';
    for (const text of blocks) yield { text, endsDocument: false };
  }
  if (rest !== '') yield { text: rest, endsDocument: endsFile };
}

async function* split(
  pieces: AsyncIterable<string>,
  delimiter: string,
  { name }: ByteSource,
): AsyncGenerator<string, void, undefined> {
  let rest = '';
  for await (const piece of pieces) {
    const parts = (rest + piece).split(delimiter);
    rest = parts.pop()!;
    yield* parts;
    if (rest.length <= MAX_CHARACTERS) continue;
    throw new FileError(
      name,
      `${name} has a document of more than ${MAX_CHARACTERS} characters; they are the most of one. Cut it into several.`,
    );
  }
  if (rest !== '') yield rest;
}

type LineFault = (problem: string) => Promise<FileError>;

async function lineFault(
  source: ByteSource,
  start: number,
  line: number,
  problem: string,
): Promise<FileError> {
  const number = (await lineAt(source, start)) + line - 1;
  return new FileError(source.name, `${source.name}, line ${number}: ${problem}`);
}

async function textOfLine(line: string, field: string, fault: LineFault): Promise<string> {
  const wanted = `a line must be an object with a text ${JSON.stringify(field)}`;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw await fault(`not JSON (${String(cause)}); ${wanted}. Correct the line.`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw await fault(`it is no object; ${wanted}. Correct the line.`);
  }
  const text = (value as Record<string, unknown>)[field];
  if (typeof text === 'string') return text.replace(/\p{Surrogate}/gu, '\uFFFD');
  const keys = Object.keys(value).slice(0, 8).join(', ');
  const got = text === undefined ? `it has ${keys || 'no fields'}` : `${field} is no text`;
  throw await fault(`${got}; ${wanted}. Name the field that holds the text, or correct the line.`);
}
