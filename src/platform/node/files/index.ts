/**
 * Files on disk: reading, writing, and who writes. Every failure is a `FileError` in one line.
 */
export { failKind, failRead, failWrite, writeError } from './errors.js';
export { nodeFolder } from './folder.js';
export { isGzip, readGzip, unpackGzip, withoutGzip } from './gunzip.js';
export type { Lock, LockOptions } from './lock.js';
export { takeLock } from './lock.js';
export type { NewFolder, NewFolderOptions } from './new-folder.js';
export { beginFolder, makeWay } from './new-folder.js';
export { readAt, writeAt } from './parts.js';
export {
  buryFolder,
  deletePath,
  entriesBelow,
  foldersIn,
  gravesIn,
  measureFolder,
} from './remove.js';
export { fileExists, findFile, openFile, readTextFile } from './read.js';
export { followLinks, makeFolder, prepareWriting, writeFileAtomic } from './write.js';
