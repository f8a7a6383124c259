/** Connects to a NATS server for a run, and says what stands in the way. */
import { readFile } from 'node:fs/promises';
import type { Authenticator, ConnectionOptions, NatsConnection } from '@nats-io/transport-node';
import { connect, credsAuthenticator, nkeyAuthenticator } from '@nats-io/transport-node';
import type { SharedStore } from '../../../cluster/index.js';
import { FileError, ServerError } from '../../../errors.js';
import { failRead } from '../files/index.js';
import { parseRunAddress } from './address.js';
import type { RunAddress } from './address.js';
import { explain, messageOf } from './faults.js';
import { openNatsStore } from './nats-store.js';

export interface ConnectRunOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Called with what is waited for, a line each. */
  readonly onNote: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

const CONNECT_MS = 10_000;
/** A connection without an answer for two of these is lost. */
const PING_MS = 10_000;
const RECONNECT_MS = 500;

const CREDENTIALS = 'the credentials of a user, as nsc writes them';
const SEED = 'the seed of an nkey, which begins with SU';

/**
 * The store of a run.
 *
 * @throws ConfigError for an address that is none; ServerError if the server cannot be reached, does not let
 * us in, or has no JetStream; FileError if a file of credentials cannot be
 * read or holds something else
 */
export async function connectRun(
  address: string,
  { env, onNote, signal }: ConnectRunOptions,
): Promise<SharedStore> {
  const parsed = parseRunAddress(address);
  const connection = await open(parsed, env);
  try {
    return await openNatsStore(connection, parsed, { onNote, signal });
  } catch (error) {
    await connection.close();
    throw explain(error, parsed.server);
  }
}

async function open(address: RunAddress, env: ConnectRunOptions['env']): Promise<NatsConnection> {
  const { server } = address;
  const login = await loginOf(address, env);
  try {
    return await connect({
      servers: server,
      name: 'looplm',
      timeout: CONNECT_MS,
      pingInterval: PING_MS,
      maxPingOut: 2,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_MS,
      ...login,
    });
  } catch (error) {
    throw new ServerError(
      `Cannot connect to the NATS server ${server}: ${messageOf(error)}. Check the address and the login, and that nats-server runs there with --jetstream.`,
      { cause: error },
    );
  }
}

/** Of the address first, then of the environment. */
async function loginOf(
  { user, password, token, isEncrypted }: RunAddress,
  env: ConnectRunOptions['env'],
): Promise<ConnectionOptions> {
  const read = async (name: string) => {
    const path = env[name];
    if (!path) return undefined;
    return readFile(path, 'utf8').catch((cause: unknown) => failRead(path, cause));
  };
  const [ca, cert, key] = [await read('NATS_CA'), await read('NATS_CERT'), await read('NATS_KEY')];
  const wantsTls = isEncrypted || [ca, cert, key].some((text) => text !== undefined);
  const tls = wantsTls && {
    tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
  };
  const encoder = new TextEncoder();
  if (token !== undefined) return { token, ...tls };
  if (user !== undefined) return { user, pass: password ?? '', ...tls };
  const creds = await read('NATS_CREDS');
  if (creds !== undefined) {
    const authenticator = credsAuthenticator(encoder.encode(creds));
    return { authenticator: tried(authenticator, env, 'NATS_CREDS', CREDENTIALS), ...tls };
  }
  const seed = await read('NATS_NKEY');
  if (seed !== undefined) {
    const authenticator = nkeyAuthenticator(encoder.encode(seed.trim()));
    return { authenticator: tried(authenticator, env, 'NATS_NKEY', SEED), ...tls };
  }
  const { NATS_USER, NATS_PASSWORD, NATS_TOKEN } = env;
  if (NATS_TOKEN) return { token: NATS_TOKEN, ...tls };
  if (NATS_USER) return { user: NATS_USER, pass: NATS_PASSWORD ?? '', ...tls };
  return { ...tls };
}

/** Signs once, so that a file which holds something else is told by its name and not by the connection. */
function tried(
  authenticator: Authenticator,
  env: ConnectRunOptions['env'],
  variable: string,
  content: string,
): Authenticator {
  try {
    authenticator('nonce');
    return authenticator;
  } catch (cause) {
    const path = env[variable]!;
    throw new FileError(
      path,
      `${path}, which ${variable} names, does not hold ${content} (${messageOf(cause)}). Name a file that does, or unset ${variable}.`,
      { cause },
    );
  }
}
