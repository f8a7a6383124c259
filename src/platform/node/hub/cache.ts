/**
 * The cache of the hub on disk, as the Python client lays it out and reads it:
 * `models--ORG--NAME/blobs/<hash>` holds contents, `snapshots/<commit>/<file>` links to them, and
 * `refs/<revision>` says which commit a branch or tag was when it was last pulled.
 *
 * It knows no network. Source: huggingface_hub, "Understand caching" of its documentation.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rename, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import type { Lock, LockOptions } from '../files/index.js';
import {
  failRead,
  failWrite,
  fileExists,
  makeFolder,
  readTextFile,
  takeLock,
  writeFileAtomic,
} from '../files/index.js';
import type { RepoName } from './names.js';
import { isCommit } from './names.js';

/** A file of a model on disk. */
export interface CachedFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

/** The folder of one model, or data set, in the cache. */
export class CachedRepo {
  readonly path: string;

  constructor(cacheDir: string, id: string, kind: RepoName['kind'] = 'model') {
    this.path = join(cacheDir, [`${kind}s`, ...id.split('/')].join('--'));
  }

  blobPath(hash: string): string {
    return join(this.path, 'blobs', hash);
  }

  snapshotPath(commit: string): string {
    return join(this.path, 'snapshots', commit);
  }

  /** Held while something of the model is added or removed. */
  lock(options: LockOptions): Promise<Lock> {
    return takeLock(join(this.path, 'looplm.lock'), options);
  }

  /** The commit a revision was when it was last pulled, if it was. */
  async readRef(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const path = join(this.path, 'refs', revision);
    if (!(await fileExists(path))) return undefined;
    const commit = (await readTextFile(path)).trim();
    return isCommit(commit) ? commit : undefined;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if ((await this.readRef(revision)) === commit) return; // the cache may be read-only
    await writeFileAtomic(join(this.path, 'refs', revision), commit);
  }

  /** Whether the config and all weights of a commit are here. */
  async hasWeights(commit: string): Promise<boolean> {
    const has = (name: string) => fileExists(join(this.snapshotPath(commit), name));
    if (!(await has('config.json'))) return false;
    if (await has('model.safetensors')) return true;
    if (!(await has(INDEX_FILE))) return false;
    const shards = await readShards(join(this.snapshotPath(commit), INDEX_FILE));
    for (const shard of shards) if (!(await has(shard))) return false;
    return shards.length > 0;
  }

  /** The files in the top folder of a snapshot that are whole. */
  async snapshotFiles(commit: string): Promise<CachedFile[]> {
    const folder = this.snapshotPath(commit);
    const names = await readdir(folder).catch((cause: unknown) => failRead(folder, cause));
    const files: CachedFile[] = [];
    for (const name of names.toSorted()) {
      const info = await stat(join(folder, name)).catch(() => undefined); // a link to nothing
      if (info?.isFile()) files.push({ name, size: info.size });
    }
    return files;
  }

  /** Whether a file of a snapshot is here with this size. */
  async hasFile(commit: string, { name, size }: CachedFile): Promise<boolean> {
    return hasSize(join(this.snapshotPath(commit), name), size);
  }

  async hasBlob(hash: string, size: number): Promise<boolean> {
    return hasSize(this.blobPath(hash), size);
  }

  /**
   * Makes a blob appear as a file of a snapshot. Where the file system has no symbolic links the
   * blob is moved there, as the Python client does.
   */
  async link(commit: string, name: string, hash: string, makeLink = symlink): Promise<void> {
    const path = join(this.snapshotPath(commit), name);
    const onFailure = (cause: unknown) => failWrite(path, cause);
    await makeFolder(dirname(path));
    const temporary = join(this.path, `.${randomBytes(4).toString('hex')}.link`);
    const target = relative(dirname(path), this.blobPath(hash));
    const isLinked = await makeLink(target, temporary).then(
      () => true,
      (error: unknown) => (hasNoLinks(error) ? false : onFailure(error)),
    );
    await rename(isLinked ? temporary : this.blobPath(hash), path).catch(onFailure);
  }
}

const INDEX_FILE = 'model.safetensors.index.json';
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** The weight files that an index names; none if it is damaged. */
async function readShards(path: string): Promise<string[]> {
  const text = await readTextFile(path);
  try {
    return [...new Set(Object.values(indexSchema.parse(JSON.parse(text)).weight_map))];
  } catch {
    return [];
  }
}

async function hasSize(path: string, size: number): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info?.isFile() === true && info.size === size;
}

/** Whether making a link failed because there are none here: Windows, and disks formatted for it. */
function hasNoLinks(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    ['EPERM', 'ENOSYS', 'ENOTSUP', 'EINVAL'].includes(String(error.code))
  );
}
