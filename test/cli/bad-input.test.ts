/** Every mistake of a user is one line on stderr and exit code 2: no stack, nothing on stdout. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TINY, cli, temporaryFolder } from './support.js';

const folder = temporaryFolder();

/** A copy of the tiny model with one file changed. */
function damaged(name: string, file: string, change: (bytes: Buffer) => Buffer): string {
  const path = join(folder, name);
  cpSync(TINY, path, { recursive: true });
  writeFileSync(join(path, file), change(readFileSync(join(TINY, file))));
  return path;
}

const WEIGHTS = 'model.safetensors';
const headerEnd = (bytes: Buffer) => 8 + Number(bytes.readBigUInt64LE(0));
const withConfig = (name: string, change: (json: Record<string, unknown>) => void) =>
  damaged(name, 'config.json', (bytes) => {
    const json = JSON.parse(bytes.toString()) as Record<string, unknown>;
    change(json);
    return Buffer.from(JSON.stringify(json));
  });

const MODELS = {
  truncated: damaged('truncated', WEIGHTS, (bytes) => bytes.subarray(0, bytes.length / 2)),
  flipped: damaged('flipped', WEIGHTS, (bytes) => {
    bytes[bytes.indexOf('"F32"') + 2]! ^= 1;
    return bytes;
  }),
  longHeader: damaged('long-header', WEIGHTS, (bytes) => {
    bytes.writeBigUInt64LE(BigInt(bytes.length), 0);
    return bytes;
  }),
  nan: damaged('nan', WEIGHTS, (bytes) => {
    bytes.writeFloatLE(Number.NaN, headerEnd(bytes) + 400);
    return bytes;
  }),
  misshaped: withConfig('misshaped', (json) => (json['intermediate_size'] = 161)),
  otherKind: withConfig('other-kind', (json) => (json['model_type'] = 'llama')),
  notJson: damaged('not-json', 'config.json', (bytes) => bytes.subarray(1)),
};

const file = join(folder, 'file');
writeFileSync(file, 'in the way');

const trainFile = (name: string, change: Record<string, unknown>): string => {
  const path = join(folder, `${name}.json`);
  const model = JSON.parse(readFileSync(join(TINY, 'config.json'), 'utf8')) as object;
  const data = { path: 'data.jsonl', rows: 2, length: 8 };
  const objective = { kind: 'stage-1', beta: 0.1 };
  const settings = { model, data, objective, learningRate: 0.001, trainSteps: 2, ...change };
  writeFileSync(path, JSON.stringify(settings));
  return path;
};
writeFileSync(join(folder, 'data.jsonl'), '{"ids":[1,2,3],"targets":[2,3,4]}\n');
writeFileSync(join(folder, 'bad.jsonl'), '{"ids":[1,2,3],"targets":[2,3,4]}\n{"ids":[1,2]}\n');

let numFiles = 0;
function jsonl(lines: readonly object[]): string {
  const path = join(folder, `eval-${numFiles++}.jsonl`);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
}
const LABELLED = [{ ids: [1, 2, 3], targets: [-100, 3, 4] }];
const evaluating = (lines: readonly object[], ...flags: string[]) => [
  'eval',
  '--model',
  TINY,
  '--data',
  jsonl(lines),
  ...flags,
];

const generate = (...flags: string[]) => ['generate', '--model', TINY, ...flags];
const on = (model: string) => ['generate', '--model', model, '--ids', '1'];
const longPrompt = Array.from({ length: 513 }, () => 1).join(',');

