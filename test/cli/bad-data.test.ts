/**
 * Bad data and a full disk: what is wrong is told in one sentence, and the last good snapshot stays as it
 * was, so that the run goes on from it when all is well again.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { cli, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const SNAPSHOT = 'snapshot.safetensors';

const chat = (index: number) => ({
  messages: [
    { role: 'user', content: `What is ${index}?` },
    { role: 'assistant', content: `A number ${index}` },
  ],
});
const lines = (make: (index: number) => unknown) =>
  Array.from({ length: 40 }, (_, index) => JSON.stringify(make(index))).join('\n');
const GOOD = {
  'text.txt': 'Some words to learn from, again and again. '.repeat(60),
  'labelled.jsonl': lines((index) => ({ prompt: `Say ${index}`, answer: ` It is ${index}.` })),
  'chat.jsonl': lines(chat),
} as const;
type DataFile = keyof typeof GOOD;

const write = (name: DataFile, content: string | Uint8Array = GOOD[name]) =>
  writeFileSync(at(name), content);

function runOf(name: DataFile): readonly string[] {
  const path = at(`${name}.run.json`);
  const key = name === 'chat.jsonl' ? 'chat' : 'path';
  const settings = {
    model: { hidden_size: 32, num_hidden_layers: 1, total_ut_steps: 2 },
    tokenizer: 'tokenizer',
    data: { [key]: name, rows: 2, length: 128 },
    validation: { fraction: 0 },
    trainSteps: 6,
    snapshotEvery: 2,
    logEvery: 1,
  };
  writeFileSync(path, JSON.stringify(settings));
  return ['train', '--config', path, '--threads', '1', '--out'];
}

beforeAll(() => {
  mkdirSync(at('tokenizer'));
  for (const [name, text] of Object.entries(syntheticTokenizerFiles(300))) {
    writeFileSync(at('tokenizer', name), text);
  }
});

const LATIN = Uint8Array.from([0x63, 0x61, 0x66, 0xe9, 0x0a]);
const BAD: readonly (readonly [string, DataFile, string | Uint8Array, RegExp])[] = [
  ['not UTF-8', 'text.txt', LATIN, /text\.txt is not UTF-8: byte 3 is 0xE9\. .*iconv/],
  ['not UTF-8', 'labelled.jsonl', LATIN, /labelled\.jsonl is not UTF-8: byte 3/],
  ['not UTF-8', 'chat.jsonl', LATIN, /chat\.jsonl is not UTF-8: byte 3/],
  ['empty', 'text.txt', '', /text\.txt holds nothing to train on: it is empty/],
  ['empty', 'labelled.jsonl', '\n\n', /labelled\.jsonl/],
  ['empty', 'chat.jsonl', '\n', /chat\.jsonl holds nothing to train on: it needs one conversation/],
  ['cut off', 'labelled.jsonl', `${GOOD['labelled.jsonl']}\n{"prompt": "a`, /line 41.*not.* JSON/],
  ['cut off', 'chat.jsonl', `${GOOD['chat.jsonl']}\n{"messages": [`, /line 41.*JSON/],
  ['of other keys', 'labelled.jsonl', '{"question": "a", "reply": "b"}', /labelled\.jsonl, line 1/],
  ['a list', 'labelled.jsonl', '[1, 2]', /labelled\.jsonl, line 1/],
  ['of another shape', 'chat.jsonl', '{"messages": [{"role": "user"}]}', /chat\.jsonl, line 1/],
  [
    'without an answer',
    'chat.jsonl',
    '{"messages": [{"role": "user", "content": "a"}]}',
    /chat\.jsonl/,
  ],
];

describe.each(Object.keys(GOOD) as DataFile[])('%s', (name) => {
  let whole: Buffer;
  const out = at(`${name}.out`);
  beforeAll(async () => {
    write(name);
    const run = runOf(name);
    expect((await cli([...run, at(`${name}.whole`)])).exitCode).toBe(0);
    whole = readFileSync(at(`${name}.whole`, 'model.safetensors'));
    expect((await cli([...run, out], { interrupts: 'at progress' })).exitCode).toBe(130);
  });

  test.each(BAD.filter(([, file]) => file === name))(
    '%s is told, and the snapshot stays',
    async (_, __, content, message) => {
      const before = readFileSync(join(out, SNAPSHOT));
      write(name, content);
      const { exitCode, stderr } = await cli([...runOf(name), out]);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(message);
      expect(stderr.trim().split('\n').at(-1)).toMatch(/^error: .*\.$/);
      expect(readFileSync(join(out, SNAPSHOT)).equals(before)).toBe(true);
    },
  );

  test('other data of the right form are told apart, and then the run ends as if nothing had been', async () => {
    write(name, GOOD[name].replace('1', '2').replace('words', 'things'));
    const { exitCode, stderr } = await cli([...runOf(name), out]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/a run with other settings: data\.sha256 was /);
    write(name);
    expect((await cli([...runOf(name), out])).exitCode).toBe(0);
    expect(readFileSync(join(out, 'model.safetensors')).equals(whole)).toBe(true);
  });
});

describe('other faults', () => {
  test('weights of a mixture that are all zero', async () => {
    writeFileSync(
      at('texts.jsonl'),
      lines((index) => ({ text: `some text of ${index}` })),
    );
    const argv = [at('texts.jsonl'), '--tokenizer', at('tokenizer'), '--out', at('web')];
    expect((await cli(['tokenize', ...argv, '--workers', '1'])).exitCode).toBe(0);
    const refused = async (settings: object) => {
      writeFileSync(at('mix.json'), JSON.stringify(settings));
      const { exitCode, stderr } = await cli([
        'train',
        '--config',
        at('mix.json'),
        '--out',
        at('mix'),
      ]);
      expect(exitCode).toBe(2);
      return stderr;
    };
    const data = { shards: [{ path: 'web' }], length: 32 };
    expect(await refused({ data, mixture: { web: 0 } })).toMatch(
      /mixture.*at least one is above 0/,
    );
    expect(await refused({ data, stages: [{ trainSteps: 2, mixture: { web: 0 } }] })).toMatch(
      /stages\.0\.mixture.*at least one is above 0/,
    );
    expect(await refused({ data: { shards: [{ path: 'web', weight: 0 }], length: 32 } })).toMatch(
      /weights of all shards are 0/,
    );
    expect(existsSync(at('mix', SNAPSHOT))).toBe(false);
  });

  test('a parquet file that is cut off, and one that is none', async () => {
    const source = repositoryPath('test/fixtures/parquet/snappy.parquet');
    writeFileSync(at('cut.parquet'), readFileSync(source).subarray(0, 200));
    writeFileSync(at('none.parquet'), 'PAR0 and some text that is no parquet at all');
    for (const name of ['cut.parquet', 'none.parquet']) {
      const argv = [at(name), '--tokenizer', at('tokenizer'), '--out', at('parquet')];
      const { exitCode, stderr } = await cli(['tokenize', ...argv, '--workers', '1']);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(new RegExp(`${name.replace('.', '\\.')}.*parquet`));
      expect(existsSync(at('parquet'))).toBe(false);
    }
  });
});

test('a disk that is full in the middle of a snapshot: the last one stays, and the run goes on from it', async (context) => {
  write('text.txt');
  const run = runOf('text.txt');
  mkdirSync(at('small'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', at('small')], {
      stdio: 'ignore',
    });
  } catch {
    context.skip('a file system of half a megabyte cannot be mounted here');
  }
  try {
    const full = await cli([...run, at('small', 'out')]);
    expect(full.exitCode).toBe(2);
    expect(full.stderr).toMatch(/snapshot\.safetensors.*the disk is full\. Free some space/);
    // the first was written whole, the second did not fit beside it
    const { length } = readFileSync(at('small', 'out', SNAPSHOT));
    expect(length).toBeGreaterThan(300_000);
    execFileSync('mount', ['-o', 'remount,size=9m', at('small')]);
    const again = await cli([...run, at('small', 'out')]);
    expect(again.exitCode).toBe(0);
    expect(again.stderr).toMatch(/going on after train step 2/);
    const model = readFileSync(at('small', 'out', 'model.safetensors'));
    expect(model.equals(readFileSync(at('text.txt.whole', 'model.safetensors')))).toBe(true);
  } finally {
    execFileSync('umount', [at('small')]);
  }
});
