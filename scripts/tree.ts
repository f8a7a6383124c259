/**
 * The source tree as the checks see it: a sorted list of file paths and a way to read them.
 *
 * Paths are relative to the root with forward slashes. Built and downloaded folders are left out;
 * version control is not asked, so the checks run on an unpacked archive too.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Folders that are built, downloaded or written by runs; the same names stand in `.gitignore`. */
const LEFT_OUT = new Set(['node_modules', 'dist', 'runs', '.git', '.cache']);

export interface Tree {
  /** Every file, sorted. */
  readonly files: readonly string[];
  /** The text of a file of `files`. */
  read(path: string): string;
}

/** The tree below a folder on disk. Files are read when asked for. */
export function diskTree(root: string): Tree {
  const files: string[] = [];
  const walk = (folder: string) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      if (LEFT_OUT.has(entry.name)) continue;
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile()) files.push(path);
    }
  };
  walk('');
  return { files: files.toSorted(), read: (path) => readFileSync(join(root, path), 'utf8') };
}

/** A tree given as path and text, for tests. */
export function memoryTree(texts: Readonly<Record<string, string>>): Tree {
  return {
    files: Object.keys(texts).toSorted(),
    read(path) {
      const text = texts[path];
      if (text === undefined) throw new Error(`no file ${path}`);
      return text;
    },
  };
}

/** Every folder that holds a file, at any depth below it. */
export function foldersOf(tree: Tree): Set<string> {
  const folders = new Set<string>();
  for (const file of tree.files) {
    for (let at = file.indexOf('/'); at !== -1; at = file.indexOf('/', at + 1)) {
      folders.add(file.slice(0, at));
    }
  }
  return folders;
}

/** Tests and shared test suites: they may reach across the rules that bind the code they test. */
export function isTest(path: string): boolean {
  return /\.(test|conformance)\.ts$/.test(path);
}
