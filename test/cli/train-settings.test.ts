/** The settings of a run: all that is wrong with them is told at once, and the example is right. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TINY, cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
writeFileSync(at('data.jsonl'), '{"ids":[1,2,3],"targets":[2,3,4]}\n{"ids":[5],"targets":[6]}\n');
writeFileSync(at('notes.txt'), 'Some notes.\n');

let count = 0;
function fileOf(content: unknown): string {
  const path = at(`${count++}.json`);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** What a run with these settings ends with, before anything is made. */
async function errorOf(settings: unknown): Promise<string> {
  const out = at(`out-${count}`);
  const { exitCode, stdout, stderr } = await cli([
    'train',
    '--config',
    fileOf(settings),
    '--out',
    out,
  ]);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(readdirSync(folder)).not.toContain(`out-${count - 1}`);
  return stderr;
}

const DATA = { path: 'data.jsonl' };

describe('all faults are told at once, each with its value and what is allowed', () => {
  test('of the keys, the model, the tokenizer and the data together', async () => {
    const message = await errorOf({
      data: { path: 'none.jsonl', rows: 0 },
      model: { hidden_size: -1, vocab_size: 'many', hidden_layers: 2 },
      tokenizer: 'nowhere',
      learningrate: 0.1,
      learningRate: -1,
      objective: { kind: 'stage-3' },
      optimizer: { beta1: 1 },
      trainSteps: 'long',
    });
    for (const fault of [
      /has 10 faults\. \(1\) /,
      /data\.rows is 0; it must be a whole number from 1 to 65536\. Correct it\./,
      /Field "learningrate" of .* is not known; remove it\. Known are .*learningRate/,
      /learningRate is -1; it must be a number above 0/,
      /objective\.kind is "stage-3"; it must be an object whose kind is "stage-1", "stage-2" or/,
      /optimizer\.beta1 is 1; it must be a number from 0 to below 1/,
      /trainSteps is "long"; it must be a whole number from 1 to 1000000000/,
      /there is no .*nowhere\/tokenizer\.json\. Name a folder/,
      /model: hidden_size is -1; it must be an integer from 1/,
      /model: vocab_size is "many"/,
      /Cannot read .*none\.jsonl: it does not exist/,
    ]) {
      expect(message).toMatch(fault);
    }
  });

  test.each<[string, unknown, RegExp]>([
    [
      'a tokenizer that is not there, which is one fault',
      { data: { path: 'notes.txt' }, tokenizer: 'nowhere' },
      /^error: \S+: tokenizer is "nowhere", and there is no .*tokenizer\.json\. Name a folder/,
    ],
    ['no data', {}, /: data is missing; it must be an object/],
    ['no object', [1], /Got a list of 1 as .*; it must be an object/],
    ['an unknown key of the model', { data: DATA, model: { hiden_size: 8 } }, /hiden_size.*Remove/],
    ['model and from', { data: DATA, model: {}, from: TINY }, /model and from are both given/],
    [
      'a format that the name does not tell',
      { data: { path: '0.json' } },
      /data\.format is missing, and "0\.json" does not end in \.jsonl, .*\.txt/,
    ],
    [
      'rows longer than the model',
      { data: { ...DATA, length: 512 }, model: { max_position_embeddings: 100 } },
      /data\.length is 512, and the model has 100 positions/,
    ],
    [
      'a vocabulary smaller than the tokenizer',
      { data: { path: 'notes.txt' }, model: { vocab_size: 100 } },
      /tokenizer has 259 tokens and the model 100/,
    ],
    [
      'a schedule longer than the run',
      { data: DATA, trainSteps: 5, schedule: { kind: 'constant', warmupTrainSteps: 9 } },
      /warm-up and decay take 9 train steps but the run has 5/,
    ],
    [
      'an objective that the model has no loops for',
      {
        data: DATA,
        model: { total_ut_steps: 1 },
        objective: { kind: 'stage-2', target: 'forward' },
      },
      /objective is stage-2 and the model has 1 loop/,
    ],
    ['a text that is no JSON', '{"data": ', /is not valid JSON/],
  ])('%s', async (_, settings, message) => {
    expect(await errorOf(settings)).toMatch(message);
  });
});

