/**
 * Opens a folder of shards for reading.
 */
import { join } from 'node:path';
import { Shard } from '../../../data/index.js';
import { FileError } from '../../../errors.js';
import { failRead, findFile, readAt } from '../files/index.js';
import type { ShardManifest } from './manifest.js';
import { MANIFEST_FILE, readManifest } from './manifest.js';

export interface ShardFolder {
  readonly path: string;
  readonly manifest: ShardManifest;
  readonly train: readonly Shard[];
  readonly heldOut: readonly Shard[];
}

/**
 * Opens all shards of a folder and checks their headers. Tokens are read when they are asked for.
 *
 * @throws FileError if it is no folder of shards, or one of them is missing, damaged or another one.
 */
export async function openShards(path: string): Promise<ShardFolder> {
  const manifest = await readManifest(path);
  if (!manifest) {
    throw new FileError(
      path,
      `${path} holds no ${MANIFEST_FILE}: it is no folder of tokens. Make one with looplm tokenize.`,
    );
  }
  const open = (entries: ShardManifest['train']) =>
    Promise.all(entries.map((entry) => openShard(path, entry, manifest.tokenizer.sha256)));
  return {
    path,
    manifest,
    train: await open(manifest.train),
    heldOut: await open(manifest.heldOut),
  };
}

async function openShard(
  folder: string,
  entry: ShardManifest['train'][number],
  tokenizer: string,
): Promise<Shard> {
  const path = join(folder, entry.file);
  const info = await findFile(path);
  if (!info) failRead(path, Object.assign(new Error('it is missing'), { code: 'ENOENT' }));
  const shard = new Shard({
    name: path,
    size: info.size,
    read: (offset, length) => readAt(path, offset, length),
  });
  const { header } = shard;
  if (header.crc32 === entry.crc32 && header.tokenizer === tokenizer) return shard;
  throw new FileError(
    path,
    `${path} is not the shard that ${MANIFEST_FILE} names. Make the folder again with looplm tokenize.`,
  );
}
