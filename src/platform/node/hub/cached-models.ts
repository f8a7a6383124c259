/**
 * The models that the cache of the hub holds: which, how large, and how they are removed.
 *
 * The cache belongs to the Python client, too: models that looplm cannot run are listed like others,
 * and nothing is touched but the folders `models--*`. Links that lead out of a folder are not followed.
 */
import { lstat, readFile, readdir, readlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileError } from '../../../errors.js';
import {
  buryFolder,
  deletePath,
  entriesBelow,
  foldersIn,
  gravesIn,
  measureFolder,
} from '../files/index.js';
import type { HeldModel, StoredModel, StoredRevision } from '../stored-model.js';
import { CachedRepo } from './cache.js';
import { idOfFolder, isCommit } from './names.js';

/** Every model in the cache, by name. @throws FileError if the cache cannot be read */
export async function listHubModels(cacheDir: string): Promise<StoredModel[]> {
  const models: StoredModel[] = [];
  for (const folder of await foldersIn(cacheDir)) {
    const id = idOfFolder(folder);
    if (id !== undefined) models.push(await describeModel(cacheDir, id));
  }
  return models;
}

async function describeModel(cacheDir: string, id: string): Promise<StoredModel> {
  const repo = new CachedRepo(cacheDir, id);
  const revisions = await revisionsOf(repo);
  const whole = await wholeRevision(repo, revisions);
  return {
    kind: 'hub',
    name: id,
    path: repo.path,
    source: undefined,
    revisions,
    dtype: whole === undefined ? undefined : await dtypeOf(repo.snapshotPath(whole)),
    ...(await measureFolder(repo.path)),
    isWhole: whole !== undefined,
  };
}

/** The newest commit that has config and weights. */
async function wholeRevision(
  repo: CachedRepo,
  revisions: readonly StoredRevision[],
): Promise<string | undefined> {
  for (const { commit } of revisions) {
    // one that is damaged is listed, too
    if (await repo.hasWeights(commit).catch(() => false)) return commit;
  }
  return undefined;
}

/** What config.json says. */
async function dtypeOf(snapshot: string): Promise<string | undefined> {
  try {
    const text = await readFile(join(snapshot, 'config.json'), 'utf8');
    const { dtype, torch_dtype: older } = JSON.parse(text) as Record<string, unknown>;
    return [dtype, older].find((value) => typeof value === 'string');
  } catch {
    return undefined;
  }
}

/** The commits of a model, the newest first. */
async function revisionsOf(repo: CachedRepo): Promise<StoredRevision[]> {
  const refs = await refsOf(repo);
  const found: (StoredRevision & { readonly time: number })[] = [];
  for (const commit of (await foldersIn(join(repo.path, 'snapshots'))).filter(isCommit)) {
    const info = await lstat(repo.snapshotPath(commit)).catch(() => undefined);
    const names = refs.filter((ref) => ref.commit === commit).map(({ name }) => name);
    found.push({ commit, refs: names, time: info?.mtimeMs ?? 0 });
  }
  return found
    .toSorted((a, b) => b.time - a.time)
    .map(({ commit, refs: names }) => ({ commit, refs: names }));
}

/** The files of branches and tags, which may lie in folders: `refs/pr/1`. */
async function refsOf({ path: repoPath }: CachedRepo) {
  const folder = join(repoPath, 'refs');
  const refs: { name: string; path: string; commit: string }[] = [];
  for (const entry of await entriesBelow(folder)) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile()) continue;
    const commit = (await readFile(path, 'utf8').catch(() => '')).trim();
    refs.push({ name: path.slice(folder.length + 1), path, commit });
  }
  return refs;
}

/**
 * Keeps others from a model of the list, so that it, or some of its commits, can be removed.
 *
 * @param commits - true for all.
 * @throws FileError if a download to it is under way
 */
