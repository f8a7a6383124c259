/** Data sets of the hub: which files an address names, where they lie, and what is told when none fits. */
import { gzipSync } from 'node:zlib';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { setUpHub } from '../../../../test/hub/hub-client.js';
import { COMMIT, DATASET } from '../../../../test/hub/hub-server.js';
import { pullDataset } from './dataset.js';

const test = setUpHub();
const isText = (name: string) => /\.(jsonl|parquet)$/.test(name);
const ADDRESS = `hf://datasets/${DATASET}`;
const at = (...names: string[]) =>
  join(test.cache, 'datasets--org--texts', 'snapshots', COMMIT, ...names);

const FILES = {
  'README.md': Buffer.from('# texts'),
  'all.jsonl': Buffer.from('{"text": "all"}\n'),
  'data/train-0.parquet': gzipSync('a large file'),
  'data/train-1.parquet': gzipSync('another large file'),
  'data/more/deep.jsonl': Buffer.from('{"text": "deep"}\n'),
};
const pull = (address: string, options = {}) => {
  for (const [name, content] of Object.entries(FILES)) test.hub.dataset.set(name, content);
  return pullDataset(address, isText, options, test.platform);
};

describe('an address names', () => {
  it.each<[string, string, readonly string[]]>([
    ['one file', '/all.jsonl', ['all.jsonl']],
    ['a file of any kind by its name', '/README.md', ['README.md']],
    ['a folder', '/data', ['data/more/deep.jsonl', 'data/train-0.parquet', 'data/train-1.parquet']],
    [
      'a pattern within a folder',
      '/data/*.parquet',
      ['data/train-0.parquet', 'data/train-1.parquet'],
    ],
    [
      'a pattern of one character',
      '/data/train-?.parquet',
      ['data/train-0.parquet', 'data/train-1.parquet'],
    ],
    ['a pattern through folders', '/**/*.jsonl', ['all.jsonl', 'data/more/deep.jsonl']],
    [
      'all of a branch',
      '@main',
      ['all.jsonl', 'data/more/deep.jsonl', 'data/train-0.parquet', 'data/train-1.parquet'],
    ],
  ])('%s', async (_, rest, names) => {
    const paths = await pull(`${ADDRESS}${rest}`);
    expect(paths).toEqual(names.map((name) => at(name)));
    for (const name of names) {
      expect(fs.readFileSync(at(name)).equals(FILES[name as keyof typeof FILES])).toBe(true);
    }
  });
});

it('again, fetches nothing; offline it is there, and what was not pulled is not', async () => {
  const paths = await pull(`${ADDRESS}/data`);
  test.hub.seen.length = 0;
  expect(await pull(`${ADDRESS}/data`)).toEqual(paths);
  expect(test.hub.seen.filter(({ path }) => path.includes('/resolve/'))).toEqual([]);
  expect(await pull(`${ADDRESS}/data`, { offline: true })).toEqual(paths);
  await expect(pull(`${ADDRESS}/all.jsonl`, { offline: true })).rejects.toThrow(
    /fits no file of org\/texts in the cache, and offline mode is on/,
  );
});

describe('refused', () => {
  it.each<[string, string, RegExp]>([
    [
      'a model',
      'hf://org/tiny/config.json',
      /no address of data on the hub; it has the form hf:\/\/datasets/,
    ],
    ['no name', 'hf://datasets/org', /no address of data/],
    ['a name that leads elsewhere', 'hf://datasets/../x/y', /no address of data/],
    ['a revision that is none', `${ADDRESS}@../all.jsonl`, /revision is "\.\."/],
    ['a file that is not there', `${ADDRESS}/none.jsonl`, /fits no file of org\/texts\. Check/],
    [
      'a data set that is not there',
      'hf://datasets/org/other/a.jsonl',
      /has no data set org\/other/,
    ],
    ['another branch', `${ADDRESS}@next/all.jsonl`, /no revision "next".*datasets\/org\/texts/],
  ])('%s', (_, address, message) => expect(pull(address)).rejects.toThrow(message));
});
