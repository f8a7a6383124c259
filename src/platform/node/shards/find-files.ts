/**
 * The files of a corpus, from paths of files, folders and patterns.
 */
import { extname, join, resolve } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import type { CorpusFormat } from '../../../data/index.js';
import { CORPUS_FORMATS } from '../../../data/index.js';
import { ConfigError, FileError } from '../../../errors.js';
import { failKind, findFile } from '../files/index.js';

/** A file of a corpus. */
export interface CorpusFile {
  /** An absolute path. */
  readonly path: string;
  readonly format: CorpusFormat;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
}

/**
 * The files, each once, in the order of the paths; those of a folder or a pattern by name. Of a folder
 * all files below it count whose names end as a format's do.
 *
 * @param format - of all the files, whatever their names say.
 * @throws FileError if a path is not there, or nothing is found at it; ConfigError if the name of a
 *   file tells no format.
 */
export async function findCorpusFiles(
  paths: readonly string[],
  format?: CorpusFormat,
): Promise<CorpusFile[]> {
  const found = new Map<string, CorpusFile>();
  for (const path of paths) {
    for (const each of await filesAt(path, format)) found.set(each.path, each);
  }
  return [...found.values()];
}

async function filesAt(path: string, format: CorpusFormat | undefined): Promise<CorpusFile[]> {
  const info = await findFile(path);
  if (info?.isFile()) return [await corpusFile(path, format)];
  if (info && !info.isDirectory()) failKind(path, info);
  if (!info && !isDynamicPattern(path)) {
    throw new FileError(path, `Cannot read ${path}: it does not exist. Check the path.`);
  }
  const pattern = info ? '**/*' : path;
  const cwd = info ? path : process.cwd();
  const names = await glob(pattern, { cwd, onlyFiles: true, expandDirectories: false });
  const files = names.toSorted().map((name) => join(info ? path : '', name));
  const wanted = info && format === undefined ? files.filter((file) => formatOfName(file)) : files;
  if (wanted.length > 0) return Promise.all(wanted.map((file) => corpusFile(file, format)));
  throw new FileError(
    path,
    `${path} ${info ? `holds no file whose name ends in ${ALL_ENDS}` : 'matches no file'}. Check the path${info ? ', or name the format' : ''}.`,
  );
}

async function corpusFile(path: string, given: CorpusFormat | undefined): Promise<CorpusFile> {
  const format = given ?? formatOfName(path);
  if (format === undefined) {
    throw new ConfigError(
      'format',
      `The name of ${path} does not end in ${ALL_ENDS}. Name its format: ${Object.keys(CORPUS_FORMATS).join(', ')}.`,
    );
  }
  const info = await findFile(path);
  if (!info) throw new FileError(path, `Cannot read ${path}: it does not exist. Check the path.`);
  return { path: resolve(path), format, sizeBytes: info.size, mtimeMs: info.mtimeMs };
}

const ALL_ENDS = Object.values(CORPUS_FORMATS).flat().join(', ');

function formatOfName(path: string): CorpusFormat | undefined {
  const end = extname(path).toLowerCase();
  const formats = Object.entries(CORPUS_FORMATS) as [CorpusFormat, readonly string[]][];
  return formats.find(([, ends]) => ends.includes(end))?.[0];
}
