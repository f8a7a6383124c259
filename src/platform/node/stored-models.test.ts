/** Models of the caches: what is listed is there, what is removed is gone, and nothing else is touched. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FileError, RequestError } from '../../errors.js';
import { setUpHub } from '../../../test/hub/hub-client.js';
import { COMMIT, MODEL } from '../../../test/hub/hub-server.js';
import { takeLock } from './files/index.js';
import { pullModel } from './hub/index.js';
import {
  cacheFolders,
  holdStoredModels,
  listStoredModels,
  pickStoredModel,
} from './stored-models.js';

const test = setUpHub();
const NEXT = 'd'.repeat(40);

const folders = () =>
  cacheFolders({ ...test.platform.env, LOOPLM_CACHE: join(test.folder, 'looplm') });
const list = () => listStoredModels(folders());
const pull = (revision = 'main') => pullModel(MODEL, { revision }, test.platform);
const repo = (...parts: string[]) => join(test.cache, 'models--org--tiny', ...parts);

async function remove(...names: readonly string[]): Promise<number> {
  const models = await list();
  const held = await holdStoredModels(names.map((name) => pickStoredModel(models, name)));
  for (const model of held) await model.remove();
  for (const model of held) await model.release();
  return held.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Pulls a branch whose commit has one other file than main. */
async function pullNext(): Promise<void> {
  test.hub.revisions.set('next', NEXT);
  test.hub.files.set('tokenizer.json', Buffer.from('{"next":1}'));
  await pull('next');
}

