import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError, DownloadError, LoopLMError } from '../../../errors.js';
import { loadCheckpoint } from '../../../model/checkpoint.js';
import { noise, PULLED, REPOSITORY, setUpHub } from '../../../../test/hub/hub-client.js';
import { COMMIT, hashOf, MODEL, refuse, sendContent } from '../../../../test/hub/hub-server.js';
import { nodeFolder } from '../files/index.js';
import type { PullOptions, PullProgress } from './pull.js';
import { pullModel } from './pull.js';

const test = setUpHub();
const WEIGHTS = 'model.safetensors';

const pull = (options: PullOptions = {}, id = MODEL) => pullModel(id, options, test.platform);

/** The one-line error of looplm that a pull ends in. */
async function pullError(options: PullOptions = {}, id = MODEL): Promise<LoopLMError> {
  const error = await pull(options, id).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(LoopLMError);
  expect((error as LoopLMError).message).not.toContain('\n');
  return error as LoopLMError;
}

const repoPath = (...parts: string[]) => join(test.cache, 'models--org--tiny', ...parts);

describe('a pull', () => {
  it('lays blobs, links and the revision out as the Python client reads them', async () => {
    const pulled = await pull();
    expect(pulled).toMatchObject({ path: repoPath('snapshots', COMMIT), revision: COMMIT });
    expect(pulled.files.map(({ name }) => name).toSorted()).toEqual(PULLED);
    expect(fs.readdirSync(pulled.path).toSorted()).toEqual(PULLED);
    expect(fs.readFileSync(repoPath('refs', 'main'), 'utf8')).toBe(COMMIT);
    for (const name of PULLED) {
      const blob = hashOf(name, REPOSITORY[name]!);
      expect(fs.readlinkSync(join(pulled.path, name))).toBe(`../../blobs/${blob}`);
      expect(fs.readFileSync(repoPath('blobs', blob)).equals(REPOSITORY[name]!)).toBe(true);
    }
    expect(fs.readdirSync(repoPath('blobs'))).toHaveLength(PULLED.length);
    expect(fs.readdirSync(repoPath()).toSorted()).toEqual(['blobs', 'refs', 'snapshots']);
  });

  it('ends in a folder that loads as a checkpoint', async () => {
    const { path } = await pull();
    expect((await loadCheckpoint(nodeFolder(path))).config.numLoops).toBe(4);
  });

  it('repeated, fetches no file again', async () => {
    const first = await pull();
    test.hub.seen.length = 0;
    expect(await pull()).toEqual(first);
    expect(test.hub.seen.filter(({ path }) => !path.startsWith('/api/'))).toEqual([]);
  });

  it('of a branch with slashes notes that branch alone', async () => {
    const branch = 'refs/pr/1';
    test.hub.revisions.set(branch, COMMIT);
    await pull({ revision: branch });
    expect(fs.readFileSync(repoPath('refs', branch), 'utf8')).toBe(COMMIT);
    expect(fs.existsSync(repoPath('refs', 'main'))).toBe(false);
  });

  it('of a branch that moved fetches what changed and keeps the old snapshot', async () => {
    const old = await pull();
    const next = 'd'.repeat(40);
    test.hub.revisions.set('main', next);
    test.hub.files.set('tokenizer.json', Buffer.from('{"new":1}'));
    test.hub.seen.length = 0;
    const { path, revision } = await pull();
    expect(revision).toBe(next);
    expect(fs.readFileSync(repoPath('refs', 'main'), 'utf8')).toBe(next);
    expect(fs.readFileSync(join(path, 'tokenizer.json'), 'utf8')).toBe('{"new":1}');
    expect(test.hub.seen.map((request) => request.path).filter((at) => !/^.api/.test(at))).toEqual([
      `/${MODEL}/resolve/${next}/tokenizer.json`,
    ]);
    expect(fs.readdirSync(old.path).toSorted()).toEqual(PULLED);
  });

  it('replaces a blob of another size and mends a broken link', async () => {
    const { path } = await pull();
    const blob = fs.realpathSync(join(path, 'config.json'));
    fs.truncateSync(blob, 5);
    fs.rmSync(fs.realpathSync(join(path, 'tokenizer.json')));
    await pull();
    for (const name of ['config.json', 'tokenizer.json']) {
      expect(fs.readFileSync(join(path, name)).equals(REPOSITORY[name]!)).toBe(true);
    }
  });

  it('tells its progress, which never falls and ends with all bytes', async () => {
    const events: PullProgress[] = [];
    await pull({ progress: (event) => events.push(event) });
    const total = PULLED.reduce((sum, name) => sum + REPOSITORY[name]!.length, 0);
    expect(events.at(-1)).toEqual({ file: WEIGHTS, receivedBytes: total, totalBytes: total });
    const received = events.map(({ receivedBytes }) => receivedBytes);
    expect(received).toEqual(received.toSorted((a, b) => a - b));
  });

  it('fetches every shard and an empty file', async () => {
    const index = {
      weight_map: { a: 'model-1-of-2.safetensors', b: 'model-2-of-2.safetensors' },
    };
    test.hub.files.delete(WEIGHTS);
    test.hub.files.set('model.safetensors.index.json', Buffer.from(JSON.stringify(index)));
    test.hub.files.set('model-1-of-2.safetensors', noise(1000));
    test.hub.files.set('model-2-of-2.safetensors', noise(2000));
    test.hub.files.set('merges.txt', Buffer.alloc(0));
    const { path } = await pull();
    expect(fs.statSync(join(path, 'model-2-of-2.safetensors')).size).toBe(2000);
    expect(fs.statSync(join(path, 'merges.txt')).size).toBe(0);
  });
});

