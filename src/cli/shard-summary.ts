/**
 * What a folder of shards holds, as lines of text.
 */
import type { ShardFolder, ShardManifest } from '../platform/node/index.js';
import type { CliIo } from './io.js';
import { openLateProgress } from './byte-progress.js';
import { short, shortBytes, table } from './table.js';

export function shardLines(manifest: ShardManifest): string[] {
  const { settings, source, leftOut, tokenizer } = manifest;
  const row = (name: string, shards: ShardManifest['train']) => [
    name,
    short(shards.reduce((sum, { tokens }) => sum + tokens, 0)),
    short(shards.reduce((sum, { documents }) => sum + documents, 0)),
    String(shards.length),
  ];
  const lost = [
    `${leftOut.empty} empty documents`,
    ...(settings.dedupe ? [`${leftOut.duplicates} copies`] : []),
  ];
  return [
    ...table([
      ['', 'tokens', 'documents', 'shards'],
      row('train', manifest.train),
      row('held out', manifest.heldOut),
    ]),
    `  from ${source.files === 1 ? 'one file' : `${source.files} files`} of ${shortBytes(source.sizeBytes)}; left out: ${lost.join(', ')}`,
    `  tokenizer ${tokenizer.sha256} of ${tokenizer.vocabSize} tokens; ${settings.heldOut} of the documents held out`,
  ];
}

/** Reads all tokens once. @throws FileError if a shard is damaged */
export function verifyShards({ train, heldOut, manifest }: ShardFolder, io: CliIo): void {
  const progress = openLateProgress(io, 'checking', ' shards');
  const all = [...train, ...heldOut];
  try {
    for (const [index, shard] of all.entries()) {
      shard.verify(manifest.tokenizer.vocabSize);
      progress.show(index + 1, all.length);
    }
  } finally {
    progress.stop();
  }
}
