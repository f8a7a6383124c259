/**
 * Models from the hub into its cache: which files, in which order, and what counts as done.
 *
 * Contents first, then the links of the snapshot, weights last, then the revision: so a snapshot
 * with weights is whole whenever the process ended. What a model's files mean is not known here.
 */
import { DownloadError } from '../../../errors.js';
import { CachedRepo, type CachedFile } from './cache.js';
import { downloadBlob } from './download.js';
import type { RepoName } from './names.js';
import { checkModelId, isCommit } from './names.js';
import type { Hub, HubFile } from './protocol.js';
import { openHub, UnreachableError } from './protocol.js';
import type { HubPlatform } from './platform.js';
import { NODE_PLATFORM } from './platform.js';
import type { RetryOptions } from './retry.js';
import { withRetries } from './retry.js';
import type { HubOptions, HubSettings } from './settings.js';
import { hubSettings } from './settings.js';

/** How far a pull is. */
export interface PullProgress {
  /** The file that is on its way. */
  readonly file: string;
  /** Bytes of all files that are on disk, those of earlier pulls included. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
  /** Set when a connection failed: why, and how long until the next try. */
  readonly retry?: { readonly why: string; readonly waitMs: number };
}

export interface PullOptions extends HubOptions {
  readonly progress?: (progress: PullProgress) => void;
  /** Called with a sentence if another process pulls the same model, which is waited for. */
  readonly onWait?: ((message: string) => void) | undefined;
  /** Ends the pull; what has arrived is kept and resumed by the next one. */
  readonly signal?: AbortSignal;
}

/** A model in the cache. */
export interface PulledModel {
  /** The snapshot: a folder that loads as a model. */
  readonly path: string;
  /** The commit of the snapshot, 40 hex digits. */
  readonly revision: string;
  /** By name; also those that another client has put there. */
  readonly files: readonly CachedFile[];
}

/** What a model is made of; other files of a repository are left there. */
const WANTED = [
  /^(?:config|generation_config|special_tokens_map|added_tokens|vocab)\.json$/,
  /^tokenizer[\w.-]*\.json$/,
  /^(?:merges|vocab)\.txt$/,
  /^chat_template\.(?:jinja|json)$/,
  /^[\w.-]+\.safetensors(?:\.index\.json)?$/,
];
const WEIGHTS = /\.safetensors$/;

/**
 * Downloads what a model needs from the Hugging Face hub into its standard cache. What is there
 * already is not fetched again, an interrupted download goes on where it stopped, and every file's
 * checksum is verified before it gets its name. Offline, finds the model in the cache.
 *
 * @throws ConfigError if the id or an option is malformed; DownloadError if the model cannot be
 *   fetched, or offline is not in the cache; FileError if the cache cannot be written; the signal's
 *   reason when it aborts.
 */
export async function pullModel(
  id: string,
  options: PullOptions = {},
  platform: HubPlatform = NODE_PLATFORM,
): Promise<PulledModel> {
  const call = await prepareModel(id, options, platform);
  return call.settings.isOffline ? findCached(call) : download(call, await commitOf(call));
}

/**
 * The model as the cache has it if it is whole there, else as `pullModel` gets it. For a commit
 * whose snapshot is whole the network is not used; a branch is always looked up, unless offline.
 *
 * @throws as `pullModel` does.
 */
export async function ensureModel(
  id: string,
  options: PullOptions = {},
  platform: HubPlatform = NODE_PLATFORM,
): Promise<PulledModel> {
  const call = await prepareModel(id, options, platform);
  const { repo, settings } = call;
  if (settings.isOffline) return findCached(call);
  const commit = await commitOf(call);
  if (!(await repo.hasWeights(commit))) return download(call, commit);
  await repo.writeRef(settings.revision, commit);
  return describe(repo, commit);
}

/** One repository on one hub, and how to get what is in it. */
interface Call {
  readonly id: string;
  readonly settings: HubSettings;
  readonly repo: CachedRepo;
  readonly hub: Hub;
  readonly options: PullOptions;
  readonly platform: HubPlatform;
}

async function prepareModel(
  id: string,
  options: PullOptions,
  platform: HubPlatform,
): Promise<Call> {
  checkModelId(id);
  return openCall({ kind: 'model', id }, options, platform);
}

/** @throws as `pullModel` does for its options */
export async function openCall(
  name: RepoName,
  options: PullOptions,
  platform: HubPlatform,
): Promise<Call> {
  const { kind, id } = name;
  options.signal?.throwIfAborted();
  const settings = await hubSettings(options, platform.env);
  const repo = new CachedRepo(settings.cacheDir, id, kind);
  return { id, settings, repo, hub: openHub(name, settings), options, platform };
}

/** The commit that the revision of a call is. */
export async function commitOf({ settings, hub, ...call }: Call): Promise<string> {
  const { revision } = settings;
  return isCommit(revision) ? revision : ask(call, (signal) => hub.findCommit(signal));
}

