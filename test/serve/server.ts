/**
 * Servers for tests: as compiled, since the device's worker exists only there, on a real socket.
 */
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type * as Library from '../../src/index.js';
import type * as Files from '../../src/platform/node/files/index.js';
import type * as Http from '../../src/platform/node/http/index.js';
import type { ListenOptions } from '../../src/platform/node/http/index.js';
import type * as Platform from '../../src/platform/node/index.js';
import type { PretrainedOptions } from '../../src/platform/node/index.js';
import type * as Serve from '../../src/serve/index.js';
import type { ServedModel, ServeOptions } from '../../src/serve/index.js';
import type * as Tokenizers from '../../src/tokenizer/index.js';
import { repositoryPath } from '../repository.js';

const built = async <T>(path: string): Promise<T> => {
  const file = repositoryPath(`dist/src/${path}`);
  if (!existsSync(file)) throw new Error('dist/ is missing: run `npm run build` first.');
  return (await import(pathToFileURL(file).href)) as T;
};

const { LoopLM } = await built<typeof Library>('index.js');
const { bundledModelPath, openPretrained } = await built<typeof Platform>('platform/node/index.js');
const { createServeApp, errorBody } = await built<typeof Serve>('serve/index.js');
const { listen } = await built<typeof Http>('platform/node/http/index.js');
export const { nodeFolder } = await built<typeof Files>('platform/node/files/index.js');
export const { ChatTemplate, CHATML_TEMPLATES } =
  await built<typeof Tokenizers>('tokenizer/index.js');

export type Model = Library.LoopLM;

/** What is asked last, as it stands: enough of a template for the bundled model. */
const LAST_MESSAGE = new ChatTemplate('{{ messages[-1].content }}');
export const MODEL_NAME = 'bundled';
/** Bytes of a page of 128 positions in one plane of the bundled model: 3 layers, keys and values in f32. */
export const PAGE_BYTES = 128 * 3 * 2 * 4 * 32 * 4;
/** A problem that the bundled model solves. */
export const PROBLEM =
  'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?';

/** The bundled model, or that of a folder; the caller disposes it. */
export async function loadModel(
  options: PretrainedOptions = {},
  path = bundledModelPath(),
): Promise<Model> {
  return openPretrained(path, { numThreads: 1, ...options }, LoopLM.load);
}

/** A line of a server's log. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A server that listens. */
export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly log: readonly LogLine[];
  /** A request with a body of JSON, or without one. */
  ask(path: string, body?: unknown, init?: RequestInit): Promise<Response>;
  /** The parsed answer, of whatever status. */
  json<T = Record<string, unknown>>(path: string, body?: unknown, init?: RequestInit): Promise<T>;
  drain(notice?: Promise<unknown>): Promise<void>;
}

/** Sees every request before it is answered. */
interface RequestWatch {
  readonly onRequest?: (request: Request) => void;
}

/** Serves a model on a free port of this machine. */
export async function openServer(
  model: ServedModel,
  options: Partial<ServeOptions> = {},
  { onRequest, ...listenOptions }: Partial<ListenOptions> & RequestWatch = {},
): Promise<TestServer> {
  const log: LogLine[] = [];
  const app = createServeApp(model, {
    modelName: MODEL_NAME,
    chatTemplate: LAST_MESSAGE,
    log: (level, message, fields) => log.push({ level, message, fields }),
    ...options,
  });
  const answer = async (request: Request) => {
    onRequest?.(request);
    return app.fetch(request);
  };
  const listener = await listen(answer, {
    host: '127.0.0.1',
    port: 0,
    errorBody,
    ...listenOptions,
  });
  const ask = async (path: string, body?: unknown, init: RequestInit = {}): Promise<Response> =>
    fetch(`${listener.url}${path}`, {
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
      ...init,
      headers: {
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(init.headers as Record<string, string> | undefined),
      },
    });
  return {
    url: listener.url,
    port: listener.port,
    log,
    ask,
    json: async <T>(path: string, body?: unknown, init?: RequestInit) =>
      (await ask(path, body, init)).json() as Promise<T>,
    drain: async (notice) => app.drain(notice),
    async [Symbol.asyncDispose]() {
      await app.drain();
      await listener.close(100);
    },
  };
}
