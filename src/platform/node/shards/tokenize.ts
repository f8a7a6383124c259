/**
 * Makes a folder of shards out of a corpus: threads take part after part, and the folder gets its name
 * when all is there.
 *
 * A part that is written stays written: a run that ended at any moment is continued by the next one
 * with the same files and settings, and ends in the same bytes. Memory does not grow with the corpus.
 */
import { createHash } from 'node:crypto';
import { readFile, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { CorpusFormat, CorpusOptions } from '../../../data/index.js';
import { ConfigError } from '../../../errors.js';
import type { NewFolder } from '../files/index.js';
import { beginFolder, fileExists, followLinks, makeWay, writeFileAtomic } from '../files/index.js';
import type { TaskPoolOptions } from '../task-pool.js';
import { checkNumWorkers, runTasks } from '../task-pool.js';
import { threadEntry } from '../thread-entry.js';
import { firstOfEach } from './duplicates.js';
import type { CorpusFile, FindOptions } from './find-files.js';
import { findCorpusFiles } from './find-files.js';
import type { ShardManifest } from './manifest.js';
import { MANIFEST_FILE, readManifest } from './manifest.js';
import type { PartContext, PartResult, PartTask } from './part-shards.js';
import { isPartNote, partNote } from './part-shards.js';
import { planParts } from './parts.js';

export interface TokenizeOptions extends TaskPoolOptions, CorpusOptions {
  readonly tokenizer: {
    /** Text of its tokenizer.json, and the first 16 hexadecimal digits of its SHA-256. */
    readonly json: string;
    readonly sha256: string;
    readonly vocabSize: number;
    /** Token that ends a document. */
    readonly endOfTextId: number;
  };
  /** Of all files. Default: what their names end in. */
  readonly format?: CorpusFormat | undefined;
  /** Part of the documents that is held out, 0 to 0.5. */
  readonly heldOut: number;
  /** Leaves out documents that are equal to an earlier one. */
  readonly dedupe: boolean;
  /** Says where the cache of looplm is, for packed files. Default: the environment of the process. */
  readonly env?: FindOptions['env'];
  /** Text files to write beside the shards, by file name. */
  readonly extraFiles?: Readonly<Record<string, string>>;
  readonly progress?: (progress: {
    readonly doneBytes: number;
    readonly totalBytes: number;
  }) => void;
}

/**
 * Tokenises files, folders and patterns into a new folder, which appears whole or not at all. The
 * same call goes on with what was interrupted, and leaves as it is what is finished.
 *
 * @throws ConfigError if a setting is out of range or the format of a file is not known; FileError if a
 *   file cannot be read or has a wrong place, which is named, the target holds something else or is
 *   being written, or the disk is full; the signal's reason when it aborts.
 */
export async function tokenizeCorpus(
  paths: readonly string[],
  target: string,
  options: TokenizeOptions,
): Promise<ShardManifest> {
  checkOptions(options);
  const files = await findCorpusFiles(paths, options.format, options);
  const path = await followLinks(resolve(target));
  const key = keyOf(files, options);
  const finished = await findFinished(path, key);
  if (finished) return finished;
  const { signal } = options;
  const folder = await beginFolder(path, { doing: 'tokenising', key, signal });
  try {
    const manifest = await fill(files, key, folder, options);
    await removeNotes(folder.model);
    await makeWay(path);
    await folder.finish();
    await folder.remove();
    return manifest;
  } catch (error) {
    await folder.release();
    throw error;
  }
}

async function findFinished(path: string, key: string): Promise<ShardManifest | undefined> {
  if (!(await fileExists(path))) return undefined;
  const manifest = await readManifest(path);
  if (manifest?.key === key) return manifest;
  await makeWay(path, manifest && 'shards of other files or with other settings');
  return undefined;
}

/** Version of the files that are written; another version is another folder. */
const FORMAT_VERSION = 1;

function keyOf(files: readonly CorpusFile[], options: TokenizeOptions): string {
  const { tokenizer, field, separator, heldOut, dedupe } = options;
  const identity = [FORMAT_VERSION, tokenizer.sha256, tokenizer.endOfTextId];
  const settings = [field, separator ?? null, heldOut, dedupe];
  return createHash('sha256')
    .update(JSON.stringify([identity, settings, files]))
    .digest('hex');
}

async function fill(
  files: readonly CorpusFile[],
  key: string,
  { model: folder }: NewFolder,
  options: TokenizeOptions,
): Promise<ShardManifest> {
  const earlier = await readManifest(folder); // of a run that ended just before its end
  if (earlier) return earlier;
  const { tokenizer, field, separator, heldOut, dedupe, extraFiles = {} } = options;
  const parts = await planParts(files);
  const context: PartContext = {
    folder,
    field,
    separator,
    heldOut,
    tokenizerJson: tokenizer.json,
    tokenizer: tokenizer.sha256,
    endOfTextId: tokenizer.endOfTextId,
    tokenBytes: tokenizer.vocabSize <= 2 ** 16 ? 2 : 4,
  };
  const tasks = parts.map((part, index): PartTask => ({ ...part, index, job: 'write' }));
  const results = await runParts(tasks, context, options);
  for (const [name, text] of Object.entries(extraFiles)) {
    await writeFileAtomic(join(folder, name), text);
  }
  const manifest: ShardManifest = {
    format: 'looplm-shards',
    version: FORMAT_VERSION,
    key,
    tokenizer: {
      sha256: tokenizer.sha256,
      vocabSize: tokenizer.vocabSize,
      endOfTextId: tokenizer.endOfTextId,
    },
    settings: { field, separator: separator ?? null, heldOut, dedupe },
    source: {
      files: files.length,
      sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    },
    train: results.flatMap(({ train = [] }) => train),
    heldOut: results.flatMap(({ heldOut: entry = [] }) => entry),
    leftOut: {
      empty: results.reduce((sum, { empty }) => sum + empty, 0),
      duplicates: results.reduce((sum, { duplicates }) => sum + duplicates, 0),
    },
  };
  if (manifest.train.length + manifest.heldOut.length === 0) {
    throw new ConfigError('data', 'There is no text in these files. Give files that hold some.');
  }
  await writeFileAtomic(join(folder, MANIFEST_FILE), `${JSON.stringify(manifest, null, 1)}\n`);
  return manifest;
}

/** Does what is not done yet; the results of all parts in their order. */
async function runParts(
  tasks: readonly PartTask[],
  context: PartContext,
  { dedupe, progress, ...pool }: TokenizeOptions,
): Promise<PartResult[]> {
  const results = await Promise.all(tasks.map(({ index }) => readNote(context.folder, index)));
  const missing = tasks.filter(({ index }) => results[index] === undefined);
  const bytesOf = (some: readonly PartTask[]) =>
    some.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const passes = dedupe && missing.length > 0 ? 2 : 1;
  const totalBytes = bytesOf(tasks) * passes;
  let doneBytes = bytesOf(tasks) - bytesOf(missing);
  const onResult = (_: unknown, { sizeBytes }: PartTask) => {
    doneBytes += sizeBytes;
    progress?.({ doneBytes, totalBytes });
  };
  const entry = threadEntry('tokenize-worker');
  let todo = missing;
  if (passes === 2) {
    const hashing = tasks.map((task): PartTask => ({ ...task, job: 'hash' }));
    const hashes = await runTasks<PartTask, BigUint64Array>(
      entry,
      context,
      hashing,
      onResult,
      pool,
    );
    const isCopy = firstOfEach(hashes);
    todo = missing.map((task) => ({ ...task, isCopy: isCopy[task.index] }));
  }
  const done = await runTasks<PartTask, PartResult>(entry, context, todo, onResult, pool);
  for (const [place, task] of todo.entries()) results[task.index] = done[place]!;
  return results.map((result) => result!);
}

/** What became of a part in an earlier run; undefined if it was not finished. */
async function readNote(folder: string, index: number): Promise<PartResult | undefined> {
  const text = await readFile(join(folder, partNote(index)), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as PartResult);
}

/** What only an unfinished folder needs. */
async function removeNotes(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => isPartNote(name));
  for (const name of names) await rm(join(folder, name), { force: true });
}

function checkOptions({ heldOut, separator, numWorkers }: TokenizeOptions): void {
  if (numWorkers !== undefined) checkNumWorkers(numWorkers);
  if (!(heldOut >= 0 && heldOut <= 0.5)) {
    throw new ConfigError(
      'heldOut',
      `The held-out part is ${heldOut}; it must be a number from 0 to 0.5. Correct it.`,
    );
  }
  if (separator !== '') return;
  throw new ConfigError(
    'separator',
    'The separator is empty; it must be a text of one character or more. Leave it out if a file is one document.',
  );
}