/** Paths of all files below a folder, and where links lead. */
const tree = (path: string) =>
  fs
    .readdirSync(path, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();

const blobBytes = () =>
  fs
    .readdirSync(repo('blobs'))
    .reduce((sum, name) => sum + fs.statSync(repo('blobs', name)).size, 0);

describe('models of the hub', () => {
  it('are listed with their revisions, and blobs count once', async () => {
    expect(await list()).toEqual([]);
    await pull();
    await pullNext();
    const [model, ...others] = await list();
    expect(others).toEqual([]);
    expect(model).toMatchObject({ kind: 'hub', name: MODEL, path: repo(), isWhole: true });
    expect(model!.revisions.toSorted((a, b) => (a.commit < b.commit ? -1 : 1))).toEqual(
      [
        { commit: COMMIT, refs: ['main'] },
        { commit: NEXT, refs: ['next'] },
      ].toSorted((a, b) => (a.commit < b.commit ? -1 : 1)),
    );
    const refBytes = 2 * COMMIT.length;
    expect(model!.sizeBytes).toBe(blobBytes() + refBytes);
    expect(Date.now() - model!.modified!.getTime()).toBeLessThan(60_000);
  });

  it('without weights are listed as such, and so are those of other programs', async () => {
    await pull();
    fs.rmSync(repo('snapshots', COMMIT, 'model.safetensors'));
    fs.mkdirSync(join(test.cache, 'models--gpt2', 'snapshots'), { recursive: true });
    fs.mkdirSync(join(test.cache, 'datasets--org--data'));
    fs.writeFileSync(join(test.cache, 'version.txt'), '1');
    const names = (await list()).map(({ name, isWhole }) => [name, isWhole]);
    expect(names).toEqual([
      ['gpt2', false],
      [MODEL, false],
    ]);
  });

  it('of which one revision is removed keep what the others share', async () => {
    await pull();
    await pullNext();
    const before = blobBytes();
    const old = fs.realpathSync(repo('snapshots', COMMIT, 'tokenizer.json'));
    const { size } = fs.statSync(old);
    expect(await remove(`${MODEL}@main`)).toBe(size);
    expect(fs.existsSync(old)).toBe(false);
    expect(blobBytes()).toBe(before - size);
    expect(fs.readdirSync(repo('refs'))).toEqual(['next']);
    expect(fs.readdirSync(repo('snapshots'))).toEqual([NEXT]);
    expect(fs.readdirSync(repo()).toSorted()).toEqual(['blobs', 'refs', 'snapshots']);
    test.hub.seen.length = 0;
    await pull('next');
    expect(test.hub.downloads('model.safetensors')).toEqual([]);
  });

  it('go whole with their last revision, by any name of it', async () => {
    await pull();
    await pullNext();
    const all = (await list())[0]!.sizeBytes;
    expect(await remove(`${MODEL}@${COMMIT.slice(0, 7)}`, `${MODEL}@next`)).toBe(all);
    expect(tree(test.cache)).toEqual([]);
  });

  it('are removed with nothing that their links lead to', async () => {
    await pull();
    const outside = join(test.folder, 'outside');
    fs.mkdirSync(outside);
    fs.writeFileSync(join(outside, 'precious'), 'x');
    fs.symlinkSync(outside, repo('snapshots', COMMIT, 'folder'));
    fs.symlinkSync(join(outside, 'precious'), repo('snapshots', COMMIT, 'file'));
    fs.symlinkSync(join(outside, 'precious'), repo('blobs', 'e'.repeat(64)));
    await pullNext();
    await remove(`${MODEL}@main`);
    await remove(MODEL);
    expect(tree(test.cache)).toEqual([]);
    expect(tree(outside)).toEqual([join(outside, 'precious')]);
  });

  it('that are links to other places are not listed', async () => {
    await pull();
    fs.renameSync(repo(), join(test.folder, 'elsewhere'));
    fs.symlinkSync(join(test.folder, 'elsewhere'), repo());
    expect(await list()).toEqual([]);
    await expect(remove(MODEL)).rejects.toThrow(RequestError);
  });

  it('whose removal was cut short are not whole, and the next removal ends it', async () => {
    await pull();
    await pullNext();
    const left = repo('.looplm-removed-01234567');
    fs.renameSync(repo('snapshots', COMMIT), left); // as far as a killed process came
    expect((await list())[0]!.revisions).toMatchObject([{ commit: NEXT }]);
    await pull(); // takes what is there
    await remove(`${MODEL}@main`);
    expect(fs.existsSync(left)).toBe(false);
    const used = fs.readdirSync(repo('snapshots', NEXT)).map((name) =>
      fs
        .realpathSync(repo('snapshots', NEXT, name))
        .split('/')
        .at(-1)!,
    );
    expect(fs.readdirSync(repo('blobs')).toSorted()).toEqual([...new Set(used)].toSorted());
  });

  it('that are being pulled are refused, by looplm or another program', async () => {
    await pull();
    const lock = await takeLock(repo('looplm.lock'), { task: 'pulling it', remedy: '' });
    await expect(remove(MODEL)).rejects.toThrow(/Process \d+ has been pulling it/);
    await lock.release();
    fs.writeFileSync(repo('blobs', 'f.incomplete'), 'x');
    await expect(remove(MODEL)).rejects.toThrow(/download .* seems to be under way: f\.incomplete/);
    expect((await list())[0]!.isWhole).toBe(true);
    const hourAgo = new Date(Date.now() - 3_600_000);
    fs.utimesSync(repo('blobs', 'f.incomplete'), hourAgo, hourAgo);
    await remove(MODEL);
    expect(tree(test.cache)).toEqual([]);
  });
});

describe('names', () => {
  it.each([
    ['nope', /No cached model is called nope/],
    ['../hub', /No cached model is called/],
    [`${MODEL}@other`, /No revision of org\/tiny .* called other; there are [0-9a-f]{7} main\./],
    [`${MODEL}@`, /No cached model is called org\/tiny@/],
  ])('%s is refused', async (name, message) => {
    await pull();
    const before = tree(test.folder);
    await expect(remove(name)).rejects.toThrow(RequestError);
    await expect(remove(name)).rejects.toThrow(message);
    await expect(remove(MODEL, name)).rejects.toThrow(message);
    expect(tree(test.folder)).toEqual(before);
  });
});

describe('conversions', () => {
  const folder = (...parts: string[]) => join(folders().converted, ...parts);
  const write = (name: string, content = '') => {
    fs.mkdirSync(join(folder(name), '..'), { recursive: true });
    fs.writeFileSync(folder(name), content);
  };

  it('that are unfinished or damaged are listed and can be removed', async () => {
    write('a-q4-0.partial/model/model.safetensors', '12345');
    write('b-q8-0/conversion.json', '{');
    expect(await list()).toMatchObject([
      { name: 'a-q4-0', kind: 'converted', isWhole: false, sizeBytes: 5 },
      { name: 'b-q8-0', kind: 'converted', isWhole: false, sizeBytes: 1, dtype: undefined },
    ]);
    await remove('a-q4-0', 'b-q8-0');
    expect(tree(folder())).toEqual([]);
  });

  it('that are under way are refused, and nothing else that was named is removed', async () => {
    write('a-q4-0.partial/model/model.safetensors', '12345');
    write('b-q8-0/conversion.json', '{');
    const lock = await takeLock(folder('b-q8-0.lock'), { task: 'converting it', remedy: '' });
    await expect(remove('a-q4-0', 'b-q8-0')).rejects.toThrow(FileError);
    await lock.release();
    expect((await list()).map(({ name }) => name)).toEqual(['a-q4-0', 'b-q8-0']);
    expect(fs.readdirSync(folder()).toSorted()).toEqual(['a-q4-0.partial', 'b-q8-0']);
  });
});