describe('settings', () => {
  it('the token goes to the hub, and never to the host it redirects to', async () => {
    test.hub.token = 'secret';
    test.platform = { ...test.platform, env: { ...test.platform.env, HF_TOKEN: ' secret\n' } };
    await pull();
    const [toCdn, toHub] = [true, false].map((isCdn) =>
      test.hub.seen.filter(({ path }) => path.startsWith('/cdn/') === isCdn),
    );
    expect(new Set(toHub!.map(({ authorization }) => authorization))).toEqual(
      new Set(['Bearer secret']),
    );
    expect(toCdn!.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  it('the token of HF_HOME/token is used where no variable gives one', async () => {
    test.hub.token = 'from-file';
    fs.writeFileSync(join(test.folder, 'token'), 'from-file\n');
    expect((await pull()).revision).toBe(COMMIT);
  });

  it('an option wins over HF_HUB_CACHE, which wins over HF_HOME', async () => {
    const fromVariable = join(test.folder, 'variable');
    const { env } = test.platform;
    test.platform = { ...test.platform, env: { ...env, HF_HUB_CACHE: fromVariable } };
    expect((await pull()).path.startsWith(fromVariable)).toBe(true);
    const cacheDir = join(test.folder, 'option');
    expect((await pull({ cacheDir })).path.startsWith(cacheDir)).toBe(true);
    expect(fs.existsSync(test.cache)).toBe(false);
  });

  it.each(['', '../main', '/main', 'a//b', 'a/..', 'a\\b', 'x y'])(
    'the revision %j is refused before anything is asked',
    async (revision) => {
      expect(await pullError({ revision })).toBeInstanceOf(ConfigError);
      expect(test.hub.seen).toEqual([]);
    },
  );

  it.each(['tiny', 'a/b/c', '../tiny', '-a/b', 'a/b.git', 'a/b--c', 'a b/c', 'a/'])(
    'the id %j is refused before anything is asked',
    async (id) => {
      expect(await pullError({}, id)).toBeInstanceOf(ConfigError);
      expect(test.hub.seen).toEqual([]);
    },
  );

  it('an endpoint that is no address is refused', async () => {
    expect((await pullError({ endpoint: 'huggingface.co' })).message).toContain('HF_ENDPOINT');
  });
});

describe('a refusal says what is the matter', () => {
  it('no such model', async () => {
    const { message } = await pullError({}, 'org/other');
    expect(message).toMatch(/has no model org\/other.*HF_TOKEN/);
  });

  it('no such model, to somebody unknown', async () => {
    test.hub.token = 'other';
    expect((await pullError()).message).toMatch(/has no model org\/tiny, or hides it/);
  });

  it('no such revision', async () => {
    const { message } = await pullError({ revision: 'v9' });
    expect(message).toMatch(/^org\/tiny has no revision "v9"/);
  });

  it('no such commit', async () => {
    const { message } = await pullError({ revision: 'b'.repeat(40) });
    expect(message).toMatch(/has no revision "bbb/);
  });

  it.each([401, 403])('a gated model (%i)', async (status) => {
    test.hub.fail(/resolve\/.*\/config\.json/, (response) =>
      refuse(response, status, 'GatedRepo', 'Access to model org/tiny is restricted.'),
    );
    const { message } = await pullError();
    expect(message).toMatch(/^org\/tiny is gated.*Ask for access at .*HF_TOKEN/);
    expect(fs.readdirSync(repoPath('blobs')).filter((name) => name.includes('.'))).toEqual([]);
  });

  it('a token that is not known', async () => {
    test.hub.fail(/./, (response) =>
      refuse(response, 401, undefined, 'Invalid credentials in Authorization header'),
    );
    expect((await pullError({ token: 'x' })).message).toMatch(/does not know the token/);
  });

  it('a forbidden model', async () => {
    test.hub.fail(/./, (response) => refuse(response, 403, undefined, 'Not for you'));
    expect((await pullError()).message).toMatch(/forbids access to org\/tiny: Not for you/);
  });

  it('a repository that is no model', async () => {
    test.hub.files.delete(WEIGHTS);
    expect((await pullError()).message).toMatch(/has no \*\.safetensors/);
    test.hub.files.delete('config.json');
    test.hub.files.set(WEIGHTS, noise(10));
    expect((await pullError()).message).toMatch(/has no config\.json/);
    expect(fs.existsSync(test.cache)).toBe(false);
  });

  it('a hub that cannot be reached, at once and with the way out', async () => {
    await test.hub.close();
    const error = await pullError();
    expect(error).toBeInstanceOf(DownloadError);
    expect(error.message).toMatch(/cannot be reached \(ECONNREFUSED\).*HF_HUB_OFFLINE=1/);
    expect(test.waits).toEqual([]);
  });

  it('something that answers, but is no hub', async () => {
    test.hub.fail(/./, (response) => response.end('<html>log in</html>'), Infinity);
    expect((await pullError()).message).toMatch(/does not answer as a hub/);
  });

  it('a listing that is not to be trusted writes nothing', async () => {
    test.hub.fail(/\/tree\//, (response, request) => {
      const evil = { type: 'file', oid: '../../evil', size: 3, path: 'config.json' };
      const weights = { type: 'file', oid: 'a'.repeat(40), size: 3, path: WEIGHTS };
      const listing = Buffer.from(JSON.stringify([evil, weights]));
      return sendContent(response, request, listing);
    });
    expect((await pullError()).message).toMatch(/config\.json.*without size and hash/);
    expect(fs.existsSync(test.cache)).toBe(false);
  });
});
