/**
 * Listens for HTTP and hands requests on in web standards.
 *
 * What never becomes a request (broken lines, headers that are too long or too slow) is answered here,
 * in the same shape as all else. A peer that is gone, or does not take its answer, loses its
 * connection after a while, so that nothing is kept for it.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { STATUS_CODES, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { bind } from './bind.js';

/** Where and how to listen. */
export interface ListenOptions {
  /** Address or name to bind. */
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** JSON that tells of a failure. */
  readonly errorBody: (status: number, code: string, message: string) => string;
  /** For the headers of a request. Default 10 s. */
  readonly headersTimeoutMs?: number | undefined;
  /** For a request with its body. Default 60 s. */
  readonly requestTimeoutMs?: number | undefined;
  /** How long a reader may take nothing of an answer that waits for it. Default 30 s. */
  readonly slowReaderMs?: number | undefined;
  /** How long an idle connection is kept. Default 75 s, longer than balancers keep theirs. */
  readonly idleTimeoutMs?: number | undefined;
}

/** A server that listens. */
export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Takes no more connections; resolves when the last is closed, after a time at the latest. */
  close(patienceMs?: number): Promise<void>;
}

const MAX_HEADER_BYTES = 16 * 1024;
const KEEP_ALIVE_PROBE_MS = 30_000;
const CHECK_MS = 1000;
/** For a peer to take the answer to what was no request. */
const LAST_WORDS_MS = 2000;

/** @throws ConfigError if the address cannot be had */
export async function listen(
  fetch: (request: Request) => Promise<Response>,
  options: ListenOptions,
): Promise<Listener> {
  const { errorBody, headersTimeoutMs = 10_000, requestTimeoutMs = 60_000 } = options;
  const { slowReaderMs = 30_000, idleTimeoutMs = 75_000 } = options;
  const answer = getRequestListener(fetch, {
    overrideGlobalObjects: false,
    hostname: 'localhost',
    errorHandler: (error) => {
      const message = error instanceof Error ? error.message : String(error);
      return jsonResponse(
        400,
        errorBody(400, 'invalid_request', `The request is not valid: ${message}.`),
      );
    },
  });
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: Math.min(headersTimeoutMs, requestTimeoutMs),
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: idleTimeoutMs,
      connectionsCheckingInterval: CHECK_MS,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
      requireHostHeader: false, // told by who checks it
      noDelay: true,
    },
    (request, response) => {
      cutSlowReader(request, response, slowReaderMs);
      void answer(request, response);
    },
  );
  answerOthers(server, errorBody);
  await bind(server, options);
  const { port } = server.address() as AddressInfo;
  const name = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    host: options.host,
    port,
    url: `http://${name}:${port}`,
    close: async (patienceMs = 5000) => closeServer(server, patienceMs),
  };
}

function jsonResponse(status: number, body: string): Response {
  return new Response(body, { status, headers: { 'content-type': 'application/json' } });
}

/** How often in its time a reader is looked at. */
const LOOKS = 4;

/** Ends the connection of a reader for whom an answer has waited too long. */
function cutSlowReader(
  { socket }: IncomingMessage,
  response: ServerResponse,
  slowReaderMs: number,
): void {
  let waitedMs = 0;
  const timer = setInterval(() => {
    const waits = response.writableNeedDrain || response.writableEnded;
    waitedMs = waits ? waitedMs + slowReaderMs / LOOKS : 0;
    if (waitedMs >= slowReaderMs) socket.destroy();
  }, slowReaderMs / LOOKS);
  response.on('drain', () => (waitedMs = 0));
  response.once('close', () => clearInterval(timer));
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

/** Why Node.js could not make a request of what came. */
function refusalOf({ code }: NodeJS.ErrnoException): Refusal {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return {
        status: 431,
        code: 'headers_too_large',
        message: `The headers are longer than ${MAX_HEADER_BYTES} bytes.`,
      };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return {
        status: 408,
        code: 'request_timeout',
        message: 'The request took too long to arrive. Send it at once.',
      };
    default:
      return {
        status: 400,
        code: 'invalid_request',
        message: `What was sent is no HTTP request${code ? ` (${code})` : ''}.`,
      };
  }
}

/** Answers what is no request, or one that only proxies take. */
function answerOthers(server: Server, errorBody: ListenOptions['errorBody']): void {
  const answers = new WeakMap<Duplex, ServerResponse>();
  server.on('request', ({ socket }, response) => answers.set(socket, response));
  const refuse = (socket: Duplex, { status, code, message }: Refusal) => {
    const answer = answers.get(socket);
    // the last answer of the connection is under way or done, and ends it
    if (answer?.headersSent && !answer.shouldKeepAlive) return;
    // in the midst of an answer nothing else can be said
    const isMidway = answer?.headersSent && !answer.writableFinished;
    if (!socket.writable || isMidway) return void socket.destroy();
    const body = errorBody(status, code, message);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
    const timer = setTimeout(() => socket.destroy(), LAST_WORDS_MS);
    socket.once('close', () => clearTimeout(timer));
    socket.resume();
  };
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // more than the request that was to be the last: that one is answered, and then the end
    if (error.code === 'HPE_CLOSED_CONNECTION' && answers.has(socket)) return;
    if (error.code === 'ECONNRESET') socket.destroy();
    else refuse(socket, refusalOf(error));
  });
  server.on('connect', (_, socket: Duplex) => {
    socket.on('error', () => {});
    refuse(socket, {
      status: 405,
      code: 'method_not_allowed',
      message: 'This server is no proxy and does not take CONNECT.',
    });
  });
  server.on('checkExpectation', ({ socket }: IncomingMessage, response: ServerResponse) => {
    answers.set(socket, response);
    const body = errorBody(417, 'expectation_failed', 'Only Expect: 100-continue is known.');
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    };
    response.writeHead(417, headers).end(body);
  });
}

async function closeServer(server: Server, patienceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const timer = setTimeout(() => server.closeAllConnections(), patienceMs);
  await closed;
  clearTimeout(timer);
}
