/** `looplm chat`, and where models say how to talk to them, on changed copies of the bundled model. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { CHATML_TEMPLATES } from '../../src/tokenizer/index.js';
import { PLAIN_TOKENIZER_FILES } from '../bundled-copy.js';
import { cli, cliJson, copyOfBundled, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const BUNDLED = repositoryPath('models/bundled');
const QUESTION = 'Start with 4. Add 3. What is the result?';

/** A copy of the bundled model with other text files, which reads a prompt as plain text. */
const variant = (name: string, files: Readonly<Record<string, string>>): string =>
  copyOfBundled(join(folder, name), { ...PLAIN_TOKENIZER_FILES, ...files });

/** The tokenizer with another spelling of the word with which every answer to `QUESTION` begins. */
function answeringWith(spelling: string): string {
  const json = PLAIN_TOKENIZER_FILES['tokenizer.json'];
  expect(json).toContain('"ĠIt":');
  return json.replace('"ĠIt":', `${JSON.stringify(spelling)}:`);
}

/** Reads the last message alone, and tells what an earlier answer was by refusing it. */
const PLAIN_TEMPLATE =
  '{% if messages|length > 1 %}{{ raise_exception("after " + messages[1].content) }}{% endif %}' +
  '{{ messages[0].content }}';

const REASONER = variant('reasoner', {
  'tokenizer.json': answeringWith('<think>hm,Ċso</think>ĊĊIt'),
  'chat_template.jinja': PLAIN_TEMPLATE,
});
const THINKING = variant('Tiny-Thinking', { 'chat_template.jinja': CHATML_TEMPLATES.base });
const PLAIN = variant('plain', {});

const chat = (model: string, flags: string[] = [], input = `${QUESTION}\n`) =>
  cli(['chat', '--model', model, ...flags], { input });

interface Answer {
  readonly text: string;
  readonly reasoning: string;
  readonly answer: string;
}

const jsonOf = async (model: string, flags: string[] = []) =>
  JSON.parse((await chat(model, [...flags, '--json'])).stdout) as Answer;

test('chat prints reasoning dimmed under a heading, then the answer', async () => {
  const plain = await chat(REASONER);
  expect(plain.stdout).toBe("[reasoning]\nhm,\nso\n[answer]\nIt's 7.\n");
  const argv = ['chat', '--model', REASONER];
  const { stdout } = await cli(argv, { input: QUESTION, env: { FORCE_COLOR: '1' } });
  expect(stdout).toContain('\u001b[2m[reasoning]\nhm,\nso\u001b[0m');
  expect(stripVTControlCharacters(stdout)).toBe(plain.stdout);
});

test('chat hides reasoning when asked to; JSON has both all the same', async () => {
  expect((await chat(REASONER, ['--hide-reasoning'])).stdout).toBe("It's 7.\n");
  expect(await jsonOf(REASONER, ['--hide-reasoning'])).toMatchObject({
    reasoning: 'hm,\nso',
    answer: "It's 7.",
    text: "<think>hm,\nso</think>\n\nIt's 7.",
  });
});

test('earlier reasoning does not go back into the conversation', async () => {
  const { exitCode, stderr } = await chat(REASONER, [], `${QUESTION}\n${QUESTION}\n`);
  expect(exitCode).toBe(2);
  expect(stderr).toContain("(after It's 7.)");
});

test('a folder named Thinking opens reasoning and says so; --no-think turns it off', async () => {
  const on = await chat(THINKING, ['--max-new-tokens', '2', '--ignore-eos']);
  expect(on.stderr).toContain('--no-think turns it off');
  expect(on.stderr).toContain('the reasoning ended by max-new-tokens, before an answer');
  expect(on.stdout).toMatch(/^\[reasoning\]\n/);
  const off = await chat(THINKING, ['--max-new-tokens', '2', '--no-think', '--ignore-eos']);
  expect(off.stderr).not.toContain('reasoning');
  expect(off.stdout).not.toContain('[reasoning]');
  expect((await jsonOf(REASONER, ['--think', '--ignore-eos'])).answer).toBe('');
});

