/** The store over NATS: what it promises, and what it says of servers that do not let it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SharedStore } from '../../src/cluster/index.js';
import { CapacityError, ConfigError, FileError, ServerError } from '../../src/errors.js';
import { parseRunAddress } from '../../src/platform/node/nats/address.js';
import { connectRun } from '../../src/platform/node/index.js';
import { freePort, missingPrograms, sleep } from '../programs.js';
import { operatorOf } from './nats-operator.js';
import { NatsServer } from './nats-server.js';

const missing = missingPrograms(['nats-server']);
const folder = mkdtempSync(join(tmpdir(), 'looplm-nats-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const open = (address: string, env = {}, onNote: (line: string) => void = () => {}) =>
  connectRun(address, { env, onNote });

/** Uses a store as far as proves that there is one. */
async function isUsable(store: SharedStore): Promise<boolean> {
  await store.replace('key', 'value');
  const found = await store.read('key');
  await store.close();
  return found?.text === 'value';
}

describe('addresses', () => {
  it('name server, run and login', () => {
    expect(parseRunAddress('nats://h/r-1')).toEqual({
      server: 'h:4222',
      run: 'r-1',
      isEncrypted: false,
    });
    expect(parseRunAddress('tls://u:p%3a%40:x@h.example:99/r')).toEqual({
      server: 'h.example:99',
      run: 'r',
      isEncrypted: true,
      user: 'u',
      password: 'p:@:x',
    });
    expect(parseRunAddress('nats://secret@[::1]:1/r')).toMatchObject({
      server: '[::1]:1',
      token: 'secret',
    });
  });

  it.each(['', 'h/r', 'http://h/r', 'nats://h', 'nats://h/', 'nats://h/a b', 'nats://h:0/r'])(
    'that are none are refused: %s',
    (text) => {
      expect(() => parseRunAddress(text)).toThrow(ConfigError);
      expect(() => parseRunAddress(text)).toThrow(/Give one such as nats:/);
    },
  );

  it('are shown without what is secret', () => {
    expect(() => parseRunAddress('nats://user:hidden@h:70000/r')).toThrow(/\/\/\.\.\.@h/);
    expect(() => parseRunAddress('nats://user:hidden@h:70000/r')).not.toThrow(/hidden/);
  });
});

it.each(['NATS_CREDS', 'NATS_NKEY'])(
  'a file in %s that holds something else is named',
  async (variable) => {
    const path = join(folder, 'notes.txt');
    for (const content of ['', 'hidden words\n']) {
      writeFileSync(path, content);
      const opening = open('nats://127.0.0.1:1/run', { [variable]: path });
      await expect(opening).rejects.toThrow(FileError);
      await expect(opening).rejects.toThrow(
        new RegExp(`notes.txt, which ${variable} names, .*unset`),
      );
      await expect(opening).rejects.not.toThrow(/hidden/);
    }
  },
);

it('a server that is not there is told at once', async () => {
  const address = `nats://127.0.0.1:${await freePort()}/run`;
  await expect(open(address)).rejects.toThrow(ServerError);
  await expect(open(address)).rejects.toThrow(/^Cannot connect .*ECONNREFUSED.*--jetstream\.$/);
});

