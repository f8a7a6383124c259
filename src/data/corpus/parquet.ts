/**
 * The texts of a column of a parquet file, or its rows as lines of JSON, and its row groups.
 *
 * The packages that read parquet are loaded when there is such a file.
 */
import type { FileMetaData } from 'hyparquet';
import { FileError } from '../../errors.js';
import type { ByteSource } from '../../util/folder.js';
import { strictDecoder } from '../../util/utf8.js';
import type { Stretch } from './stretch.js';

/** A row group: rows `[start, end)`, and what they take in memory. */
export interface ParquetPart extends Stretch {
  readonly bytes: number;
}

/** The row groups of a parquet file. @throws FileError if it is damaged or none */
export async function parquetParts(source: ByteSource): Promise<ParquetPart[]> {
  const { row_groups: groups } = await metadataOf(source);
  let row = 0;
  return groups.map(({ num_rows: numRows, total_byte_size: bytes }) => {
    const start = row;
    row += Number(numRows);
    return { start, end: row, bytes: Number(bytes) };
  });
}

/**
 * The texts of some rows.
 *
 * @param column - its name; of texts.
 * @throws FileError, while iterating, if the file is damaged, has no such column, or a value is no text.
 */
export async function* parquetTexts(
  source: ByteSource,
  { start, end }: Stretch,
  column: string,
): AsyncGenerator<string, void, undefined> {
  const { name } = source;
  const metadata = await metadataOf(source);
  const columns = metadata.schema.slice(1).map((element) => element.name);
  if (!columns.includes(column)) {
    throw new FileError(
      name,
      `${name} has no column ${JSON.stringify(column)}; it has ${columns.slice(0, 12).join(', ')}. Name the one that holds the text.`,
    );
  }
  // A group at a time: what is in memory is one group of one column.
  let row = 0;
  for (const group of metadata.row_groups) {
    const [first, last] = [Math.max(start, row), Math.min(end, row + Number(group.num_rows))];
    row += Number(group.num_rows);
    if (first >= last) continue;
    const rows = await readRows(source, metadata, { start: first, end: last }, [column]);
    for (const [index, { [column]: value }] of rows.entries()) {
      if (typeof value === 'string') yield value;
      else if (value !== null && value !== undefined) {
        throw new FileError(
          name,
          `${name}, row ${first + index + 1}: ${JSON.stringify(column)} is no text. Name a column of texts.`,
        );
      }
    }
  }
}

/**
 * All rows with all columns, each as a line of JSON; integers of 64 bits are numbers there.
 *
 * @throws FileError, while iterating, if the file is damaged.
 */
export async function* parquetLines(source: ByteSource): AsyncGenerator<string, void, undefined> {
  const metadata = await metadataOf(source);
  let start = 0;
  for (const { num_rows: numRows } of metadata.row_groups) {
    const end = start + Number(numRows);
    for (const row of await readRows(source, metadata, { start, end })) {
      yield JSON.stringify(row, (_, value: unknown) =>
        typeof value === 'bigint' ? Number(value) : value,
      );
    }
    start = end;
  }
}

/** @param columns - default: all */
async function readRows(
  source: ByteSource,
  metadata: FileMetaData,
  { start: rowStart, end: rowEnd }: Stretch,
  columns?: string[],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const { parquetRead } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  try {
    let rows: Record<string, unknown>[] = [];
    await parquetRead({
      file: bufferOf(source),
      metadata,
      ...(columns && { columns }),
      rowStart,
      rowEnd,
      rowFormat: 'object',
      compressors,
      parsers: {
        stringFromBytes: (bytes: Uint8Array) => bytes && strictDecoder(false).decode(bytes),
      },
      onComplete: (read) => (rows = read),
    });
    return rows;
  } catch (cause) {
    throw damaged(source, `rows ${rowStart + 1} to ${rowEnd} cannot be read`, cause);
  }
}

async function metadataOf(source: ByteSource): Promise<FileMetaData> {
  const { parquetMetadataAsync } = await import('hyparquet');
  try {
    return await parquetMetadataAsync(bufferOf(source));
  } catch (cause) {
    throw damaged(source, 'it is no parquet file, or its end is missing', cause);
  }
}

function bufferOf(source: ByteSource) {
  return {
    byteLength: source.size,
    slice: async (start: number, end = source.size) =>
      (await source.read(start, end - start)).slice().buffer,
  };
}

function damaged({ name }: ByteSource, what: string, cause: unknown): FileError {
  if (cause instanceof FileError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new FileError(name, `${name}: ${what} (${reason}). Copy the file again.`, { cause });
}
