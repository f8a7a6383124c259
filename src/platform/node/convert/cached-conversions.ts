/**
 * The converted models that the cache holds, and unfinished ones: which, how large, how removed.
 */
import { basename, dirname, join } from 'node:path';
import { matrixDtype } from '../../../model/index.js';
import {
  buryFolder,
  deletePath,
  foldersIn,
  gravesIn,
  measureFolder,
  takeLock,
} from '../files/index.js';
import { idOfFolder } from '../hub/names.js';
import type { HeldModel, StoredModel } from '../stored-model.js';
import { readConversionReport } from './report.js';

const PARTIAL = /\.partial$/;

/** Every conversion in a folder, by name. @throws FileError if it cannot be read */
export async function listConversions(folder: string): Promise<StoredModel[]> {
  const folders = (await foldersIn(folder)).filter((name) => !name.startsWith('.'));
  const names = new Set(folders.map((name) => name.replace(PARTIAL, '')));
  return Promise.all([...names].map((name) => describe(folder, name)));
}

async function describe(folder: string, name: string): Promise<StoredModel> {
  const path = join(folder, name);
  // one that is damaged is listed, too
  const report = await readConversionReport(path).catch(() => undefined);
  const whole = await measureFolder(path);
  const partial = await measureFolder(`${path}.partial`);
  return {
    kind: 'converted',
    name,
    path,
    source: report && nameOfSource(report.source.path),
    revisions: [],
    dtype: report && matrixDtype(report.settings.body),
    sizeBytes: whole.sizeBytes + partial.sizeBytes,
    modified: whole.modified ?? partial.modified,
    isWhole: report !== undefined,
  };
}

/** The name on the hub of a snapshot in its cache; every other path as it is. */
function nameOfSource(path: string): string {
  const snapshots = dirname(path);
  const id = idOfFolder(basename(dirname(snapshots)));
  return basename(snapshots) === 'snapshots' && id !== undefined ? id : path;
}

/**
 * Keeps others from a conversion of the list, so that it can be removed.
 *
 * @throws FileError if it is under way
 */
export async function holdConversion({ name, path, sizeBytes }: StoredModel): Promise<HeldModel> {
  const lock = await takeLock(`${path}.lock`, {
    task: `removing ${name}`,
    remedy: 'Try again later.',
  });
  const folder = dirname(path);
  return {
    sizeBytes,
    async remove() {
      for (const part of [path, `${path}.partial`]) {
        if ((await foldersIn(folder)).includes(basename(part))) await buryFolder(part, folder);
      }
      for (const grave of await gravesIn(folder)) await deletePath(grave);
    },
    release: () => lock.release(),
  };
}