describe('a server', () => {
  beforeEach((context) => {
    if (missing.length > 0) context.skip('needs nats-server; npm run test:cluster installs it');
  });

  it('without JetStream is told so', async () => {
    await using server = await NatsServer.start({ folder, jetStream: '' });
    const opening = open(server.run('run'));
    await expect(opening).rejects.toThrow(/runs without JetStream.*--jetstream/);
  });

  it('that wants a login takes it from the address or the environment', async () => {
    const login = 'authorization { user: "ann", password: "p:w" }';
    await using server = await NatsServer.start({ folder, settings: login });
    const address = server.run('run');
    await expect(open(address)).rejects.toThrow(/Authorization Violation.*the login/);
    const wrong = open(address, { NATS_USER: 'ann', NATS_PASSWORD: 'x' });
    await expect(wrong).rejects.toThrow(/Authorization Violation/);
    const right = await open(address, { NATS_USER: 'ann', NATS_PASSWORD: 'p:w' });
    expect(await isUsable(right)).toBe(true);
    expect(await isUsable(await open(address.replace('//', '//ann:p%3Aw@')))).toBe(true);
  });

  it('that wants a token takes it from the address or the environment', async () => {
    const settings = 'authorization { token: "t0ken" }';
    await using server = await NatsServer.start({ folder, settings });
    const address = server.run('run');
    expect(await isUsable(await open(address.replace('//', '//t0ken@')))).toBe(true);
    expect(await isUsable(await open(address, { NATS_TOKEN: 't0ken' }))).toBe(true);
  });

  it('that knows keys takes the file of one from the environment', async () => {
    // The example of the documentation of NATS.
    const seed = 'SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY';
    const known = 'UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4';
    const [path, lost] = [join(folder, 'key.nk'), join(folder, 'lost.nk')];
    writeFileSync(path, `${seed}\n`);
    const settings = `authorization { users: [ { nkey: ${known} } ] }`;
    await using server = await NatsServer.start({ folder, settings });
    const address = server.run('run');
    await expect(open(address)).rejects.toThrow(/Authorization Violation/);
    expect(await isUsable(await open(address, { NATS_NKEY: path }))).toBe(true);
    await expect(open(address, { NATS_NKEY: lost })).rejects.toThrow(FileError);
  });

  it('of an operator takes a file of credentials from the environment', async () => {
    const { settings, credentials } = operatorOf(['looplm', 'another']);
    const [path, foreign] = [join(folder, 'user.creds'), join(folder, 'foreign.creds')];
    writeFileSync(path, credentials('looplm'));
    writeFileSync(foreign, operatorOf(['looplm']).credentials('looplm'));
    await using server = await NatsServer.start({ folder, settings });
    const address = server.run('run');
    await expect(open(address)).rejects.toThrow(/Authorization Violation.*the login/);
    await expect(open(address, { NATS_CREDS: foreign })).rejects.toThrow(/Authorization Violation/);
    expect(await isUsable(await open(address, { NATS_CREDS: path }))).toBe(true);
    // Accounts do not see each other's runs.
    writeFileSync(path, credentials('another'));
    const store = await open(address, { NATS_CREDS: path });
    expect(await store.read('key')).toBeUndefined();
    await store.close();
  });

  it('that lets a login do too little is told with what is refused', async () => {
    const settings = `authorization { users: [
      { user: "ann", password: "p", permissions: { publish: ["$JS.API.>", "_INBOX.>"], subscribe: ">" } }
    ] }`;
    await using server = await NatsServer.start({ folder, settings });
    const store = await open(server.run('run').replace('//', '//ann:p@'));
    await expect(store.replace('key', 'value')).rejects.toThrow(/refuses: .*permissions/i);
    await store.close();
  });

  it('with encryption is used with it, and with a certificate that is known alone', async (context) => {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    try {
      const words = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost';
      const names = ['-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert];
      execFileSync('openssl', [...words.split(' '), ...names], { stdio: 'pipe' });
    } catch {
      context.skip('needs openssl, to make a certificate');
    }
    const settings = `tls { cert_file: "${cert}", key_file: "${key}" }`;
    await using server = await NatsServer.start({ folder, settings });
    const address = server.run('run').replace('nats://127.0.0.1', 'tls://localhost');
    await expect(open(address)).rejects.toThrow(/self-signed certificate/);
    expect(await isUsable(await open(address, { NATS_CA: cert }))).toBe(true);
  });

  it('without encryption is refused where it is asked for', async () => {
    await using server = await NatsServer.start({ folder });
    const opening = open(server.run('run').replace('nats:', 'tls:'));
    await expect(opening).rejects.toThrow(/server does not support 'tls'/);
  });

  it('whose store is full is told, and has what it had when it gets more room', async () => {
    const withRoom = (bytes: string) => ({
      folder,
      jetStream: `jetstream { store_dir: "${join(folder, 'full')}", max_file_store: ${bytes} }`,
    });
    await using small = await NatsServer.start(withRoom('3M'));
    const store = await open(small.run('run'));
    await store.putObject('small', Uint8Array.of(1, 2, 3));
    const putting = store.putObject('large', new Uint8Array(8e6));
    await expect(putting).rejects.toThrow(CapacityError);
    expect(await store.getObject('small')).toEqual(Uint8Array.of(1, 2, 3));
    expect(await store.getObject('large')).toBeUndefined();
    await store.close();
    await small.kill();

    await using roomy = await NatsServer.start(withRoom('30M'));
    const again = await open(roomy.run('run'));
    expect(await again.getObject('small')).toEqual(Uint8Array.of(1, 2, 3));
    await again.putObject('large', new Uint8Array(8e6));
    expect(await again.getObject('large')).toHaveLength(8e6);
    await again.close();
  });
});

describe('the store', () => {
  let server: NatsServer | undefined;
  let store: SharedStore;
  const notes: string[] = [];
  beforeAll(async () => {
    if (missing.length > 0) return;
    server = await NatsServer.start({ folder });
    store = await open(server.run('laws'), {}, (line) => notes.push(line));
  });
  beforeEach((context) => {
    if (missing.length > 0) context.skip('needs nats-server; npm run test:cluster installs it');
  });
  afterAll(async () => {
    await store?.close();
    await server?.kill();
  });

  it('lets one of several writers win', async () => {
    expect(await store.read('race')).toBeUndefined();
    const writes = Array.from({ length: 8 }, (_, n) => store.write('race', `${n}`, 0));
    const won = (await Promise.all(writes)).flatMap((isWritten, n) => (isWritten ? [n] : []));
    expect(won).toHaveLength(1);
    const found = (await store.read('race'))!;
    expect(found.text).toBe(`${won[0]}`);
    expect(await store.write('race', 'newer', found.revision)).toBe(true);
    expect(await store.write('race', 'late', found.revision)).toBe(false);
    await store.remove('race');
    expect(await store.read('race')).toBeUndefined();
    expect(await store.write('race', 'again', 0)).toBe(true);
  });

  it('keeps objects of many pieces, once under a name, until they are removed', async () => {
    const bytes = Uint8Array.from({ length: 5e6 }, (_, i) => (i * 2654435761) >>> 24);
    await store.putObject('big', bytes);
    await store.putObject('big', Uint8Array.of(9)); // the name is taken
    await store.putObject('none', new Uint8Array());
    expect(Buffer.from((await store.getObject('big'))!).equals(bytes)).toBe(true);
    expect(await store.getObject('none')).toHaveLength(0);
    expect(await store.getObject('other')).toBeUndefined();
    expect((await store.objectNames()).toSorted()).toEqual(['big', 'none']);
    await store.removeObject('big');
    await store.removeObject('big');
    expect(await store.getObject('big')).toBeUndefined();
    expect(await store.objectNames()).toEqual(['none']);
  });

  it('waits for a server that was killed, says so, and has what it had', async () => {
    await store.replace('kept', 'as it was');
    await server!.kill();
    const reading = store.read('kept');
    await sleep(1500);
    await server!.start();
    expect((await reading)?.text).toBe('as it was');
    expect(notes.some((line) => /NATS server .*:\d+/.test(line))).toBe(true);
    await expect.poll(() => notes.at(-1), { timeout: 10_000 }).toMatch(/^connected to .* again$/);
  });
});
