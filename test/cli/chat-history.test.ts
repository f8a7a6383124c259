/** Conversations that are kept in a file go on where they were left, and never take a file that is not theirs. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { PLAIN_TOKENIZER_FILES } from '../bundled-copy.js';
import { cli, copyOfBundled, temporaryFolder } from './support.js';

const folder = temporaryFolder();

/** Answers the last message, and refuses to be rendered where the earlier ones are asked for. */
const TEMPLATE =
  '{% if messages[-1].content == "what was said?" %}' +
  '{% set seen = messages | map(attribute="content") | join("|") %}{{ raise_exception(seen) }}{% endif %}' +
  '{{ messages[-1].content }}';

const MODEL = copyOfBundled(join(folder, 'model'), {
  ...PLAIN_TOKENIZER_FILES,
  'chat_template.jinja': TEMPLATE,
});
const PLAIN = copyOfBundled(join(folder, 'plain'), PLAIN_TOKENIZER_FILES);

const chat = (lines: readonly string[], flags: readonly string[] = [], isTerminal = false) =>
  cli(['chat', '--model', MODEL, ...flags], { input: `${lines.join('\n')}\n`, isTerminal });

/** What the model would be shown after these lines. */
async function said(lines: readonly string[], flags: readonly string[]): Promise<string[]> {
  const { exitCode, stderr } = await chat([...lines, 'what was said?'], flags);
  expect(exitCode).toBe(2);
  return /refused the messages \((.*)\|what was said\?\)/.exec(stderr)?.[1]?.split('|') ?? [];
}

const messagesOf = (path: string) =>
  (JSON.parse(readFileSync(path, 'utf8')) as { messages: unknown }).messages;

test('a conversation goes on with all that was said, and is written after every answer', async () => {
  const path = join(folder, 'talk.json');
  const flags = ['--history', path];
  const first = await chat(
    ['Start with 4. Add 3. What is the result?'],
    [...flags, '--system', 'Be brief.'],
  );
  expect(first).toMatchObject({ exitCode: 0, stdout: " It's 7.\n" });
  expect(messagesOf(path)).toEqual([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Start with 4. Add 3. What is the result?' },
    { role: 'assistant', content: " It's 7." },
  ]);
  const second = await chat(['Start with 1. Add 1. What is the result?'], flags);
  expect(second.stderr).toMatch(/The conversation in .*talk\.json goes on: 1 turn\./);
  const expected = [
    'Be brief.',
    'Start with 4. Add 3. What is the result?',
    " It's 7.",
    'Start with 1. Add 1. What is the result?',
    " It's 2.",
  ];
  expect(await said([], flags)).toEqual(expected);
  expect(readdirSync(folder).toSorted()).toEqual(['model', 'plain', 'talk.json']);
});

test('/new begins another conversation and leaves the file alone; /save keeps it elsewhere', async () => {
  const [path, other] = [join(folder, 'old.json'), join(folder, 'new.json')];
  await chat(['Start with 4. Add 3. What is the result?'], ['--history', path]);
  const before = readFileSync(path, 'utf8');
  const lines = [
    '/new',
    'Start with 1. Add 1. What is the result?',
    `/save ${other}`,
    'Start with 2. Add 1. What is the result?',
  ];
  const { exitCode, stderr } = await chat(lines, ['--history', path]);
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/A new conversation\. The one in .*old\.json stays as it is/);
  expect(stderr).toMatch(/Saved in .*new\.json/);
  expect(readFileSync(path, 'utf8')).toBe(before);
  expect(await said([], ['--history', other])).toHaveLength(4);
  const refused = await chat([`/save ${path}`], ['--history', other]);
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toMatch(/old\.json holds another conversation/);
  expect(readFileSync(path, 'utf8')).toBe(before);
});

