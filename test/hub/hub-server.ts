/**
 * A hub of one model and one data set on this machine: the part of the Hugging Face protocol that clients use to
 * download, and faults on demand.
 *
 * Large files (*.safetensors) are redirected to a second server under another host name, as the hub
 * does to its CDN, so that what crosses to another host is seen. Source: the requests of
 * huggingface_hub 2.0 and @huggingface/hub 2.17, and the answers their code reads.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export const MODEL = 'org/tiny';
export const DATASET = 'org/texts';
export const COMMIT = 'c0ffee'.padEnd(40, '0');

/** What was asked of either server. */
export interface SeenRequest {
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** Answers in place of the hub; `content` is that of the file, if the path is one. */
export type Fault = (
  response: ServerResponse,
  request: IncomingMessage,
  content: Buffer,
) => unknown;

export interface HubServer {
  readonly url: string;
  readonly seen: SeenRequest[];
  readonly files: Map<string, Buffer>;
  /** The files of the data set, by their paths. */
  readonly dataset: Map<string, Buffer>;
  /** Commits of branches and tags; the files are the same at every commit. */
  readonly revisions: Map<string, string>;
  /** Requests must bear this token. */
  token?: string;
  /** Bytes per second of file contents, in pieces of 64 kB. */
  bytesPerSecond?: number;
  /** Lets the fault answer the next `times` requests whose path matches. */
  fail(path: RegExp, fault: Fault, times?: number): void;
  /** The requests for the content of a file at the server that has it. */
  downloads(name: string): SeenRequest[];
  close(): Promise<void>;
}

const isLarge = (name: string): boolean => /\.(safetensors|parquet)$/.test(name);

/** sha256 of a large file, git's blob hash of a small one. */
export function hashOf(name: string, content: Buffer): string {
  if (isLarge(name)) return createHash('sha256').update(content).digest('hex');
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

/** Starts the two servers on free ports. */
export async function startHub(files: Readonly<Record<string, Buffer>>): Promise<HubServer> {
  const faults: { path: RegExp; fault: Fault; times: number }[] = [];
  const hub: Omit<HubServer, 'url'> = {
    seen: [],
    files: new Map(Object.entries(files)),
    dataset: new Map(),
    revisions: new Map([['main', COMMIT]]),
    fail: (path, fault, times = 1) => void faults.push({ path, fault, times }),
    downloads: (name) =>
      hub.seen.filter(({ path }) => path === `/${isLarge(name) ? 'cdn' : resolvePath}/${name}`),
    close: async () => {
      for (const server of [origin, cdn]) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
  const resolvePath = `${MODEL}/resolve/${COMMIT}`;
  const handle =
    (answer: (path: string, request: IncomingMessage, response: ServerResponse) => unknown) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      const path = new URL(request.url!, 'http://hub').pathname;
      const { range, authorization } = request.headers;
      hub.seen.push({ method: request.method!, path, range, authorization });
      response.on('error', () => {}); // the client left
      const found = faults.find((entry) => entry.times > 0 && entry.path.test(path));
      if (found === undefined) return void answer(path, request, response);
      found.times--;
      found.fault(response, request, hub.files.get(path.split('/').at(-1)!) ?? Buffer.alloc(0));
    };
  const cdn: Server = createServer(
    handle((path, request, response) => {
      const name = path.slice('/cdn/'.length);
      const content = hub.files.get(name) ?? hub.dataset.get(name);
      if (content === undefined) return response.writeHead(404).end();
      return sendContent(response, request, content, hub);
    }),
  );
  const origin: Server = createServer(
    handle((path, request, response) => answerOrigin(hub, cdnUrl, path, request, response)),
  );
  const url = `http://127.0.0.1:${await listen(origin)}`;
  const cdnUrl = `http://localhost:${await listen(cdn)}`;
  return Object.assign(hub, { url });
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function answerOrigin(
  hub: Omit<HubServer, 'url'>,
  cdnUrl: string,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): unknown {
  if (hub.token !== undefined && request.headers.authorization !== `Bearer ${hub.token}`) {
    return refuse(response, 401, 'RepoNotFound', 'Invalid username or password.');
  }
  const api = /^\/api\/(?:models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(path);
  const file = /^\/(?:datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
  const isDataset = /^(\/api)?\/datasets\//.test(path);
  const files = isDataset ? hub.dataset : hub.files;
  const [, id, kind, name] = api ?? [undefined, file?.[1], file?.[3], file?.[2]];
  const known = isDataset ? DATASET : MODEL;
  if (id !== known) return refuse(response, 404, 'RepoNotFound', 'Repository not found');
  const revision = decodeURIComponent(name!);
  const commits = [COMMIT, ...hub.revisions.values()];
  const commit = commits.includes(revision) ? revision : hub.revisions.get(revision);
  if (commit === undefined) {
    return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
  }
  if (api && kind === 'revision') {
    return sendJson(response, { _id: 'x', id, sha: commit, private: false, lastModified: 0 });
  }
  if (api) return sendJson(response, listingOf(files));
  return sendFile({ ...hub, files }, cdnUrl, kind!, commit, request, response);
}

/** The tree of a commit; every repository also has files that no model needs. */
function listingOf(files: ReadonlyMap<string, Buffer>): object[] {
  const entries = [...files].map(([path, content]) => {
    const [oid, size] = [hashOf(path, content), content.length];
    if (!isLarge(path)) return { type: 'file', oid, size, path };
    const pointer = createHash('sha1').update(path).digest('hex');
    const lfs = { oid, size, pointerSize: 135 };
    return { type: 'file', oid: pointer, size, path, lfs, xetHash: oid.replaceAll('0', '1') };
  });
  return [{ type: 'directory', oid: '0'.repeat(40), size: 0, path: 'onnx' }, ...entries];
}

function sendFile(
  hub: Omit<HubServer, 'url'>,
  cdnUrl: string,
  name: string,
  commit: string,
  request: IncomingMessage,
  response: ServerResponse,
): unknown {
  const content = hub.files.get(name);
  if (content === undefined) return refuse(response, 404, 'EntryNotFound', 'Entry not found');
  const hash = hashOf(name, content);
  response.setHeader('x-repo-commit', commit);
  if (!isLarge(name)) {
    response.setHeader('etag', `"${hash}"`);
    return sendContent(response, request, content, hub);
  }
  const location = `${cdnUrl}/cdn/${name}`;
  const linked = { 'x-linked-etag': `"${hash}"`, 'x-linked-size': content.length, location };
  return response.writeHead(302, linked).end();
}

/** Sends a file or the part of it that the request's Range asks for. */
export async function sendContent(
  response: ServerResponse,
  request: IncomingMessage,
  content: Buffer,
  { bytesPerSecond }: { readonly bytesPerSecond?: number } = {},
): Promise<void> {
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const start = Number(range?.[1] ?? 0);
  if (start >= content.length && range) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    return;
  }
  const part = content.subarray(start);
  response.writeHead(range ? 206 : 200, {
    'accept-ranges': 'bytes',
    'content-length': part.length,
    ...(range && { 'content-range': rangeHeader(start, content.length) }),
  });
  if (request.method === 'HEAD') return void response.end();
  if (bytesPerSecond === undefined) return void response.end(part);
  const piece = 65_536;
  for (let at = 0; at < part.length && !response.destroyed; at += piece) {
    response.write(part.subarray(at, at + piece));
    await delay((1000 * piece) / bytesPerSecond);
  }
  response.end();
}

const rangeHeader = (start: number, size: number): string => `bytes ${start}-${size - 1}/${size}`;

function sendJson(response: ServerResponse, value: unknown): unknown {
  return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** Refuses as the hub does. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: string | undefined,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): unknown {
  const codes = { ...(code && { 'x-error-code': code }), 'x-error-message': message, ...headers };
  const json = { 'content-type': 'application/json' };
  return response.writeHead(status, { ...json, ...codes }).end(JSON.stringify({ error: message }));
}

/** Sends a part of what is asked for and then drops the connection. */
export function dropAfter(numBytes: number): Fault {
  return (response, request, content) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': content.length - start,
      ...(start > 0 && { 'content-range': rangeHeader(start, content.length) }),
    });
    response.write(content.subarray(start, start + numBytes), () =>
      setTimeout(() => response.destroy(), 5),
    );
  };
}
