/**
 * What a checkpoint is, in 64 hex digits, without reading gigabytes: the name of its conversion in the
 * cache, and how a conversion that was interrupted knows that it still has the same source.
 *
 * Small files count with their bytes. A weight file counts with its checksum where the hub's cache
 * names it, else with its length, time of change and samples of its bytes.
 */
import { createHash } from 'node:crypto';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { readAt } from '../files/index.js';
import { failRead, fileExists, readTextFile } from '../files/index.js';

/** Files about text that belong to a model; they are copied and count as they are. */
export const TEXT_FILES = [
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
  'generation_config.json',
  'merges.txt',
  'special_tokens_map.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'vocab.json',
] as const;

const NUM_SAMPLES = 64;
const SAMPLE_BYTES = 4096;
const HEADER_BYTES = 2 ** 20;

/**
 * Equal for equal checkpoints in the same place; differs when a file has changed.
 *
 * @param weightFiles - names of the files in the folder that hold weights.
 * @throws FileError if a file cannot be read.
 */
export async function fingerprintOf(
  folder: string,
  weightFiles: Iterable<string>,
): Promise<string> {
  const hash = createHash('sha256');
  for (const name of ['config.json', ...TEXT_FILES]) {
    const path = join(folder, name);
    if (name !== 'config.json' && !(await fileExists(path))) continue;
    hash.update(JSON.stringify([name, await readTextFile(path)]));
  }
  for (const name of [...weightFiles].toSorted()) {
    hash.update(JSON.stringify([name, await weightFileIdentity(join(folder, name))]));
  }
  return hash.digest('hex');
}

async function weightFileIdentity(path: string): Promise<readonly (string | number)[]> {
  const real = await realpath(path).catch((cause: unknown) => failRead(path, cause));
  const { size, mtimeMs } = await stat(real).catch((cause: unknown) => failRead(path, cause));
  const isBlob = basename(dirname(real)) === 'blobs' && /^[0-9a-f]{64}$/.test(basename(real));
  if (isBlob) return [size, basename(real)];
  const samples = createHash('sha256');
  samples.update(readAt(real, 0, Math.min(size, HEADER_BYTES)));
  for (let i = 1; i <= NUM_SAMPLES; i++) {
    const end = Math.floor((size * i) / NUM_SAMPLES);
    const start = Math.max(0, end - SAMPLE_BYTES);
    samples.update(readAt(real, start, end - start));
  }
  return [size, mtimeMs, samples.digest('hex')];
}
