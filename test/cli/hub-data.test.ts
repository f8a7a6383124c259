/** Data sets of the hub as corpora: pulled once into its cache, and told where they are not to be had. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { setUpHub } from '../hub/hub-client.js';
import { DATASET } from '../hub/hub-server.js';
import { cli, cliJson } from './support.js';

const hub = setUpHub();
const at = (...names: string[]) => join(hub.folder, ...names);
const lines = (word: string) =>
  Buffer.from(
    Array.from({ length: 30 }, (_, n) => JSON.stringify({ text: `${word} ${n}` })).join('\n'),
  );

test('tokenize and train-tokenizer read a pattern on the hub, and offline what they have pulled', async () => {
  mkdirSync(at('tokenizer'));
  for (const [name, text] of Object.entries(syntheticTokenizerFiles(300))) {
    writeFileSync(at('tokenizer', name), text);
  }
  hub.hub.dataset.set('data/one.jsonl', lines('one'));
  hub.hub.dataset.set('data/two.jsonl', lines('two'));
  hub.hub.dataset.set('README.md', Buffer.from('# texts'));
  const address = `hf://datasets/${DATASET}/data/*.jsonl`;
  const env = { HF_HOME: hub.folder, HF_ENDPOINT: hub.hub.url };
  const tokenize = (path: string, out: string) => [
    'tokenize',
    path,
    '--tokenizer',
    at('tokenizer'),
    '--out',
    at(out),
    ...'--workers 1 --held-out 0'.split(' '),
  ];
  const { train, source } = await cliJson<{
    readonly train: readonly { readonly documents: number }[];
    readonly source: { readonly files: number };
  }>(tokenize(address, 'shards'), { env });
  expect(source.files).toBe(2);
  expect(train.reduce((sum, { documents }) => sum + documents, 0)).toBe(60);

  const offline = { ...env, HF_HUB_OFFLINE: '1' };
  const learn = ['train-tokenizer', address, '--vocab-size', '270', '--out', at('learnt')];
  expect((await cli(learn, { env: offline })).exitCode).toBe(0);
  const gone = await cli(tokenize(`hf://datasets/${DATASET}/README.md`, 'gone'), { env: offline });
  expect(gone.exitCode).toBe(2);
  expect(gone.stderr).toMatch(/^error: .*README\.md fits no file of org\/texts in the cache/);
});