describe('absurd counts end at once', () => {
  test.each<[string, unknown, RegExp]>([
    [
      'tokens',
      { data: DATA, model: { vocab_size: 1e12 } },
      /vocab_size is 1000000000000; .* to 16777216/,
    ],
    [
      'layers',
      { data: DATA, model: { num_hidden_layers: 1e9 } },
      /num_hidden_layers is 1000000000; /,
    ],
    [
      'loops',
      { data: DATA, model: { total_ut_steps: 1e9 } },
      /total_ut_steps is 1000000000; .* to 64/,
    ],
    [
      'width',
      { data: DATA, model: { hidden_size: 1e12 } },
      /hidden_size is 1000000000000; .* to 1048576/,
    ],
    ['rows', { data: { ...DATA, rows: 1e9 } }, /data\.rows is 1000000000; .* from 1 to 65536/],
    [
      'positions',
      { data: { ...DATA, length: 1e12 } },
      /data\.length is 1000000000000; .* to 1048576/,
    ],
    ['train steps', { data: DATA, trainSteps: 1e300 }, /trainSteps is 1e\+300; .* to 1000000000/],
    ['micro-batches', { data: DATA, accumulate: 1e9 }, /accumulate is 1000000000; .* to 1000000/],
    ['a seed', { data: DATA, seed: 2 ** 32 }, /seed is 4294967296; .* from 0 to 4294967295/],
    [
      'what is allowed each and too much together',
      { data: { ...DATA, rows: 65_536, length: 4096 }, model: { hidden_size: 4096 } },
      /needs about [\d.]+ (?:TiB|GiB) of memory \(.*\) and [\d.]+ [MG]iB are free\. Use fewer rows/,
    ],
    [
      'a model that is too large',
      {
        data: { ...DATA, rows: 1, length: 8 },
        model: { hidden_size: 16_384, num_hidden_layers: 64 },
      },
      /needs about .* of memory \(weights and optimizer [\d.]+ [TG]iB.* are free\. Use .*a smaller model/,
    ],
  ])('%s', async (_, settings, message) => {
    expect(await errorOf(settings)).toMatch(message);
  });
});

describe('a file in another form of text', () => {
  test('may begin with a byte-order mark, and so may its data', async () => {
    const bom = '\uFEFF';
    writeFileSync(at('bom.jsonl'), `${bom}{"ids":[1,2,3],"targets":[2,3,4]}\r\n`);
    const settings = { data: { path: 'bom.jsonl', rows: 1, length: 4 }, trainSteps: 1 };
    const small = { hidden_size: 8, num_hidden_layers: 1, total_ut_steps: 2 };
    const path = fileOf(bom + JSON.stringify({ ...settings, model: small }));
    const argv = ['train', '--config', path, '--out', at('bom'), '--threads', '1'];
    expect(await cliJson(argv)).toMatchObject({ finished: true });
  });

  test('that is not UTF-8 is told by file and place', async () => {
    writeFileSync(at('latin.txt'), Buffer.from([0x61, 0x62, 0xe9, 0x20]));
    expect(await errorOf({ data: { path: 'latin.txt' } })).toMatch(
      /latin\.txt is not UTF-8: byte 2 is 0xE9\. .*iconv/,
    );
    const { exitCode, stderr } = await cli([
      'train',
      '--config',
      at('latin.txt'),
      '--out',
      at('x'),
    ]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error: .*latin\.txt is not UTF-8: byte 2/);
  });
});

test('the example trains: its loss falls, and it tells the loss on held-out text', async () => {
  const example = JSON.parse(readFileSync(repositoryPath('examples/train.json'), 'utf8')) as {
    data: { path: string };
    validation: object;
    schedule: object;
  };
  const settings = {
    ...example,
    data: { ...example.data, path: repositoryPath(join('examples', example.data.path)), rows: 2 },
    validation: { ...example.validation, evaluateEvery: 4, maxTokens: 256 },
    schedule: { ...example.schedule, warmupTrainSteps: 2 },
    trainSteps: 6,
    logEvery: 1,
  };
  const out = at('example');
  const { exitCode, stderr } = await cli(['train', '--config', fileOf(settings), '--out', out]);
  expect(exitCode).toBe(0);
  const losses = [...stderr.matchAll(/loss (\d+\.\d+), by loop/g)].map(([, loss]) => Number(loss));
  expect(losses).toHaveLength(6);
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
  expect(
    stderr.match(/validation after train step (4|6): loss by depth( \d\.\d{3}){4}\n/g),
  ).toHaveLength(2);
});

test('the example as it is passes the checks', async () => {
  const argv = ['train', '--config', repositoryPath('examples/train.json'), '--out', at('checked')];
  const { exitCode } = await cli(argv, { interrupts: 'at once' });
  expect(exitCode).toBe(130);
});

test('whatever stands at whatever key is told in one sentence, and is no bug', async () => {
  const example = JSON.parse(readFileSync(repositoryPath('examples/train.json'), 'utf8')) as object;
  const settings = {
    ...example,
    data: { path: 'notes.txt' },
    from: 'nowhere',
    tokenizer: 'nowhere',
  };
  const pathsOf = (value: unknown): string[][] =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, inner]) => [
          [key],
          ...pathsOf(inner).map((path) => [key, ...path]),
        ])
      : [];
  const odd = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      '',
      [],
      {},
      true,
      -1,
      0.5,
      1e300,
      -0,
      '__proto__',
      '\u0000',
      '\n',
    ),
    fc.json().map((text) => JSON.parse(text) as unknown),
  );
  const edit = fc.tuple(fc.constantFrom(...pathsOf(settings), ['novel']), odd);
  const anySettings = fc.array(edit, { minLength: 1, maxLength: 4 }).map((edits) => {
    const copy = structuredClone(settings) as Record<string, unknown>;
    for (const [path, value] of edits) {
      let inner: unknown = copy;
      for (const key of path.slice(0, -1)) inner = (inner as Record<string, unknown>)?.[key];
      if (typeof inner === 'object' && inner !== null) {
        (inner as Record<string, unknown>)[path.at(-1)!] = value;
      }
    }
    return copy;
  });
  await fc.assert(
    fc.asyncProperty(anySettings, async (changed) => {
      const path = join(folder, 'changed.json');
      writeFileSync(path, JSON.stringify(changed));
      const { exitCode, stderr } = await cli(['train', '--config', path, '--out', at('never')]);
      expect(stderr).toMatch(/^error: [^\n]+\n$/);
      expect(exitCode).toBe(2);
    }),
    { seed: 20261128, numRuns: 300 },
  );
});