describe.each<[string, [what: string, argv: string[], message: RegExp][]]>([
  [
    'a model folder',
    [
      ['truncated weights', on(MODELS.truncated), /model\.safetensors.*bytes/],
      ['a flipped bit in the header', on(MODELS.flipped), /model\.safetensors/],
      ['a header longer than the file', on(MODELS.longHeader), /model\.safetensors.*header/],
      ['a NaN weight', on(MODELS.nan), /NaN.*finite/],
      ['a NaN weight, inspected', ['inspect', '--model', MODELS.nan], /NaN.*finite/],
      ['wrong shapes', on(MODELS.misshaped), /has shape \[160, 64\].*needs \[161, 64\]/],
      ['another architecture', on(MODELS.otherKind), /llama/],
      ['a config that is no JSON', on(MODELS.notJson), /config\.json.*not valid JSON/],
      ['no such folder', on(join(folder, 'nowhere')), /does not exist/],
      ['a file instead of a folder', on(file), /is not a folder/],
    ],
  ],
  [
    'a prompt',
    [
      ['an empty one', generate('--ids', ''), /prompt is empty/],
      ['an id above the vocabulary', generate('--ids', '5,256'), /256.*0 to 255/],
      ['a negative id', generate('--ids=-1'), /-1.*0 to 255/],
      ['ids that are words', generate('--ids', '5,x'), /token ids between commas/],
      ['longer than the context', generate('--ids', longPrompt), /513 tokens.*512/],
      ['text without a tokenizer', generate('--prompt', 'a'), /no tokenizer\.json/],
      ['none', generate(), /No prompt.*--prompt TEXT.*--ids.*standard input/],
      ['two forms', generate('--ids', '1', '--prompt', 'a'), /--prompt and --ids are .* together/],
      ['an empty text', ['generate', '--prompt', ''], /prompt is empty/],
      ['a missing file', ['generate', '--prompt-file', join(folder, 'none')], /does not exist/],
      ['a folder', ['generate', '--prompt-file', folder], /folder/],
    ],
  ],
  [
    'a flag',
    [
      ['a threshold of 0', generate('--ids', '1', '--exit-policy', 'cdf:0'), /\(0, 1\]/],
      ['a threshold above 1', generate('--ids', '1', '--exit-policy', 'cdf:1.5'), /\(0, 1\]/],
      ['an unknown policy', generate('--ids', '1', '--exit-policy', 'deep'), /Write one of/],
      ['a depth the model lacks', generate('--ids', '1', '--exit-policy', 'fixed:9'), /1 to 4/],
      [
        'minDepth above maxDepth',
        generate('--ids', '1', '--min-depth', '3', '--max-depth', '2'),
        /minDepth is 3 and maxDepth is 2/,
      ],
      [
        'a deferred prefill under another KV policy',
        generate('--ids', '1', '--prefill', 'deferred', '--kv-policy', 'shared'),
        /use per-loop, or prefill full/,
      ],
      ['a filter without sampling', generate('--ids', '1', '--top-k', '4'), /temperature/],
      ['stop texts without a tokenizer', generate('--ids', '1', '--stop', 'x'), /stopStrings/],
      ['no tokens', generate('--ids', '1', '--max-new-tokens', '0'), /whole number from 1 up/],
      ['half a token', generate('--ids', '1', '--max-new-tokens', '1.5'), /whole number/],
      ['no threads', generate('--ids', '1', '--threads', '0'), /--threads.*'0'.*from 1 up/],
      ['no loops', generate('--ids', '1', '--num-loops', '0'), /--num-loops.*'0'.*from 1 up/],
      ['many loops', generate('--ids', '1', '--num-loops', '65'), /from 1 to 64/],
      ['no context', generate('--ids', '1', '--context', '0'), /--context.*from 1 up/],
      ['a negative seed', generate('--ids', '1', '--seed', '-1'), /--seed.*from 0 up/],
      [
        'a huge number',
        generate('--ids', '1', '--top-k', '9'.repeat(40)),
        /at most 9007199254740991/,
      ],
      ['an infinite number', generate('--ids', '1', '--temperature', '1e999'), /must be a number/],
      [
        'more threads than any machine can start',
        generate('--ids', '1', '--threads', '100000'),
        /numThreads is 100000; .* 1 to 256\. Leave it out to use every core\./,
      ],
      ['an unknown flag', generate('--idz', '1'), /Did you mean --ids\?/],
      ['an unknown command', ['genrate'], /Did you mean generate\?/],
      ['a strange command', ['frobnicate'], /the commands are demo, generate, chat,/],
      ['a stray argument', generate('hello'), /too many arguments.*after --prompt/],
      ['a missing --out', ['trace', '--model', TINY, '--ids', '1'], /--out/],
    ],
  ],
  [
    'an output or data file',
    [
      [
        'a file where the folder of a trace should be',
        ['trace', '--model', TINY, '--ids', '1', '--out', join(file, 'a.safetensors')],
        /Cannot write/,
      ],
      [
        'a file where the folder of a run should be',
        ['train', '--config', trainFile('good', {}), '--out', file],
        /Cannot write/,
      ],
      ['a missing run file', ['train', '--config', 'none.json', '--out', 'x'], /none\.json/],
      [
        'neither recipe nor run file',
        ['train', '--out', 'x'],
        /--text FILE, --config FILE and --recipe/,
      ],
      [
        'an unknown key in a run file',
        ['train', '--config', trainFile('unknown', { learningrate: 1 }), '--out', 'x'],
        /learningrate/,
      ],
      [
        'a value out of range in a run file',
        ['train', '--config', trainFile('range', { trainSteps: 0 }), '--out', 'x'],
        /trainSteps/,
      ],
      [
        'a wrong line in the data',
        [
          'train',
          '--out',
          'x',
          '--config',
          trainFile('line', { data: { path: 'bad.jsonl', rows: 2, length: 8 } }),
        ],
        /bad\.jsonl, line 2/,
      ],
    ],
  ],
  [
    'an evaluation',
    [
      ['missing data', ['eval', '--model', TINY, '--data', 'none.jsonl'], /none\.jsonl/],
      [
        'no questions',
        ['eval', '--questions', '0'],
        /'--questions.*'0'.*whole number from 1 to 2000/,
      ],
      ['fewer than none', ['eval', '--questions=-3'], /'-3'.*from 1 to 2000/],
      ['more questions than can be drawn', ['eval', '--questions', '99999999'], /at most 2000/],
      ['no loops', evaluating(LABELLED, '--num-loops', '0'), /'--num-loops.*'0'.*from 1 up/],
      [
        'more loops than can be meant',
        evaluating(LABELLED, '--num-loops', '65'),
        /numLoops is 65; .* 1 to 64/,
      ],
      ['a threshold of 0', evaluating(LABELLED, '--threshold', '0'), /is 0; .*\(0, 1\]/],
      ['data without a label', evaluating([{ ids: [1, 2], targets: [-100, -100] }]), /no label/],
      ['data without a line', evaluating([]), /holds no documents/],
      [
        'a document longer than the context',
        evaluating([...LABELLED, { ids: Array(513).fill(1), targets: Array(513).fill(1) }]),
        /line 2: the document has 513 tokens; the model's context holds 512\. Cut/,
      ],
      [
        'an empty answer',
        [
          'eval',
          '--data',
          jsonl([{ prompt: 'The ball is under cup 3. Where is the ball?', answer: '' }]),
        ],
        /line 1: "answer" is empty/,
      ],
      [
        'an empty prompt',
        ['eval', '--data', jsonl([{ prompt: '', answer: ' 3' }])],
        /line 1: "prompt" is empty/,
      ],
      [
        'a prompt without an answer',
        ['eval', '--data', jsonl([{ prompt: 'The ball is under cup 3. Where is the ball?' }])],
        /line 1: answer is missing; it must be a text\. A line is one of \{"prompt".*\{"text".*\{"ids"/,
      ],
      [
        'an answer that is a number',
        [
          'eval',
          '--data',
          jsonl([{ prompt: 'The ball is under cup 3. Where is the ball?', answer: 3 }]),
        ],
        /line 1: answer is 3; it must be a text\. A line is one of/,
      ],
    ],
  ],
])('%s', (_, cases) => {
  test.each(cases)('%s is one line and exit code 2', async (__, argv, message) => {
    const { exitCode, stdout, stderr } = await cli(argv);
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
    expect(stdout).toBe('');
    expect(exitCode).toBe(2);
  });
});

test('with --json the error is an object on stdout, too', async () => {
  const { exitCode, stdout, stderr } = await cli([...on(file), '--json']);
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
  expect(exitCode).toBe(2);
  expect(error.code).toBe('file');
  expect(stderr).toBe(`error: ${error.message}\n`);
});
