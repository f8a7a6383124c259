/**
 * From what a user calls a model to the folder that holds it: a path, or a name on the hub.
 */
import { dirname } from 'node:path';
import { DownloadError, FileError } from '../../../errors.js';
import { findFile } from '../files/index.js';
import { EXAMPLE_ID, isModelId } from './names.js';
import type { HubPlatform } from './platform.js';
import { NODE_PLATFORM } from './platform.js';
import type { PulledModel, PullOptions } from './pull.js';

/** A folder that holds a model. */
export interface ResolvedModel {
  readonly path: string;
  /** Its commit on the hub, where it comes from there. */
  readonly revision?: string;
}

/**
 * The folder of a model. A local folder is returned as it is; `ORG/NAME` is looked up in the cache
 * of the hub and pulled if it is not there, or offline only looked up. A commit hash whose snapshot
 * is whole needs no network; for a branch the hub is asked where it stands. `FOLDER/NAME`, where there
 * is such a folder and no such name in it, is a mistyped path unless the cache has that model: the hub
 * is not asked for it.
 *
 * @throws FileError if it is the path of a file or of nothing; else as `pullModel` does.
 */
export async function resolveModel(
  idOrPath: string,
  options: PullOptions = {},
  platform: HubPlatform = NODE_PLATFORM,
): Promise<ResolvedModel> {
  const info = await findFile(idOrPath);
  if (info?.isDirectory()) return { path: idOrPath };
  if (info !== undefined) {
    throw new FileError(idOrPath, `${idOrPath} is not a folder. Give the folder of the model.`);
  }
  if (!isModelId(idOrPath)) {
    fail(
      idOrPath,
      `Check the path, or name a model of the hub as ORG/NAME, such as ${EXAMPLE_ID}.`,
    );
  }
  const { path, revision } = await findOnHub(idOrPath, options, platform);
  return { path, revision };
}

async function findOnHub(
  id: string,
  options: PullOptions,
  platform: HubPlatform,
): Promise<PulledModel> {
  const parent = dirname(id);
  const isLikelyPath = (await findFile(parent))?.isDirectory() === true;
  if (isLikelyPath && !(await isCached(id, options, platform))) {
    fail(
      id,
      `${quoted(parent)} is a folder here, so the hub was not asked. Check the path; a model of the hub is had with looplm pull ${id}.`,
    );
  }
  try {
    const { ensureModel } = await import('./pull.js');
    return await ensureModel(id, options, platform);
  } catch (cause) {
    if (!(cause instanceof DownloadError)) throw cause;
    const message = `${cause.message} There is no folder ${quoted(id)} here, either.`;
    throw new DownloadError(message, { cause });
  }
}

async function isCached(id: string, options: PullOptions, platform: HubPlatform): Promise<boolean> {
  try {
    const { ensureModel } = await import('./pull.js');
    await ensureModel(id, { ...options, offline: true }, platform);
    return true;
  } catch (error) {
    if (error instanceof DownloadError) return false;
    throw error;
  }
}

const quoted = (text: string) => JSON.stringify(text);

function fail(path: string, remedy: string): never {
  throw new FileError(path, `The folder ${quoted(path)} does not exist. ${remedy}`);
}
