/**
 * shards.json: what a folder of shards holds, how it was made, and of what.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { FileError } from '../../../errors.js';
import { findFile, readTextFile } from '../files/index.js';

export const MANIFEST_FILE = 'shards.json';

const count = z.int().min(0);
const shardSchema = z.object({ file: z.string(), tokens: count, documents: count, crc32: count });

const manifestSchema = z.object({
  format: z.literal('looplm-shards'),
  version: z.literal(1),
  /** Says of which files and with which settings it was made. */
  key: z.string(),
  tokenizer: z.object({ sha256: z.string(), vocabSize: z.int().min(1), endOfTextId: count }),
  settings: z.object({
    field: z.string(),
    separator: z.string().nullable(),
    heldOut: z.number(),
    dedupe: z.boolean(),
  }),
  source: z.object({ files: count, sizeBytes: count }),
  train: z.array(shardSchema),
  heldOut: z.array(shardSchema),
  /** Documents that were left out. */
  leftOut: z.object({ empty: count, duplicates: count }),
});

export type ShardManifest = z.output<typeof manifestSchema>;

/**
 * The manifest of a folder; undefined if it has none.
 *
 * @throws FileError if it cannot be read, or is not one.
 */
export async function readManifest(folder: string): Promise<ShardManifest | undefined> {
  const path = join(folder, MANIFEST_FILE);
  if (!(await findFile(path))) return undefined;
  try {
    return manifestSchema.parse(JSON.parse(await readTextFile(path)));
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    const message = `${path} does not describe shards of tokens, or those of another version. Make them again with looplm tokenize.`;
    throw new FileError(path, message, { cause });
  }
}