test.each<[string, string, RegExp]>([
  ['no JSON', '{"looplmChat": 1, "mess', /is not valid JSON/],
  [
    'another JSON',
    '{"vocab_size": 3}',
    /saved: looplmChat is missing; it must be 1\. .*"vocab_size"/,
  ],
  ['a JSON without fields', '5', /saved: Got 5 as a conversation; it must be an object\. Correct/],
  [
    'a message without content',
    '{"looplmChat":1,"model":"","messages":[{"role":"user"}]}',
    /saved: messages\.0\.content is missing; it must be what was said\. Correct it/,
  ],
  [
    'messages that are none',
    '{"looplmChat":1,"model":"","messages":["hi"]}',
    /saved: messages\.0 is "hi"; it must be an object of role and content\. Correct it/,
  ],
  [
    'a later version',
    '{"looplmChat":2,"model":"","messages":[]}',
    /saved: looplmChat is 2; it must be 1\. Correct it/,
  ],
  ['an empty file', '', /is not valid JSON/],
])(
  'a file with %s is refused before the model is loaded, and kept',
  async (name, content, message) => {
    const path = join(folder, `${name}.json`);
    writeFileSync(path, content);
    for (const [lines, flags] of [
      [[], ['--history', path, '--model', 'nowhere']],
      [[`/save ${path}`], []],
    ] as const) {
      const { exitCode, stderr } = await chat(lines, flags);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/error: .*is no conversation that looplm has saved: .*\n$/);
      expect(stderr).toMatch(message);
    }
    expect(readFileSync(path, 'utf8')).toBe(content);
  },
);

test('a file that another program has changed meanwhile is left as it is', async () => {
  const path = join(folder, 'shared.json');
  const other = '{"looplmChat":1,"model":"other","messages":[]}';
  await chat(['Start with 4. Add 3. What is the result?'], ['--history', path]);
  const argv = ['chat', '--model', MODEL, '--history', path, '--json'];
  let isFirst = true;
  const { exitCode, stderr } = await cli(argv, {
    input: 'Start with 1. Add 1. What is the result?\nStart with 2. Add 1. What is the result?\n',
    onOutput() {
      if (isFirst) writeFileSync(path, other);
      isFirst = false;
    },
  });
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/shared\.json was changed by another program/);
  expect(readFileSync(path, 'utf8')).toBe(other);
});

test('an unknown place, a begun conversation with --system, and a model without turns are refused', async () => {
  const path = join(folder, 'begun.json');
  await chat(['Start with 4. Add 3. What is the result?'], ['--history', path]);
  const begun = await chat([], ['--history', path, '--system', 'x']);
  expect(begun.stderr).toMatch(/has begun, so --system has no place/);
  const file = join(folder, 'a-file');
  writeFileSync(file, '');
  const nowhere = await chat(
    ['Start with 4. Add 3. What is the result?'],
    ['--history', join(file, 'x.json')],
  );
  expect(nowhere.stderr).toMatch(/error: Cannot write/);
  const plain = await cli(['chat', '--model', PLAIN, '--history', join(folder, 'none.json')]);
  expect(plain.stderr).toMatch(/no chat template, so --history has no place/);
  const lines = await cli(['chat', '--model', PLAIN], {
    input: `/save ${join(folder, 'none.json')}\n`,
  });
  expect(lines.stderr).toMatch(/no conversation to keep/);
  for (const { exitCode } of [begun, nowhere, plain, lines]) expect(exitCode).toBe(2);
  expect(existsSync(join(folder, 'none.json'))).toBe(false);
});

test('at a terminal the chat goes on after a command that failed', async () => {
  const lines = [`/save ${MODEL}`, 'Start with 4. Add 3. What is the result?'];
  const { exitCode, stdout, stderr } = await chat(lines, ['--max-new-tokens', '2'], true);
  expect(stderr).toMatch(/error: .*folder/);
  expect(stripVTControlCharacters(stdout)).toContain(" It's");
  expect(exitCode).toBe(0);
});
