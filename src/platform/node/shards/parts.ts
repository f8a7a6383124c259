/**
 * A corpus cut into parts of about equal size: each is worked on by itself, in any order, and becomes
 * a shard of its own, so that results do not depend on how many threads there are.
 */
import type { CorpusFormat, Stretch } from '../../../data/index.js';
import { parquetParts } from '../../../data/index.js';
import { openFile } from '../files/index.js';
import type { CorpusFile } from './find-files.js';

/** A stretch of bytes of a file; of parquet, of rows. */
export interface CorpusRange extends Stretch {
  readonly path: string;
  readonly format: CorpusFormat;
}

/** Ranges that are worked on together. */
export interface CorpusPart {
  readonly ranges: readonly CorpusRange[];
  readonly sizeBytes: number;
}

/** Small enough that its tokens fit into a thread's memory several times over. */
const PART_BYTES = 2 ** 24;

/** @throws FileError if a file cannot be read or is no parquet file though it should be */
export async function planParts(files: readonly CorpusFile[]): Promise<CorpusPart[]> {
  const parts: CorpusPart[] = [];
  let ranges: CorpusRange[] = [];
  let sizeBytes = 0;
  const endPart = () => {
    if (ranges.length > 0) parts.push({ ranges, sizeBytes });
    ranges = [];
    sizeBytes = 0;
  };
  for (const file of files) {
    for (const { start, end, bytes } of await stretchesOf(file)) {
      if (sizeBytes + bytes > PART_BYTES) endPart();
      ranges.push({ path: file.path, format: file.format, start, end });
      sizeBytes += bytes;
    }
  }
  endPart();
  return parts;
}

async function stretchesOf({
  path,
  format,
  sizeBytes,
}: CorpusFile): Promise<readonly (Stretch & { readonly bytes: number })[]> {
  if (format !== 'parquet') {
    return Array.from({ length: Math.ceil(sizeBytes / PART_BYTES) }, (_, index) => {
      const start = index * PART_BYTES;
      const end = Math.min(sizeBytes, start + PART_BYTES);
      return { start, end, bytes: end - start };
    });
  }
  const source = await openFile(path);
  try {
    return await parquetParts(source);
  } finally {
    await source.close();
  }
}
