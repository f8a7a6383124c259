/**
 * The files of a corpus, from paths of files, folders and patterns.
 */
import { extname, join, resolve } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import type { CorpusFormat } from '../../../data/index.js';
import { CORPUS_FORMATS } from '../../../data/index.js';
import { ConfigError, FileError } from '../../../errors.js';
import { cacheRoot } from '../convert/cache.js';
import { failKind, findFile, isGzip, unpackGzip, withoutGzip } from '../files/index.js';

/** A file of a corpus. */
export interface CorpusFile {
  /** An absolute path. */
  readonly path: string;
  readonly format: CorpusFormat;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
}

/** How packed files are had. */
export interface FindOptions {
  /** Says where the cache of looplm is. Default: the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The files, each once, in the order of the paths; those of a folder or a pattern by name. Of a folder
 * all files below it count whose names end as a format's do. One that ends in .gz is unpacked into the cache of
 * looplm, and stays there.
 *
 * @param format - of all the files, whatever their names say.
 * @throws FileError if a path is not there, or nothing is found at it; ConfigError if the name of a
 *   file tells no format.
 */
export async function findCorpusFiles(
  paths: readonly string[],
  format?: CorpusFormat,
  options: FindOptions = {},
): Promise<CorpusFile[]> {
  const found = new Map<string, CorpusFile>();
  for (const path of paths) {
    for (const each of await filesAt(path, format, options)) found.set(each.path, each);
  }
  return [...found.values()];
}

async function filesAt(
  path: string,
  format: CorpusFormat | undefined,
  options: FindOptions,
): Promise<CorpusFile[]> {
  const info = await findFile(path);
  if (info?.isFile()) return [await corpusFile(path, format, options)];
  if (info && !info.isDirectory()) failKind(path, info);
  if (!info && !isDynamicPattern(path)) {
    throw new FileError(path, `Cannot read ${path}: it does not exist. Check the path.`);
  }
  const pattern = info ? '**/*' : path;
  const cwd = info ? path : process.cwd();
  const names = await glob(pattern, { cwd, onlyFiles: true, expandDirectories: false });
  const files = names.toSorted().map((name) => join(info ? path : '', name));
  const wanted = info && format === undefined ? files.filter((file) => formatOfName(file)) : files;
  const corpus: CorpusFile[] = [];
  for (const file of wanted) corpus.push(await corpusFile(file, format, options));
  if (corpus.length > 0) return corpus;
  throw new FileError(
    path,
    `${path} ${info ? `holds no file whose name ends in ${ALL_ENDS}` : 'matches no file'}. Check the path${info ? ', or name the format' : ''}.`,
  );
}

async function corpusFile(
  path: string,
  given: CorpusFormat | undefined,
  { env = process.env, signal }: FindOptions,
): Promise<CorpusFile> {
  const format = given ?? formatOfName(path);
  if (format === undefined) {
    throw new ConfigError(
      'format',
      `The name of ${path} does not end in ${ALL_ENDS}. Name its format: ${Object.keys(CORPUS_FORMATS).join(', ')}.`,
    );
  }
  const info = await findFile(path);
  if (!info) throw new FileError(path, `Cannot read ${path}: it does not exist. Check the path.`);
  if (!isGzip(path)) {
    return { path: resolve(path), format, sizeBytes: info.size, mtimeMs: info.mtimeMs };
  }
  const unpacked = await unpackGzip(path, info, join(cacheRoot(env), 'corpora'), signal);
  const { size = 0 } = (await findFile(unpacked)) ?? {};
  return { path: unpacked, format, sizeBytes: size, mtimeMs: info.mtimeMs };
}

const ALL_ENDS = `${Object.values(CORPUS_FORMATS).flat().join(', ')} (or that and .gz)`;

function formatOfName(path: string): CorpusFormat | undefined {
  const end = extname(withoutGzip(path)).toLowerCase();
  const formats = Object.entries(CORPUS_FORMATS) as [CorpusFormat, readonly string[]][];
  return formats.find(([, ends]) => ends.includes(end))?.[0];
}
