/**
 * Files of data sets on the hub, in its standard cache: `hf://datasets/OWNER/NAME/PATTERN`.
 *
 * What is there already is not fetched again, and downloads go on where they stopped, as those of models do
 * (pull.ts). What the files hold is not known here.
 */
import { join } from 'node:path';
import { glob } from 'tinyglobby';
import { ConfigError, DownloadError } from '../../../errors.js';
import { checkRevision, isModelId } from './names.js';
import type { HubPlatform } from './platform.js';
import { NODE_PLATFORM } from './platform.js';
import type { PullOptions } from './pull.js';
import { ask, bringFiles, commitOf, openCall } from './pull.js';

const SCHEME = 'hf://';

/** Whether a path is an address on the hub. */
export const isHubAddress = (path: string): boolean => path.startsWith(SCHEME);

interface DatasetAddress {
  readonly id: string;
  readonly revision?: string;
  /** Which of its files: a name, a folder, or a pattern with *, ** and ?. */
  readonly pattern: string;
}

const FORM = 'hf://datasets/OWNER/NAME/FILES, such as hf://datasets/org/texts/data/*.parquet';

/** @throws ConfigError if it has another form */
function parseAddress(address: string): DatasetAddress {
  const match = /^hf:\/\/datasets\/([^/@]+\/[^/@]+)(?:@([^/]+))?(?:\/(.*))?$/.exec(address);
  const [, id = '', encoded, rest = ''] = match ?? [];
  if (!isModelId(id)) {
    throw new ConfigError(
      'path',
      `${JSON.stringify(address)} is no address of data on the hub; it has the form ${FORM}. After @ stands a branch, tag or commit, with %2F for a slash.`,
    );
  }
  const revision = encoded?.replaceAll(/%2F/gi, '/');
  if (revision !== undefined) checkRevision(revision);
  return { id, pattern: rest.replace(/\/$/, ''), ...(revision !== undefined && { revision }) };
}

/**
 * The files that an address names, on this disk, in the order of their names.
 *
 * @param wanted - of a folder, or of a whole data set, which names count.
 * @throws ConfigError if the address is malformed; DownloadError if nothing fits it, it cannot be fetched, or
 *   offline is not in the cache; FileError if the cache cannot be written; the signal's reason.
 */
export async function pullDataset(
  address: string,
  wanted: (name: string) => boolean,
  options: Omit<PullOptions, 'revision'> = {},
  platform: HubPlatform = NODE_PLATFORM,
): Promise<readonly string[]> {
  const { id, revision, pattern } = parseAddress(address);
  const call = await openCall(
    { kind: 'dataset', id },
    { ...options, ...(revision !== undefined && { revision }) },
    platform,
  );
  const { repo, hub, settings } = call;
  const fits = fitting(pattern, wanted);
  const nothing = (where: string) =>
    new DownloadError(`${address} fits no file of ${id}${where}. Check the part after its name.`);
  if (settings.isOffline) {
    const commit = await repo.readRef(settings.revision);
    const cwd = commit && repo.snapshotPath(commit);
    const names = cwd ? await glob('**/*', { cwd, onlyFiles: true, dot: true }) : [];
    const found = names.filter((name) => fits(name)).toSorted();
    if (found.length === 0) throw nothing(' in the cache, and offline mode is on');
    return found.map((name) => join(cwd!, name));
  }
  const commit = await commitOf(call);
  const listing = await ask(call, (signal) => hub.listFiles(commit, signal));
  const files = listing.filter(({ name }) => isPlain(name) && fits(name));
  if (files.length === 0) throw nothing('');
  await bringFiles(call, commit, files);
  return files.map(({ name }) => join(repo.snapshotPath(commit), name)).toSorted();
}

/** A listing cannot lead out of its folder. */
const isPlain = (name: string) => !name.split('/').some((part) => /^\.{0,2}$/.test(part));

function fitting(pattern: string, wanted: (name: string) => boolean) {
  if (!/[*?]/.test(pattern)) {
    return (name: string) =>
      name === pattern || ((pattern === '' || name.startsWith(`${pattern}/`)) && wanted(name));
  }
  const source = pattern
    .split(/(\*\*\/|\*\*|\*|\?)/)
    .map((part) => {
      if (part === '**/') return '(?:.*/)?';
      if (part === '**') return '.*';
      if (part === '*') return '[^/]*';
      return part === '?' ? '[^/]' : part.replace(/[.+^${}()|[\]\\]/g, '\\$&');
    })
    .join('');
  const expression = new RegExp(`^${source}$`);
  return (name: string) => expression.test(name);
}