test('a chat template is a name or a file, and goes before the one of the model', async () => {
  const file = join(folder, 'mine.jinja');
  writeFileSync(file, '{{ messages[0].content }}');
  const twice = `${QUESTION}\n${QUESTION}\n`;
  const own = await chat(BUNDLED, ['--chat-template', file], twice);
  expect(own.stdout).toBe(" It's 7.\n It's 7.\n");
  for (const name of ['chatml', 'chatml-corrected']) {
    const { exitCode, stderr } = await chat(BUNDLED, ['--chat-template', name]);
    expect(exitCode).toBe(0);
    expect(stderr).toContain('Write a message');
  }
  const broken = join(folder, 'broken.jinja');
  writeFileSync(broken, '{% if %}');
  for (const [flag, message] of [
    ['chatlm', /chatlm, which is no file; give chatml or chatml-corrected/],
    [broken, /broken\.jinja: chat_template cannot be read/],
    [folder, /Cannot read/],
  ] as const) {
    const { exitCode, stderr } = await chat(BUNDLED, ['--chat-template', flag]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(message);
  }
});

test('flags of conversations need a template', async () => {
  for (const flag of ['--system=x', '--think', '--no-think', '--hide-reasoning']) {
    const { exitCode, stderr } = await chat(PLAIN, [flag]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(`so ${flag.split('=')[0]!} has no place`);
  }
});

test('ids of --stop-id end a text, and inspect tells the others with their sources', async () => {
  const argv = ['generate', '--model', BUNDLED, '--ignore-eos', '--max-new-tokens', '4'];
  const whole = await cliJson<{ tokenIds: number[] }>([...argv, '--prompt', QUESTION]);
  const [first, second] = whole.tokenIds;
  const stops = ['--stop-id', '312', '--stop-id', String(second)];
  const stopped = await cliJson<{ tokenIds: number[] }>([...argv, '--prompt', QUESTION, ...stops]);
  expect(stopped.tokenIds).toEqual([first, second]);

  const text = { sampling: {}, thinksByDefault: true, hasChatTemplate: true };
  const found = await cliJson<{ text: object }>(['inspect', '--model', THINKING]);
  expect(found.text).toMatchObject({
    ...text,
    stopTokens: [
      {
        id: 0,
        token: '<|endoftext|>',
        sources: ['config.json', 'tokenizer_config.json', 'tokenizer.json'],
      },
      { id: 2, token: '<|im_end|>', sources: ['config.json', 'chat template'] },
    ],
  });
});

test('generation_config.json is what sampling and stopping default to, and flags go before it', async () => {
  const file = { temperature: 1, top_p: 0.7, eos_token_id: [0, 2] };
  const model = variant('sampled', { 'generation_config.json': JSON.stringify(file) });
  const { stdout } = await cli(['inspect', '--model', model]);
  expect(stdout).toContain('sampling temperature 1, topP 0.7 (generation_config.json)');
  expect(stdout).toMatch(/2 <\|im_end\|> \([^)]*generation_config\.json\)/);
  const argv = ['generate', '--model', model, '--prompt', QUESTION];
  const printed = await cliJson<{ sampling: object }>(argv);
  expect(printed.sampling).toMatchObject({ temperature: 1, topP: 0.7 });
  const flags = ['--temperature', '0.5', '--top-p', '0.9'];
  const overridden = await cliJson<{ sampling: object }>([...argv, ...flags]);
  expect(overridden.sampling).toMatchObject({ temperature: 0.5, topP: 0.9 });
  const greedy = await cliJson<{ sampling: object }>([...argv, '--temperature', '0']);
  expect(greedy.sampling).toMatchObject({ temperature: 0, topP: 1 });

  const damaged = variant('damaged', { 'generation_config.json': '{"top_p": 7}' });
  const refused = await cli(['generate', '--model', damaged, '--prompt', QUESTION]);
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toMatch(/^error: generation_config\.json, top_p: [^\n]+\n$/);
});
