/**
 * The hub over plain HTTP: which commit a revision is, which files it has, the bytes of a file.
 *
 * Addresses and listings are those of @huggingface/hub; failures are judged here, because it keeps
 * neither the error code nor Retry-After of an answer, takes only tokens that begin with hf_, and
 * fetches large files by another protocol that cannot be resumed. Nothing is written here.
 * Source: the Hub API as huggingface_hub (hf_raise_for_status) and @huggingface/hub use it.
 */
import type { ListFileEntry } from '@huggingface/hub';
import { DownloadError } from '../../../errors.js';
import type { RepoName } from './names.js';
import { isCommit } from './names.js';
import type { HubSettings } from './settings.js';
import { TransientError } from './retry.js';

/** A file as the hub's listing of a commit describes it. */
export interface HubFile {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Hash of the content, in hex; also the name of its blob in the cache. */
  readonly hash: string;
  /** sha256 of the bytes for large files, the git blob hash (sha1 after a header) for the others. */
  readonly hashKind: 'sha256' | 'git-sha1';
}

/** The bytes of a file from `offset` on: what was asked for, or 0 where the server cannot resume. */
export interface HubBody {
  readonly offset: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface Hub {
  /** The commit that the revision is now. */
  findCommit(signal?: AbortSignal): Promise<string>;
  /** The files of a commit: of a model those in its top folder, of a data set all. */
  listFiles(commit: string, signal?: AbortSignal): Promise<HubFile[]>;
  openFile(commit: string, file: HubFile, offset: number, signal?: AbortSignal): Promise<HubBody>;
}

/** A connection that moves nothing for so long is taken for lost. */
const STALL_MS = 30_000;

/** The hub as it answers about one repository. Its methods throw `DownloadError` or `TransientError`. */
export function openHub(name: RepoName, settings: HubSettings): Hub {
  const { endpoint, revision } = settings;
  const { kind, id } = name;
  const isDataset = kind === 'dataset';
  const fetchApi = (signal: AbortSignal | undefined) => (input: string | URL | Request) => {
    const limit = AbortSignal.timeout(STALL_MS);
    const either = signal ? AbortSignal.any([signal, limit]) : limit;
    return request(name, settings, new Request(input).url, {}, either);
  };
  return {
    async findCommit(signal) {
      const { datasetInfo, modelInfo } = await import('@huggingface/hub'); // slow to load
      const fetch = fetchApi(signal);
      const fields = ['sha' as const];
      const question = { name: id, revision, hubUrl: endpoint, additionalFields: fields, fetch };
      const answer = isDataset ? datasetInfo(question) : modelInfo(question);
      const { sha } = await answer.catch(failAnswer(endpoint));
      if (!isCommit(sha)) throw new DownloadError(`${endpoint} gives no commit for ${id}. ${ASK}`);
      return sha;
    },
    async listFiles(commit, signal) {
      const { listFiles } = await import('@huggingface/hub');
      const files: HubFile[] = [];
      const repo = { type: kind, name: id } as const;
      const fetch = fetchApi(signal);
      try {
        const listing = { repo, revision: commit, hubUrl: endpoint, fetch, recursive: isDataset };
        for await (const entry of listFiles(listing)) {
          if (entry.type === 'file') files.push(fileOf(entry));
        }
      } catch (error) {
        failAnswer(endpoint)(error);
      }
      return files;
    },
    async openFile(commit, file, offset, signal) {
      const watch = new StallWatch(signal);
      try {
        const path = file.name.split('/').map(encodeURIComponent).join('/');
        const url = `${endpoint}/${isDataset ? 'datasets/' : ''}${id}/resolve/${commit}/${path}`;
        const range = offset > 0 ? { range: `bytes=${offset}-` } : undefined;
        const response = await request(name, settings, url, range ?? {}, watch.signal);
        return { offset: checkExtent(response, file, offset), chunks: chunksOf(response, watch) };
      } catch (error) {
        watch.end();
        throw error;
      }
    },
  };
}

function fileOf({ path: name, size, oid = '', lfs }: ListFileEntry): HubFile {
  return lfs
    ? { name, size: lfs.size, hash: lfs.oid, hashKind: 'sha256' }
    : { name, size, hash: oid, hashKind: 'git-sha1' };
}

const ASK = 'Check HF_ENDPOINT and the network.';

/** A signal that aborts when the other does, or when nobody calls `touch` for a while. */
class StallWatch {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(signal: AbortSignal | undefined) {
    const own = this.#controller.signal;
    this.signal = signal ? AbortSignal.any([signal, own]) : own;
    this.#timer = setTimeout(() => this.#controller.abort(), STALL_MS);
  }

  touch(): void {
    this.#timer.refresh();
  }

