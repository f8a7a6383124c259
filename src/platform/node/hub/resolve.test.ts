import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DownloadError, FileError, LoopLMError } from '../../../errors.js';
import { setUpHub } from '../../../../test/hub/hub-client.js';
import { COMMIT, dropAfter, MODEL, refuse } from '../../../../test/hub/hub-server.js';
import { CachedRepo } from './cache.js';
import type { PullOptions } from './pull.js';
import { pullModel } from './pull.js';
import { resolveModel } from './resolve.js';

const test = setUpHub();

const resolve = (name: string, options: PullOptions = {}) =>
  resolveModel(name, options, test.platform);
const pull = (options: PullOptions = {}) => pullModel(MODEL, options, test.platform);

async function errorOf(promise: Promise<unknown>): Promise<LoopLMError> {
  const error = await promise.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(LoopLMError);
  expect((error as LoopLMError).message).not.toContain('\n');
  return error as LoopLMError;
}

const setEnv = (change: Record<string, string>) => {
  test.platform = { ...test.platform, env: { ...test.platform.env, ...change } };
};

describe('a local path', () => {
  it('is returned as it is, without a look at the hub', async () => {
    expect(await resolve(test.folder)).toEqual({ path: test.folder });
    expect(test.hub.seen).toEqual([]);
  });

  it('of a file is an error', async () => {
    const file = join(test.folder, 'file');
    fs.writeFileSync(file, '');
    expect((await errorOf(resolve(file))).message).toMatch(/is not a folder/);
  });

  it.each(['./org', '/nowhere/model', '~/model', 'a/b/c', 'org/', 'C:\\model', ''])(
    '%j that does not exist is told as a path',
    async (path) => {
      const error = await errorOf(resolve(path));
      expect(error).toBeInstanceOf(FileError);
      expect(error.message).toMatch(/does not exist/);
      expect(test.hub.seen).toEqual([]);
    },
  );

  it.each(['tiny', 'my model', 'org/tiny.git', 'org/ti--ny'])(
    '%j is told as no folder, and with the form of a name on the hub',
    async (name) => {
      const error = await errorOf(resolve(name));
      expect(error).toBeInstanceOf(FileError);
      expect(error.message).toMatch(/does not exist.*ORG\/NAME/);
      expect(test.hub.seen).toEqual([]);
    },
  );

  it('in a folder that exists is found in the cache all the same', async () => {
    const pulled = await pull();
    const before = process.cwd();
    process.chdir(test.folder);
    fs.mkdirSync('org');
    try {
      expect(await resolve(MODEL)).toEqual({ path: pulled.path, revision: COMMIT });
    } finally {
      process.chdir(before);
    }
  });

  it('in a folder that exists is told as a path, and the hub is not asked', async () => {
    expect(fs.existsSync('models')).toBe(true);
    const error = await errorOf(resolve('models/nope'));
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(/"models\/nope" does not exist.*"models" is a folder here/);
    expect(test.hub.seen).toEqual([]);
  });
});

