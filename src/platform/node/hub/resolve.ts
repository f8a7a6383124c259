/**
 * From what a user calls a model to the folder that holds it: a path, or a name on the hub.
 */
import { stat } from 'node:fs/promises';
import { FileError } from '../../../errors.js';
import { checkModelId, isModelId } from './names.js';
import type { HubPlatform, PullOptions } from './pull.js';
import { ensureModel, NODE_PLATFORM } from './pull.js';

/** A folder that holds a model. */
export interface ResolvedModel {
  readonly path: string;
  /** Its commit on the hub, where it comes from there. */
  readonly revision?: string;
}

/**
 * The folder of a model. A local folder is returned as it is; `ORG/NAME` is looked up in the cache
 * of the hub and pulled if it is not there, or offline only looked up. A commit hash whose snapshot
 * is whole needs no network; for a branch the hub is asked where it stands.
 *
 * @throws FileError if it is the path of a file or of nothing; ConfigError if it is neither a path
 *   nor `ORG/NAME`; else as `pullModel` does.
 */
export async function resolveModel(
  idOrPath: string,
  options: PullOptions = {},
  platform: HubPlatform = NODE_PLATFORM,
): Promise<ResolvedModel> {
  const info = await stat(idOrPath).catch(() => undefined);
  if (info?.isDirectory()) return { path: idOrPath };
  if (info !== undefined) {
    throw new FileError(idOrPath, `${idOrPath} is not a folder. Give the folder of the model.`);
  }
  if (!isModelId(idOrPath)) failName(idOrPath);
  const { path, revision } = await ensureModel(idOrPath, options, platform);
  return { path, revision };
}

function failName(text: string): never {
  const looksLikePath = /^[./~]|\\|\/.*\/|\/$|^$/.test(text);
  if (!looksLikePath) checkModelId(text);
  throw new FileError(
    text,
    `The folder ${JSON.stringify(text)} does not exist. Check the path, or name a model of the hub as ORG/NAME.`,
  );
}
