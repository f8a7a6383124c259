/**
 * Where a run is: `nats://HOST:PORT/RUN`, with what proves who asks in the address or in the variables that
 * the tools of NATS read (NATS_USER, NATS_PASSWORD, NATS_TOKEN, NATS_CREDS, NATS_NKEY, NATS_CA, NATS_CERT,
 * NATS_KEY).
 */
import { ConfigError } from '../../../errors.js';
import { quote } from '../../../util/quote.js';

export interface RunAddress {
  /** Host and port. */
  readonly server: string;
  readonly run: string;
  /** Whether the connection must be encrypted. */
  readonly isEncrypted: boolean;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
}

const DEFAULT_PORT = '4222';
const EXAMPLE = 'nats://localhost:4222/my-run';

/** @throws ConfigError if the text is no such address; it does not show what is secret */
export function parseRunAddress(text: string): RunAddress {
  const fail = (problem: string): never => {
    const shown = quote(text.replace(/\/\/[^/@]*@/, '//...@'));
    throw new ConfigError(
      'join',
      `The address ${shown} ${problem}. Give one such as ${EXAMPLE}; tls:// in place of nats:// asks for encryption.`,
    );
  };
  const match =
    /^(nats|tls):\/\/(?:([^/@]*)@)?(\[[\da-fA-F:.]+\]|[^/:@\s]+)(?::(\d+))?(?:\/(.*))?$/.exec(text);
  if (!match) return fail('is not one of a run');
  const [, scheme, login, host, port = DEFAULT_PORT, run = ''] = match;
  if (Number(port) < 1 || Number(port) > 65_535) return fail('has no port from 1 to 65535');
  if (!/^[\w-]{1,64}$/.test(run)) {
    return fail('lacks the name of a run behind the host: letters, digits, - and _, at most 64');
  }
  const [user, password] = (login ?? '').split(/:(.*)/s).map((part) => decode(part, fail));
  return {
    server: `${host}:${port}`,
    run,
    isEncrypted: scheme === 'tls',
    ...(login !== undefined && (password === undefined ? { token: user } : { user, password })),
  };
}

function decode(part: string, fail: (problem: string) => never): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return fail('has a % in the login that starts no character');
  }
}