export async function holdHubModel(
  model: StoredModel,
  commits: true | readonly string[],
): Promise<HeldModel> {
  const { name, path, revisions } = model;
  await checkIdle(path);
  const repo = new CachedRepo(dirname(path), name);
  const isAll = commits === true || revisions.every(({ commit }) => commits.includes(commit));
  const lock = await repo.lock({ task: `removing ${name}`, remedy: 'Try again later.' });
  return {
    sizeBytes: isAll ? model.sizeBytes : await sizeOfRevisions(repo, commits),
    async remove() {
      if (!isAll) {
        for (const commit of new Set(commits)) await removeRevision(repo, commit);
        return;
      }
      await buryFolder(path, dirname(path));
      for (const grave of await gravesIn(dirname(path))) await deletePath(grave);
    },
    release: () => lock.release(),
  };
}

/** The snapshot goes first: then the model is not whole any more, whenever the process ends. */
async function removeRevision(repo: CachedRepo, commit: string): Promise<void> {
  await buryFolder(repo.snapshotPath(commit), repo.path);
  for (const ref of await refsOf(repo)) if (ref.commit === commit) await deletePath(ref.path);
  const kept = await keptBlobs(repo);
  for (const grave of await gravesIn(repo.path)) {
    for (const blob of await blobsOf(repo, grave)) if (!kept.has(blob)) await deletePath(blob);
    await deletePath(grave);
  }
}

/** Blobs that belong to no other commits. */
async function blobsOfAlone(repo: CachedRepo, commits: readonly string[]): Promise<string[]> {
  const kept = await keptBlobs(repo, commits);
  const all = await Promise.all(commits.map((commit) => blobsOf(repo, repo.snapshotPath(commit))));
  return [...new Set(all.flat())].filter((blob) => !kept.has(blob));
}

/** Blobs of all snapshots but some. */
async function keptBlobs(
  repo: CachedRepo,
  except: readonly string[] = [],
): Promise<ReadonlySet<string>> {
  const kept = new Set<string>();
  for (const { commit } of await revisionsOf(repo)) {
    if (except.includes(commit)) continue;
    for (const blob of await blobsOf(repo, repo.snapshotPath(commit))) kept.add(blob);
  }
  return kept;
}

/** The blobs of a model that the files of a folder link to, wherever the folder lies. */
async function blobsOf(repo: CachedRepo, folder: string): Promise<string[]> {
  const blobs = new Set<string>();
  for (const entry of await entriesBelow(folder)) {
    if (!entry.isSymbolicLink()) continue;
    const target = await readlink(join(entry.parentPath, entry.name)).catch(() => '');
    const blob = repo.blobPath(basename(target));
    const isBlob = basename(dirname(target)) === 'blobs' && (await isFile(blob));
    if (isBlob) blobs.add(blob);
  }
  return [...blobs];
}

const isFile = async (path: string) =>
  (await lstat(path).catch(() => undefined))?.isFile() === true;

/** What these commits alone take: blobs, and files that lie in their snapshots. */
async function sizeOfRevisions(repo: CachedRepo, commits: readonly string[]): Promise<number> {
  const blobs = await blobsOfAlone(repo, commits);
  const sizes = await Promise.all([
    ...blobs.map(async (blob) => (await lstat(blob)).size),
    ...commits.map(async (commit) => (await measureFolder(repo.snapshotPath(commit))).sizeBytes),
  ]);
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Another program that downloads writes all the time. */
const IDLE_MS = 60_000;

/** The Python client says by locks of the system that it is at work, and Node.js cannot ask for these. */
async function checkIdle(path: string): Promise<void> {
  const folder = join(path, 'blobs');
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith('.incomplete') || name.endsWith('.looplm.incomplete')) continue;
    const info = await lstat(join(folder, name)).catch(() => undefined);
    if (info === undefined || Date.now() - info.mtimeMs > IDLE_MS) continue;
    throw new FileError(
      path,
      `A download to ${path} seems to be under way: ${name} was written to within the last minute. Wait for it, or try again in a minute.`,
    );
  }
}