describe('a model of the hub', () => {
  it('is pulled when it is missing, then only looked up', async () => {
    const first = await resolve(MODEL);
    expect(first.revision).toBe(COMMIT);
    expect(fs.existsSync(join(first.path, 'model.safetensors'))).toBe(true);
    test.hub.seen.length = 0;
    expect(await resolve(MODEL)).toEqual(first);
    expect(test.hub.seen.map(({ path }) => path)).toEqual([`/api/models/${MODEL}/revision/main`]);
  });

  it('at a commit whose snapshot is whole needs no network', async () => {
    const { path } = await pull();
    await test.hub.close();
    expect(await resolve(MODEL, { revision: COMMIT })).toEqual({ path, revision: COMMIT });
  });

  it('at a commit whose snapshot lacks its weights is completed', async () => {
    const { path } = await pull();
    fs.rmSync(join(path, 'model.safetensors'));
    await resolve(MODEL, { revision: COMMIT });
    expect(fs.existsSync(join(path, 'model.safetensors'))).toBe(true);
  });

  it('with an index is whole when all its shards are there', async () => {
    const repo = new CachedRepo(test.cache, MODEL);
    const folder = repo.snapshotPath(COMMIT);
    fs.mkdirSync(folder, { recursive: true });
    const write = (name: string, text = '') => fs.writeFileSync(join(folder, name), text);
    write('config.json');
    write(
      'model.safetensors.index.json',
      '{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}',
    );
    write('a.safetensors');
    expect(await repo.hasWeights(COMMIT)).toBe(false);
    write('b.safetensors');
    expect(await repo.hasWeights(COMMIT)).toBe(true);
    write('model.safetensors.index.json', '{"weight_map":');
    expect(await repo.hasWeights(COMMIT)).toBe(false);
  });

  it('at a branch is not silently taken from the cache when the hub cannot be reached', async () => {
    await pull();
    await test.hub.close();
    expect((await errorOf(resolve(MODEL))).message).toMatch(/HF_HUB_OFFLINE=1/);
  });

  it('whose branch moved back to a cached commit is found, offline too', async () => {
    await pull();
    fs.rmSync(join(test.cache, 'models--org--tiny', 'refs', 'main'));
    await resolve(MODEL);
    expect((await resolve(MODEL, { offline: true })).revision).toBe(COMMIT);
  });
});

describe('offline', () => {
  it.each(['1', 'true', 'ON', 'Yes'])('HF_HUB_OFFLINE=%s uses the cache alone', async (value) => {
    const pulled = await pull();
    test.hub.seen.length = 0;
    setEnv({ HF_HUB_OFFLINE: value });
    expect(await resolve(MODEL)).toEqual({ path: pulled.path, revision: COMMIT });
    expect(await pull()).toEqual(pulled);
    expect(test.hub.seen).toEqual([]);
  });

  it('HF_HUB_OFFLINE=0 and an option that says no use the network', async () => {
    setEnv({ HF_HUB_OFFLINE: '0' });
    await resolve(MODEL);
    setEnv({ HF_HUB_OFFLINE: '1' });
    test.hub.seen.length = 0;
    await resolve(MODEL, { offline: false });
    expect(test.hub.seen).toHaveLength(1);
  });

  it('a model that is not in the cache is an error that says how to get it', async () => {
    const error = await errorOf(resolve(MODEL, { offline: true }));
    expect(error).toBeInstanceOf(DownloadError);
    expect(error.message).toMatch(/not wholly, in the cache .*HF_HUB_OFFLINE unset/);
    expect(error.message).toMatch(/no folder "org\/tiny" here/);
    expect(test.hub.seen).toEqual([]);
  });

  it('a model that was pulled in part is not taken for whole', async () => {
    test.hub.fail(/^\/cdn\//, dropAfter(1000));
    test.hub.fail(/^\/cdn\//, (response) => refuse(response, 403, 'GatedRepo', ''));
    await errorOf(pull());
    for (const revision of ['main', COMMIT]) {
      const error = await errorOf(resolve(MODEL, { offline: true, revision }));
      expect(error.message).toMatch(/not wholly/);
    }
  });
});

describe('a file system without symbolic links', () => {
  it('gets the blob itself, and a later pull finds it there', async () => {
    const { path } = await pull();
    const repo = new CachedRepo(test.cache, MODEL);
    const file = join(path, 'model.safetensors');
    const bytes = fs.readFileSync(file);
    const hash = fs.realpathSync(file).split('/').at(-1)!;
    const noLinks = async () => {
      throw Object.assign(new Error('no links'), { code: 'EPERM' });
    };
    await repo.link(COMMIT, 'model.safetensors', hash, noLinks);
    expect(fs.lstatSync(file).isSymbolicLink()).toBe(false);
    expect(fs.readFileSync(file).equals(bytes)).toBe(true);
    test.hub.seen.length = 0;
    await pull();
    expect(test.hub.downloads('model.safetensors')).toEqual([]);
  });

  it('a cache that may not be written to is an error that says so', async () => {
    fs.writeFileSync(test.cache, 'in the way');
    expect(await errorOf(pull())).toBeInstanceOf(FileError);
  });
});
