/**
 * The file that a run's data are in, as a text: on disk or on the hub, packed or not. Conversations in
 * parquet become lines of JSON, so that nothing behind it knows of formats.
 */
import { parquetLines } from '../../data/index.js';
import { ConfigError } from '../../errors.js';
import {
  isGzip,
  isHubAddress,
  openFile,
  readGzip,
  readTextFile,
} from '../../platform/node/index.js';
import { decodeUtf8 } from '../../util/utf8.js';

/** Brings what an address on the hub names to this disk: paths in the order of their names. */
export type Pull = (address: string) => Promise<readonly string[]>;

/**
 * @param path - of a file, or an address on the hub, of which several files are read as one
 * @throws LoopLMError if something is missing, damaged, or cannot be pulled
 */
export async function readDataFile(path: string, pull: Pull | undefined): Promise<string> {
  if (!isHubAddress(path)) return readLocal(path);
  if (!pull) throw new ConfigError('data', `${path} is on the hub. Pull it, and name the file.`);
  const texts: string[] = [];
  for (const file of await pull(path)) texts.push(await readLocal(file));
  return texts.join('\n');
}

async function readLocal(path: string): Promise<string> {
  if (isGzip(path)) return decodeUtf8(await readGzip(path), path);
  if (!path.toLowerCase().endsWith('.parquet')) return readTextFile(path);
  const file = await openFile(path);
  try {
    const lines: string[] = [];
    for await (const line of parquetLines(file)) lines.push(line);
    return lines.join('\n');
  } finally {
    await file.close();
  }
}
