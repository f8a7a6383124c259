/** An operator of NATS servers, who vouches for accounts, and these for users: what `nsc` makes, in memory. */
import { nkeys } from '@nats-io/transport-node';

type KeyPair = ReturnType<typeof nkeys.createUser>;

const SYSTEM = 'system';
const UNLIMITED = { subs: -1, data: -1, payload: -1, conn: -1, leaf: -1, imports: -1, exports: -1 };
const UNLIMITED_STORAGE = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

export interface Operator {
  /** Lines of the configuration of a server that trusts it. */
  readonly settings: string;
  /** The file of credentials of a user of an account. */
  readonly credentials: (account: string) => string;
}

/** With keys of its own, and accounts of these names that may store what they like. */
export function operatorOf(accounts: readonly string[]): Operator {
  const operator = nkeys.createOperator();
  const keys = new Map([SYSTEM, ...accounts].map((name) => [name, nkeys.createAccount()]));
  const preloaded = [...keys].map(([name, key]) => {
    // JetStream is refused to the account of the server itself.
    const storage = name === SYSTEM ? {} : UNLIMITED_STORAGE;
    const limits = { ...UNLIMITED, wildcards: true, ...storage };
    return `${key.getPublicKey()}: ${vouch(operator, key, name, { type: 'account', limits })}`;
  });
  return {
    settings: [
      `operator: ${vouch(operator, operator, 'operator', { type: 'operator' })}`,
      `system_account: ${keys.get(SYSTEM)!.getPublicKey()}`,
      'resolver: MEMORY',
      `resolver_preload: {\n${preloaded.join('\n')}\n}`,
    ].join('\n'),
    credentials(account) {
      const user = nkeys.createUser();
      const { subs, data, payload } = UNLIMITED;
      const claims = { type: 'user', subs, data, payload, pub: {}, sub: {} };
      const jwt = vouch(keys.get(account)!, user, 'user', claims);
      return `${block('NATS USER JWT', jwt)}\n${block('USER NKEY SEED', text(user.getSeed()))}`;
    },
  };
}

/** A token in which one key says who the other is, as NATS reads it. */
function vouch(by: KeyPair, of: KeyPair, name: string, claims: Readonly<Record<string, unknown>>) {
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const body = [
    encode({ typ: 'JWT', alg: 'ed25519-nkey' }),
    encode({
      jti: of.getPublicKey(),
      iat: Math.floor(Date.now() / 1000),
      iss: by.getPublicKey(),
      sub: of.getPublicKey(),
      name,
      nats: { version: 2, ...claims },
    }),
  ].join('.');
  return `${body}.${Buffer.from(by.sign(Buffer.from(body))).toString('base64url')}`;
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const block = (name: string, content: string): string =>
  `-----BEGIN ${name}-----\n${content}\n------END ${name}------\n`;
