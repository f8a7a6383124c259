/** Runs on shards and on conversations: what they read, how they resume, and what is refused. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { cli, cliJson, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
mkdirSync(at('tokenizer'));
for (const [name, text] of Object.entries(syntheticTokenizerFiles(300))) {
  writeFileSync(at('tokenizer', name), text);
}
const model = { hidden_size: 32, num_hidden_layers: 1, total_ut_steps: 2 };
const bytesOf = (out: string) => readFileSync(at(out, 'model.safetensors'));
const chatLine = (index: number) => ({
  messages: [
    { role: 'user', content: `What is ${index}?` },
    { role: 'assistant', content: `A number ${index}` },
  ],
});
writeFileSync(
  at('chat.jsonl'),
  Array.from({ length: 60 }, (_, index) => JSON.stringify(chatLine(index))).join('\n'),
);
for (const name of ['one', 'two']) {
  const texts = Array.from({ length: 80 }, (_, index) => ({
    text: `${name} of ${index}. `.repeat(4),
  }));
  writeFileSync(at(`${name}.jsonl`), texts.map((text) => JSON.stringify(text)).join('\n'));
  await cli([
    ...'tokenize --held-out 0.1 --workers 1 --tokenizer'.split(' '),
    at('tokenizer'),
    '--out',
    at(name),
    at(`${name}.jsonl`),
  ]);
}

let numRuns = 0;
const runOf = (data: object, more: object = {}) => {
  const path = at(`run-${numRuns++}.json`);
  const sizes = { rows: 2, length: 64 };
  const settings = {
    model,
    data: { ...sizes, ...data },
    trainSteps: 6,
    snapshotEvery: 2,
    logEvery: 1,
  };
  writeFileSync(path, JSON.stringify({ ...settings, ...more }));
  return ['train', '--config', path, '--threads', '1', '--out'];
};

describe.each<[string, object, object?]>([
  ['one folder of shards', { shards: 'one' }],
  [
    'a mixture of shards',
    { shards: [{ path: 'one', weight: 3, finalWeight: 0 }, { path: 'two' }] },
  ],
  [
    'a mixture by stages',
    { shards: [{ path: 'one' }, { path: 'two', name: 'second' }] },
    {
      stages: [
        { trainSteps: 3, mixture: { one: 1, second: 2 } },
        { trainSteps: 3, mixture: { second: 1 }, length: 32 },
      ],
    },
  ],
  ['shards with replacement', { shards: 'two', order: 'replacement' }],
  ['conversations', { chat: 'chat.jsonl', length: 256 }],
])('%s', (name, data, more = {}) => {
  test('a run that was stopped ends in the same bytes, and tells the held-out loss', async () => {
    const run = runOf(data, {
      ...more,
      accumulate: 2,
      validation: { ...('chat' in data && { fraction: 0.1 }), evaluateEvery: 3 },
    });
    const out = name.replaceAll(' ', '-');
    const whole = await cliJson<{ finished: boolean; validation: { lossByDepth: number[] } }>([
      ...run,
      at(`${out}-whole`),
    ]);
    expect(whole.finished).toBe(true);
    expect(whole.validation.lossByDepth).toHaveLength(2);
    const stopped = await cli([...run, at(`${out}-stopped`)], { interrupts: 'at progress' });
    expect(stopped.exitCode).toBe(130);
    expect((await cli([...run, at(`${out}-stopped`)])).exitCode).toBe(0);
    expect(bytesOf(`${out}-stopped`).equals(bytesOf(`${out}-whole`))).toBe(true);
  });
});

test('finetune: epochs become train steps, and the model says what it was shown', async () => {
  const small = await cli([...runOf({ chat: 'chat.jsonl', length: 256 }), at('start')]);
  expect(small.exitCode).toBe(0);
  const lines = Array.from({ length: 8 }, (_, index) => ({
    messages: [
      { role: 'user', content: `Say ${index}` },
      { role: 'assistant', content: 'aaaa' },
    ],
  }));
  writeFileSync(at('tune.jsonl'), lines.map((line) => JSON.stringify(line)).join('\n'));
  const wanted = '{"temperature": 0.01}';
  writeFileSync(at('start', 'generation_config.json'), wanted);
  const argv = ['finetune', at('start'), '--data', at('tune.jsonl'), '--out', at('tuned')];
  const flags = '--epochs 40 --learning-rate 0.01 --rows 2 --length 100 --held-out 0 --threads 1';
  const { trainSteps, finished } = await cliJson<{ trainSteps: number; finished: boolean }>([
    ...argv,
    ...flags.split(' '),
  ]);
  expect(finished).toBe(true);
  // Each conversation takes more than half a row: 8 rows, two an update.
  expect(trainSteps).toBe((8 * 40) / 2);
  expect(readFileSync(at('tuned', 'generation_config.json'), 'utf8')).toBe(wanted);
  const chat = ['chat', '--model', at('tuned'), '--threads', '1', '--max-new-tokens', '8'];
  const { stdout } = await cli(chat, { input: 'Say 3\n' });
  expect(stdout).toContain('aaaa');
});

test('a schedule is checked with the train steps that epochs come to', async () => {
  const schedule = { kind: 'wsd', warmupTrainSteps: 600, decayTrainSteps: 600 };
  const run = (epochs: number) =>
    runOf({ chat: 'chat.jsonl', length: 256, epochs }, { trainSteps: undefined, schedule });
  const plan = await cli([...run(1000).slice(0, -1), '--plan']);
  expect(plan.stderr).toBe('');
  expect(plan.exitCode).toBe(0);
  const { exitCode, stderr } = await cli([...run(2), at('too-short')]);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/warm-up and decay take 1200 train steps but the run has \d\d;/);
});

test('a start has room for rows longer than it was trained with, and so has what comes of it', async () => {
  expect((await cli([...runOf({ chat: 'chat.jsonl', length: 256 }), at('short')])).exitCode).toBe(
    0,
  );
  const longer = runOf({ chat: 'chat.jsonl', length: 288 }, { model: undefined, from: 'short' });
  expect((await cli([...longer, at('long')])).exitCode).toBe(0);
  const positions = (name: string) =>
    (JSON.parse(readFileSync(at(name, 'config.json'), 'utf8')) as Record<string, unknown>)[
      'max_position_embeddings'
    ];
  expect([positions('short'), positions('long')]).toEqual([256, 288]);
});

describe('refused', () => {
  const refusal = async (data: object, more: object = {}) => {
    const { exitCode, stderr } = await cli([...runOf(data, more), at('refused')]);
    expect(exitCode).toBe(2);
    return stderr;
  };

  test('none or several kinds of data', async () => {
    expect(await refusal({})).toMatch(/data names nothing; give one of path, chat and shards/);
    expect(await refusal({ chat: 'chat.jsonl', shards: 'one' })).toMatch(
      /data\.chat and data\.shards are given together/,
    );
  });

  test('weights that are all 0 at some step', async () => {
    const shards = [
      { path: 'one', weight: 1, finalWeight: 0 },
      { path: 'two', weight: 0 },
    ];
    expect(await refusal({ shards })).toMatch(
      /At the last train step the weights of all shards are 0/,
    );
    expect(await refusal({ shards: [{ path: 'one', weight: 0 }] })).toMatch(
      /At the first train step /,
    );
  });

  test('epochs where they cannot be counted', async () => {
    expect(await refusal({ shards: [{ path: 'one' }, { path: 'two' }], epochs: 2 })).toMatch(
      /data\.epochs is given, and several shards have epochs of their own/,
    );
    expect(await refusal({ shards: 'one', order: 'replacement', epochs: 2 })).toMatch(
      /data\.order is "replacement"/,
    );
  });

  test('epochs beside trainSteps', async () => {
    expect(await refusal({ shards: 'one', epochs: 2 })).toMatch(
      /data\.epochs and trainSteps are both given/,
    );
  });

  test('keys that would change nothing', async () => {
    writeFileSync(at('text.txt'), 'Some text. '.repeat(100));
    expect(await refusal({ path: 'text.txt', order: 'epochs' })).toMatch(
      /data\.order is "epochs", and rows of data\.path are always drawn/,
    );
    expect(await refusal({ path: 'text.txt' }, { keepStages: true })).toMatch(
      /keepStages is true, and there are no stages/,
    );
    expect(await refusal({ shards: 'one' }, { validation: { fraction: 0.2 } })).toMatch(
      /validation\.fraction is 0\.2, and of shards looplm tokenize has chosen/,
    );
  });

  test('a mixture of shards of one name', async () => {
    const shards = [{ path: 'one' }, { path: join('..', basename(folder), 'one') }];
    expect(await refusal({ shards }, { mixture: { one: 1 } })).toMatch(
      /mixture weighs shards by name, and two of them are named "one"/,
    );
  });

  test('a mixture of other names', async () => {
    expect(await refusal({ shards: 'one' }, { mixture: { two: 1 } })).toMatch(
      /mixture weighs "two", and the shards are one\. Use these names/,
    );
  });

  test('shards of another tokenizer, or none', async () => {
    mkdirSync(at('other'));
    for (const [name, text] of Object.entries(syntheticTokenizerFiles(301))) {
      writeFileSync(at('other', name), text);
    }
    expect(await refusal({ shards: 'one' }, { tokenizer: 'other' })).toMatch(
      /one was made with tokenizer [0-9a-f]{16}, and the run has [0-9a-f]{16}/,
    );
    expect(await refusal({ shards: 'tokenizer' })).toMatch(/holds no shards\.json/);
  });

  test('conversations of a wrong shape, by their line', async () => {
    writeFileSync(at('wrong.jsonl'), `${JSON.stringify(chatLine(1))}\n{"messages": []}\n`);
    expect(await refusal({ chat: 'wrong.jsonl' })).toMatch(/wrong\.jsonl, line 2: messages /);
    expect(await refusal({ chat: 'chat.jsonl', length: 8 })).toMatch(
      /nothing that counts fits a row of 8 tokens/,
    );
  });
});
