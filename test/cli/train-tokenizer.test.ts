/** `looplm train-tokenizer`: the files that it writes, and what it refuses. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Tokenizer } from '../../src/tokenizer/index.js';
import { cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const corpus = repositoryPath('test/fixtures/tokenizer-training/corpus.txt');
const argv = (paths: readonly string[], out: string, ...more: string[]) => {
  return ['train-tokenizer', ...paths, '--vocab-size', '600', '--out', at(out), ...more];
};
const jsonOf = (out: string) =>
  JSON.parse(readFileSync(at(out, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: Record<string, number>; merges: string[] };
  };

test('a tokenizer that reads every text and that a run takes', async () => {
  const result = await cliJson<{ vocabSize: number }>(
    argv([corpus], 'first', '--special', '<|x|>'),
  );
  expect(result.vocabSize).toBe(600);
  const tokenizer = Tokenizer.fromJson(jsonOf('first'));
  expect(tokenizer.vocabSize).toBe(600);
  expect([...tokenizer.specialTokens]).toEqual([
    ['<|endoftext|>', 0],
    ['<|im_start|>', 1],
    ['<|im_end|>', 2],
    ['<|x|>', 3],
  ]);
  const text = 'Anything: \0\u0085\ufeff 漢字 😀 größer\r\n\t 12½<|im_end|>';
  expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  const trained = await cli([
    'train',
    ...Object.entries({ text: corpus, tokenizer: at('first'), out: at('run') }).flatMap(
      ([flag, value]) => [`--${flag}`, value],
    ),
    ...'--train-steps 1 --threads 1'.split(' '),
  ]);
  expect(trained.stderr).toContain('train step 1 of 1');
  expect(JSON.parse(readFileSync(at('run', 'config.json'), 'utf8'))).toMatchObject({
    vocab_size: 600,
    eos_token_id: 0,
  });
});

test('text, lines of JSON and several files are read alike', async () => {
  const text = readFileSync(corpus, 'utf8');
  const half = text.indexOf(' ', text.length / 2);
  const lines = [text.slice(0, half), text.slice(half)].map((part) => JSON.stringify({ part }));
  mkdirSync(at('lines'));
  lines.forEach((line, index) => writeFileSync(at('lines', `${index}.jsonl`), line));
  await cli(argv([corpus], 'of-text'));
  await cli(argv([at('lines')], 'of-lines', '--field', 'part'));
  expect(jsonOf('of-lines')).toEqual(jsonOf('of-text'));
});

test('Ctrl-C leaves nothing', async () => {
  const { exitCode } = await cli(argv([corpus], 'stopped'), { interrupts: 'at progress' });
  expect(exitCode).toBe(130);
  expect(existsSync(at('stopped')) ? readdirSync(at('stopped')) : []).toEqual([]);
});

test('fewer tokens than asked for are told', async () => {
  writeFileSync(at('short.txt'), 'abab abab');
  const { stdout } = await cli(argv([at('short.txt')], 'short'));
  expect(stdout).toMatch(
    /^Trained 261 tokens on 2 different words, as no other pair occurs 2 times/,
  );
});

test('what is wrong is told, and a tokenizer that is there stays', async () => {
  const refusal = async (...given: string[]) => {
    const { exitCode, stderr } = await cli(given);
    expect(exitCode).toBe(2);
    return stderr;
  };
  await cli(argv([corpus], 'there'));
  const before = readFileSync(at('there', 'tokenizer.json'), 'utf8');
  expect(await refusal(...argv([at('short.txt')], 'there'))).toMatch(/is there already.*--force/);
  expect(readFileSync(at('there', 'tokenizer.json'), 'utf8')).toBe(before);
  expect((await cli(argv([at('short.txt')], 'there', '--force'))).exitCode).toBe(0);

  expect(await refusal(...argv([corpus], 'x', '--vocab-size', '258'))).toMatch(
    /from 259 .*Correct/,
  );
  expect(await refusal(...argv([corpus], 'x', '--special', '<|im_end|>'))).toMatch(/there twice/);
  expect(await refusal(...argv([corpus], 'x', '--special', 'a'))).toMatch(/a byte or empty/);
  writeFileSync(at('void.txt'), '');
  expect(await refusal(...argv([at('void.txt')], 'x'))).toMatch(/There is no text in/);
});
