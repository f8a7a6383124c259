/** Packed corpora and data: what is in them counts, whatever packed it; what is damaged is told. */
import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, expect, test } from 'vitest';
import { syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { cli, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const env = { LOOPLM_CACHE: at('cache') };
const LINES = Array.from({ length: 50 }, (_, n) => JSON.stringify({ text: `some text ${n}` }));
const TEXT = LINES.join('\n');

beforeAll(() => {
  for (const name of ['tokenizer', 'plain', 'packed']) mkdirSync(at(name));
  for (const [name, text] of Object.entries(syntheticTokenizerFiles(300))) {
    writeFileSync(at('tokenizer', name), text);
  }
  writeFileSync(at('plain', 'a.jsonl'), TEXT);
  // two members one behind the other, as `cat` joins them
  const half = `${LINES.slice(0, 20).join('\n')}\n`;
  const rest = LINES.slice(20).join('\n');
  writeFileSync(at('packed', 'a.jsonl.gz'), Buffer.concat([gzipSync(half), gzipSync(rest)]));
  writeFileSync(at('cut.jsonl.gz'), gzipSync(TEXT).subarray(0, 60));
  writeFileSync(at('none.jsonl.gz'), TEXT);
});

const tokenize = (path: string, out: string) => [
  'tokenize',
  path,
  '--tokenizer',
  at('tokenizer'),
  '--out',
  at(out),
  ...'--workers 1 --held-out 0'.split(' '),
];

test('tokenize makes of a packed file what it makes of the file, once', async () => {
  expect((await cli(tokenize(at('plain'), 'from-plain'), { env })).exitCode).toBe(0);
  const packed = tokenize(at('packed'), 'from-packed');
  expect((await cli(packed, { env })).exitCode).toBe(0);
  const shard = (out: string) => readFileSync(at(out, 'train-00000.shard'));
  expect(shard('from-packed').equals(shard('from-plain'))).toBe(true);
  // the finished folder is known again, also when the cache was emptied
  const before = statSync(at('from-packed', 'shards.json')).mtimeMs;
  rmSync(at('cache'), { recursive: true });
  expect((await cli(packed, { env })).exitCode).toBe(0);
  expect(statSync(at('from-packed', 'shards.json')).mtimeMs).toBe(before);
  const now = new Date();
  utimesSync(at('packed', 'a.jsonl.gz'), now, now);
  expect((await cli(packed, { env })).stderr).toMatch(/shards of other files/);
});

test('a run reads packed data as it reads the file', async () => {
  const run = async (path: string) => {
    const settings = {
      model: { hidden_size: 32, num_hidden_layers: 1, total_ut_steps: 2 },
      data: { path, rows: 2, length: 32 },
      trainSteps: 2,
    };
    writeFileSync(at('run.json'), JSON.stringify(settings));
    const out = at(`out-${path.replaceAll('/', '-')}`);
    const done = await cli(['train', '--config', at('run.json'), '--threads', '1', '--out', out]);
    expect(done.exitCode, done.stderr).toBe(0);
    return readFileSync(join(out, 'model.safetensors'));
  };
  expect((await run('packed/a.jsonl.gz')).equals(await run('plain/a.jsonl'))).toBe(true);
});

test.each(['cut', 'none'])('%s: a damaged one is told by its name', async (name) => {
  for (const argv of [
    tokenize(at(`${name}.jsonl.gz`), 'no'),
    ['train-tokenizer', at(`${name}.jsonl.gz`), '--vocab-size', '300', '--out', at('no')],
  ]) {
    const { exitCode, stderr } = await cli(argv, { env });
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(
      new RegExp(`${name}\\.jsonl\\.gz is no sound gzip file \\(.*\\)\\. Copy`),
    );
  }
});