/** Asks the hub something small. A hub that cannot be reached is told at once. */
export async function ask<T>(
  { options: { signal }, platform }: Pick<Call, 'options' | 'platform'>,
  question: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const failUnreachable = (error: unknown): never => {
    if (!(error instanceof UnreachableError)) throw error;
    throw new DownloadError(
      `${error.message}. Check the network; with HF_HUB_OFFLINE=1 the cache alone is used.`,
      { cause: error },
    );
  };
  return withRetries(() => question(signal).catch(failUnreachable), { ...platform, signal });
}

async function findCached({ id, settings, repo }: Call): Promise<PulledModel> {
  const { revision, cacheDir } = settings;
  const commit = await repo.readRef(revision);
  if (commit !== undefined && (await repo.hasWeights(commit))) return describe(repo, commit);
  throw new DownloadError(
    `${id} at ${revision} is not, or not wholly, in the cache ${cacheDir}, and offline mode is on. Pull it once with HF_HUB_OFFLINE unset.`,
  );
}

async function describe(repo: CachedRepo, commit: string): Promise<PulledModel> {
  const files = await repo.snapshotFiles(commit);
  return { path: repo.snapshotPath(commit), revision: commit, files };
}

async function download(call: Call, commit: string): Promise<PulledModel> {
  const { id, repo, hub } = call;
  const files = selectFiles(await ask(call, (signal) => hub.listFiles(commit, signal)), id);
  await bringFiles(call, commit, files);
  return describe(repo, commit);
}

/** Makes files of a commit be in the cache, in this order. */
export async function bringFiles(
  call: Call,
  commit: string,
  files: readonly HubFile[],
): Promise<void> {
  const { id, repo, settings } = call;
  for (const { name, hash, size } of files) {
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(hash) || !Number.isSafeInteger(size)) {
      throw new DownloadError(`The hub lists ${name} of ${id} without size and hash. Try later.`);
    }
  }
  const complete = async () => {
    await downloadAll(call, commit, files);
    for (const file of files) {
      if (!(await repo.hasFile(commit, file))) await repo.link(commit, file.name, file.hash);
    }
    await repo.writeRef(settings.revision, commit);
  };
  const isWhole = (await Promise.all(files.map((file) => repo.hasFile(commit, file)))).every(
    Boolean,
  );
  await (isWhole ? complete() : locked(call, complete)); // a cache that is whole may be read-only
}

/** One process of ours at a time changes what the cache has of a model. */
async function locked(
  { id, repo, options: { onWait, signal } }: Call,
  task: () => Promise<void>,
): Promise<void> {
  const lock = await repo.lock({
    task: `pulling ${id}`,
    remedy: 'Wait for it.',
    shouldWait: true,
    onWait,
    signal,
  });
  try {
    await task();
  } finally {
    await lock.release();
  }
}

/** The files to fetch, small ones first and weights last. */
function selectFiles(listing: readonly HubFile[], id: string): HubFile[] {
  const files = listing.filter(({ name }) => WANTED.some((pattern) => pattern.test(name)));
  const has = (pattern: RegExp) => files.some(({ name }) => pattern.test(name));
  if (!has(/^config\.json$/) || !has(WEIGHTS)) {
    throw new DownloadError(
      `${id} has no ${has(WEIGHTS) ? 'config.json' : '*.safetensors'}: it is no model that looplm can load. Check the name and the revision.`,
    );
  }
  const isWeights = ({ name }: HubFile) => Number(WEIGHTS.test(name));
  return files.toSorted((a, b) => isWeights(a) - isWeights(b) || a.size - b.size);
}

/** Brings the contents of all files into the cache. */
async function downloadAll(call: Call, commit: string, files: readonly HubFile[]): Promise<void> {
  const { repo, hub, options, platform } = call;
  const { signal, progress } = options;
  const totalBytes = files.reduce((total, { size }) => total + size, 0);
  let doneBytes = 0;
  for (const file of files) {
    let bytes = 0;
    const report = (retry?: PullProgress['retry']) => {
      const receivedBytes = doneBytes + bytes;
      progress?.({ file: file.name, receivedBytes, totalBytes, ...(retry && { retry }) });
    };
    const retrying: RetryOptions = {
      ...platform,
      signal,
      onRetry: (why, waitMs) => report({ why, waitMs }),
    };
    if (!(await isHere(repo, commit, file))) {
      await downloadBlob(file, repo.blobPath(file.hash), {
        ...retrying,
        openWritable: platform.openWritable,
        openBody: (offset) => hub.openFile(commit, file, offset, signal),
        onProgress(fileBytes) {
          bytes = fileBytes;
          report();
        },
      });
    }
    bytes = file.size;
    report();
    doneBytes += file.size;
  }
}

async function isHere(repo: CachedRepo, commit: string, file: HubFile): Promise<boolean> {
  return (await repo.hasBlob(file.hash, file.size)) || repo.hasFile(commit, file);
}
