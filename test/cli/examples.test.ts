/** The examples in the help of every command are commands that run. */
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHATML_TEMPLATES, syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { cli, copyOfBundled, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const inputs = join(folder, 'inputs');
const PROBLEM = 'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?';
const TASK = `export default {
  name: 'cups',
  draw: () => ({ prompt: '${PROBLEM}' }),
  reward: ({ text }) => text.length,
};`;

/** What the examples name, made small. */
async function makeInputs(): Promise<void> {
  const model = (name: string, files: Readonly<Record<string, string>> = {}) =>
    copyOfBundled(join(inputs, name), files);
  const template = { 'chat_template.jinja': CHATML_TEMPLATES.corrected };
  model('my-model');
  model('my-base-model');
  model('my-chat-model', template);
  model('Ouro-1.4B-Thinking', template);
  const write = (name: string, text: string) => writeFileSync(join(inputs, name), text);
  write('problem.txt', `${PROBLEM}\n`);
  write('notes.txt', `${PROBLEM} 5\n`.repeat(20));
  for (const name of ['data', 'corpus', 'my-tokenizer']) mkdirSync(join(inputs, name));
  write('data/notes.jsonl', JSON.stringify({ content: 'Notes and more notes.' }));
  cpSync(repositoryPath('test/fixtures/parquet/zstd.parquet'), join(inputs, 'corpus/a.parquet'));
  const bytes = Object.entries(syntheticTokenizerFiles(300));
  for (const [name, text] of bytes) write(`my-tokenizer/${name}`, text);
  const chat = { prompt: PROBLEM, completion: ' 5' };
  write(
    'chat.jsonl',
    `${JSON.stringify(chat)}\n`.repeat(3) +
      JSON.stringify({ ...chat, prompt: 'The ball is under cup 1. Where is the ball?' }),
  );
  write('problems.jsonl', `${JSON.stringify({ prompt: PROBLEM, answer: ' 5' })}\n`.repeat(4));
  cpSync(repositoryPath('test/fixtures/tiny-mha/config.json'), join(inputs, 'config.json'));
  const run = {
    from: 'my-model',
    data: { path: 'problems.jsonl', rows: 2, length: 32 },
    objective: { kind: 'last-loop' },
    learningRate: 1e-4,
    trainSteps: 2,
  };
  write('train.json', JSON.stringify(run));
  write('together.json', JSON.stringify({ ...run, outer: {} }));
  mkdirSync(join(inputs, 'runs/bundled'), { recursive: true });
  write('runs/bundled/metrics.jsonl', JSON.stringify({ trainStep: 100, evaluation: {} }));
  write('task.mjs', TASK);
  const few = { groups: 2, groupSize: 2, maxNewTokens: 1, training: { trainSteps: 2 } };
  write('rl.json', JSON.stringify({ from: 'my-model', task: 'task.mjs', ...few }));
  const q4 = join(inputs, 'my-model-q4');
  const adapter = join(inputs, 'runs/adapter');
  const made = [
    ['convert', join(inputs, 'my-model'), '--dtype', 'q8', '--out', join(inputs, 'my-model-q8')],
    ['convert', join(inputs, 'my-chat-model'), '--dtype', 'q4', '--out', q4],
    ['finetune', q4, '--data', join(inputs, 'chat.jsonl'), '--lora', '4', '--out', adapter],
    ['calibrate', join(inputs, 'my-model'), '--text', join(inputs, 'notes.txt')].concat(
      '--out',
      join(inputs, 'calibration.safetensors'),
    ),
  ];
  for (const argv of made) expect(await cli(argv)).toMatchObject({ exitCode: 0 });
}

interface Example {
  readonly line: string;
  readonly argv: readonly string[];
  readonly input: string;
}

/** Lines such as `  echo 'text' | looplm generate    what it does`. */
function examplesOf(help: string): Example[] {
  const [, list = ''] = help.split('\nExamples:\n');
  return [...list.matchAll(/^ {2}(?:echo '([^']*)' \| )?looplm (.*?)(?: {3,}.*)?$/gm)].map(
    ([line, input = '', words]) => ({
      line: line.trim(),
      argv: (words!.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", '')),
      input: `${input}\n`,
    }),
  );
}

/** These take minutes: Ctrl-C ends them as soon as they listen to it. */
const LONG = [
  /^train --recipe/,
  /^rl --recipe/,
  /^train --text/,
  /^eval(?! --model)/,
  /^random \S+ --shape ouro/,
];
/** These need the network, which tests do not use: that is what they must say. */
const HUB_NAME = /\b[\w-]+\/Ouro|^hf:/;
/** These need a NATS server, and say so. */
const SERVER = /^nats:/;

const commands = (await cli(['--help'])).stdout
  .split('\nCommands:\n')[1]!
  .match(/^ {2}[\w-]+/gm)!
  .map((name) => name.trim())
  .filter((name) => name !== 'help');

const before = process.cwd();
beforeAll(makeInputs);
afterAll(() => process.chdir(before));

describe.each(commands)('looplm %s', async (command) => {
  const examples = examplesOf((await cli([command, '--help'])).stdout);

  test('shows examples', () => {
    expect(examples.length).toBeGreaterThan(0);
  });

  test.each(examples)('$line', async ({ argv, input }) => {
    const place = join(folder, 'place');
    rmSync(place, { recursive: true, force: true });
    cpSync(inputs, place, { recursive: true });
    process.chdir(place);
    const out = argv.indexOf('--out');
    if (out > 0) rmSync(argv[out + 1]!, { recursive: true, force: true });
    const isLong = LONG.some((pattern) => pattern.test(argv.join(' ')));
    const isServer = argv[0] === 'serve';
    const interrupts = isServer ? 'at output' : isLong ? 'at once' : undefined;
    const env = { HF_HOME: join(folder, 'hub'), HF_HUB_OFFLINE: '1', LOOPLM_CACHE: folder };
    const line = isServer ? [...argv, '--port', '0'] : argv;
    const result = await cli(line, { input, env, ...(interrupts && { interrupts }) });
    const needsHub = argv.some((word) => HUB_NAME.test(word));
    const refused = (message: RegExp) => {
      return { exitCode: 2, stderr: expect.stringMatching(message) };
    };
    const expected = needsHub
      ? refused(/^error: (.* in the cache.* offline mode|No cached model is called)/)
      : argv.some((word) => SERVER.test(word))
        ? refused(/Cannot connect to the NATS server localhost:4222/)
        : { exitCode: isLong ? expect.toBeOneOf([0, 130]) : 0 };
    expect(result).toMatchObject(expected);
  });
});
