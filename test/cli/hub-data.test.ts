/** Data sets of the hub as corpora: pulled once into its cache, and told where they are not to be had. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { CHAT_ROWS } from '../fixtures/chat-rows.js';
import { setUpHub } from '../hub/hub-client.js';
import { DATASET } from '../hub/hub-server.js';
import { TINY, cli, cliJson } from './support.js';

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

test('a run learns from conversations in parquet on the hub, as from the same in lines of JSON here', async () => {
  const parquet = new URL('../fixtures/parquet/chat.parquet', import.meta.url);
  const chat = CHAT_ROWS.map((row) => JSON.stringify(row));
  // Of two files, the first ends without a line's end.
  writeFileSync(at('here.jsonl'), [...chat, ...chat.slice(0, 2)].join('\n'));
  hub.hub.dataset.set('chat/a.parquet', readFileSync(parquet));
  hub.hub.dataset.set('chat/b.jsonl', Buffer.from(chat.slice(0, 2).join('\n')));
  const env = { HF_HOME: hub.folder, HF_ENDPOINT: hub.hub.url };
  const train = async (data: string, out: string) => {
    const settings = {
      model: { hidden_size: 32, num_hidden_layers: 1, total_ut_steps: 2 },
      data: { chat: data, rows: 2, length: 256 },
      trainSteps: 2,
    };
    writeFileSync(at('run.json'), JSON.stringify(settings));
    const argv = ['train', '--config', at('run.json'), '--threads', '1', '--out', at(out)];
    const { exitCode, stderr } = await cli(argv, { env });
    expect(exitCode, stderr).toBe(0);
    return readFileSync(at(out, 'model.safetensors'));
  };
  const pulled = await train(`hf://datasets/${DATASET}/chat`, 'pulled');
  expect(pulled.equals(await train('here.jsonl', 'local'))).toBe(true);
  const settings = { data: { chat: `hf://datasets/${DATASET}/none.jsonl` } };
  writeFileSync(at('run.json'), JSON.stringify(settings));
  const none = await cli(['train', '--config', at('run.json'), '--out', at('none')], { env });
  expect(none.exitCode).toBe(2);
  expect(none.stderr).toMatch(/none\.jsonl fits no file of org\/texts/);
});

test.each(['hf://datasets', 'hf://datasets/one', 'hf://models/a/b/c'])(
  'finetune tells what is wrong with %s',
  async (data) => {
    const { exitCode, stderr } = await cli(['finetune', TINY, '--data', data]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/is no address of data on the hub; it has the form hf:\/\/datasets/);
  },
);
