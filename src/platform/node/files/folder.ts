/**
 * A directory on disk as the core's `Folder`.
 */
import { join } from 'node:path';
import type { Folder } from '../../../util/folder.js';
import { fileExists, openFile, readTextFile } from './read.js';
import { writeFileAtomic } from './write.js';

/** A directory as the core sees it. It is created at the first write if it does not exist. */
export function nodeFolder(path: string): Folder {
  return {
    path,
    exists: (name) => fileExists(join(path, name)),
    readText: (name) => readTextFile(join(path, name)),
    open: (name) => openFile(join(path, name)),
    write: (name, content) => writeFileAtomic(join(path, name), content),
  };
}