  /** Closes the connection if it is still open. */
  end(): void {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}

async function* chunksOf({ body }: Response, watch: StallWatch): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body ?? []) {
      watch.touch();
      yield chunk;
    }
  } catch (cause) {
    throw new TransientError('The connection was lost', { cause });
  } finally {
    watch.end();
  }
}

async function request(
  name: RepoName,
  { endpoint, token, revision }: HubSettings,
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Response> {
  const response = await fetch(url, {
    // fetch does not send the token on to another host
    headers: {
      ...headers,
      'user-agent': 'looplm',
      'accept-encoding': 'identity',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    signal,
  }).catch((cause: unknown) => failConnection(endpoint, cause));
  if (response.ok) return response;
  await response.body?.cancel();
  return failStatus(response, { ...name, endpoint, revision, hasToken: token !== undefined });
}

/** The offset at which the body of an answer starts; its length must be what the listing says. */
function checkExtent({ status, headers }: Response, file: HubFile, offset: number): number {
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get('content-range') ?? '');
  const isPart = status === 206;
  const start = isPart ? Number(range?.[1]) : 0;
  // of an encoded body the length says nothing
  const length = headers.has('content-encoding') ? null : headers.get('content-length');
  const size = isPart ? Number(range?.[2]) : Number(length ?? file.size);
  if (size !== file.size) {
    throw new DownloadError(
      `${file.name}: the server has ${size} bytes, but the hub lists ${file.size}. Try again later.`,
    );
  }
  if (start !== offset && start !== 0) {
    throw new TransientError(`The server sent another part of ${file.name} than was asked for`);
  }
  return start;
}

const UNREACHABLE = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** No connection could be made: trying again at once is of no use, later it may be. */
export class UnreachableError extends TransientError {}

function failConnection(endpoint: string, error: unknown): never {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
  if (code !== undefined && UNREACHABLE.has(code)) {
    throw new UnreachableError(`${endpoint} cannot be reached (${code})`, { cause: error });
  }
  throw new TransientError(`The connection to ${endpoint} was lost`, { cause: error });
}

/** An answer that the client library could not read: it was cut off, or is not the hub's. */
function failAnswer(endpoint: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof DownloadError || error instanceof TransientError) throw error;
    throw new TransientError(`${endpoint} does not answer as a hub`, { cause: error });
  };
}

interface Subject extends RepoName {
  readonly endpoint: string;
  readonly revision: string;
  readonly hasToken: boolean;
}

function failStatus({ status, headers, url }: Response, subject: Subject): never {
  if (status === 429 || status === 408 || status >= 500) {
    const why = status === 429 ? 'asks for fewer requests' : `answered with status ${status}`;
    throw new TransientError(`${new URL(url).origin} ${why}`, { waitMs: askedWaitMs(headers) });
  }
  throw new DownloadError(refusal(status, headers, subject));
}

function refusal(status: number, headers: Headers, subject: Subject): string {
  const { kind, id, endpoint, revision, hasToken } = subject;
  const what = kind === 'dataset' ? 'data set' : 'model';
  const page = `${endpoint}/${kind === 'dataset' ? 'datasets/' : ''}${id}`;
  const code = headers.get('x-error-code');
  const said = headers.get('x-error-message') ?? '';
  if (code === 'GatedRepo') {
    return `${id} is gated: only accounts with access may download it. Ask for access at ${page} and set HF_TOKEN to a token of that account.`;
  }
  if (code === 'RevisionNotFound') {
    return `${id} has no revision ${JSON.stringify(revision)}. Give a branch, tag or commit of ${page}.`;
  }
  if (status === 401 && /invalid credentials/i.test(said)) {
    return `${endpoint} does not know the token. Set HF_TOKEN to a valid one, or unset it.`;
  }
  if (code === 'RepoNotFound' || status === 401 || (status === 404 && code === null)) {
    const todo = hasToken
      ? 'Check the name, and that the token may read it.'
      : 'Check the name; for a private ${what}, set HF_TOKEN.';
    return `${endpoint} has no ${what} ${id}, or hides it. ${todo}`;
  }
  if (status === 403) {
    return `${endpoint} forbids access to ${id}${said && `: ${said}`}. Check what the token of HF_TOKEN may read.`;
  }
  return `${endpoint} refused to send ${id} (status ${status}${said && `: ${said}`}). ${ASK}`;
}

/** Milliseconds the server asks to wait: Retry-After in seconds or as a date, or the hub's RateLimit. */
function askedWaitMs(headers: Headers): number {
  const after = headers.get('retry-after') ?? /\bt=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  if (after === undefined) return 0;
  const ms = /^\d+$/.test(after) ? 1000 * Number(after) : Date.parse(after) - Date.now();
  return ms > 0 ? ms : 0;
}
