/** Runs of several stages at the command line: planned, trained, and refused where stages contradict. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const lines = Array.from({ length: 400 }, (_, n) => `Line ${n} of some notes about loops.\n`);
writeFileSync(at('notes.txt'), lines.join(''));

let count = 0;
function fileOf(settings: object): string {
  const path = at(`${count++}.json`);
  writeFileSync(path, JSON.stringify(settings));
  return path;
}

const RUN = {
  data: { path: 'notes.txt', rows: 2, length: 16 },
  validation: { fraction: 0.2, evaluateEvery: 50, maxTokens: 64 },
  model: { hidden_size: 8, num_hidden_layers: 1, total_ut_steps: 2 },
  logEvery: 1,
  snapshotEvery: 2,
  stages: [
    { name: 'wide', trainSteps: 3, loops: { from: 1, to: 3 }, accumulate: 2 },
    {
      name: 'long',
      tokens: 64 * 3,
      rows: 1,
      length: 32,
      loops: 2,
      ropeTheta: 20_000,
      optimizer: { kind: 'muon', averageDecay: 0.9 },
      upcycle: { numHiddenLayers: 2, order: 'stacked' },
    },
    { name: 'gate', trainSteps: 2, objective: { kind: 'stage-2', target: 'forward' } },
  ],
};

interface Plan {
  readonly stages: readonly Record<string, unknown>[];
}

test('--plan prints the stages, their tokens and memory, and trains nothing', async () => {
  const argv = ['train', '--config', fileOf(RUN), '--plan'];
  const { stages } = await cliJson<Plan>(argv);
  expect(stages).toMatchObject([
    { name: 'wide', trainSteps: 3, tokens: 3 * 2 * 32, numLoops: [1, 3], updateTokens: [64, 64] },
    { name: 'long', trainSteps: 6, tokens: 192, length: 32, numHiddenLayers: 2, ropeTheta: 20_000 },
    { name: 'gate', trainSteps: 2, objective: 'stage-2', numLoops: [2] },
  ]);
  for (const { memoryBytes } of stages) expect(memoryBytes).toBeGreaterThan(1e8);
  const { stdout, exitCode } = await cli(argv);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^stage +objective +loops +layers .*memory\n/);
  expect(stdout).toMatch(/\nlong +stage-1, beta 0\.1 +2 +2 +6 +192 +32 /);
  expect(stdout).toMatch(/\nIn all 11 train steps of 448 tokens/);
});

test('--plan shows the paper`s stages, for both sizes', async () => {
  const argv = ['train', '--recipe', 'ouro', '--plan'];
  const [small, large] = await Promise.all([
    cliJson<Plan>(argv),
    cliJson<Plan>([...argv, '--variant', '2.6b']),
  ]);
  expect(small.stages.map(({ numHiddenLayers }) => numHiddenLayers)).toEqual(
    new Array<number>(7).fill(24),
  );
  expect(large.stages.map(({ numHiddenLayers }) => numHiddenLayers)).toEqual([
    24, 48, 48, 48, 48, 48, 48,
  ]);
  expect(small.stages[0]).toMatchObject({ numLoops: [8], updateTokens: [2 ** 22, 2 ** 23] });
  const { stdout } = await cli(argv);
  expect(stdout).toMatch(/\n1a pre-training, 8 loops +stage-1, beta 0\.1 +8 +24 .* 3\.00 T +4096 /);
});

test('the example of stages is a run', async () => {
  const argv = ['train', '--config', repositoryPath('examples/train-stages.json'), '--plan'];
  const { stages } = await cliJson<Plan>(argv);
  expect(stages.map(({ numLoops, numHiddenLayers }) => [numLoops, numHiddenLayers])).toEqual([
    [[6], 2],
    [[4], 4],
    [[4], 4],
    [[4], 4],
  ]);
});

test('--plan shows the stages of the bundled model, and needs no folder for it', async () => {
  const argv = ['train', '--recipe', 'bundled', '--train-steps', '300', '--plan'];
  const { stages } = await cliJson<Plan>(argv);
  const tokens = (trainSteps: number) => trainSteps * 12 * 160;
  expect(stages).toMatchObject([
    { trainSteps: 178, tokens: tokens(178), numLoops: [4] },
    { trainSteps: 96, tokens: tokens(96), numLoops: [4] },
    { trainSteps: 26, tokens: tokens(26), numLoops: [4] },
  ]);
});

test('keepStages keeps of each stage what a run comes to that ends with it, though it was stopped', async () => {
  const train = (settings: object, out: string, interrupts?: 'at progress') =>
    cli(['train', '--config', fileOf(settings), '--threads', '1', '--out', at(out)], {
      ...(interrupts && { interrupts }),
    });
  const run = { ...RUN, model: { ...RUN.model, max_position_embeddings: 32 } };
  const kept = { ...run, keepStages: true };
  expect((await train(kept, 'kept', 'at progress')).exitCode).toBe(130);
  expect((await train(kept, 'kept')).exitCode).toBe(0);
  const stages = ['1-wide', '2-long'];
  expect(readdirSync(at('kept', 'stages'))).toEqual(stages);
  for (const [index, name] of stages.entries()) {
    const ending = { ...run, stages: RUN.stages.slice(0, index + 1) };
    expect((await train(ending, name)).exitCode).toBe(0);
    for (const file of ['model.safetensors', 'config.json', 'tokenizer.json']) {
      const own = readFileSync(at('kept', 'stages', name, file));
      expect(own.equals(readFileSync(at(name, file))), `${name}/${file}`).toBe(true);
    }
  }
});

test.each([
  [['--recipe', 'ouro', '--out', 'x'], /recipe ouro holds the stages of the paper.*--plan/],
  [['--recipe', 'ouro', '--plan', '--variant', 'twin'], /--variant is twin.*1\.4b, 2\.6b/],
  [['--recipe', 'bundled', '--out', 'x', '--variant', '2.6b'], /--variant is 2\.6b.*looped, twin/],
  [
    ['--recipe', 'bundled', '--out', 'x', '--join', 'nats://localhost/x'],
    /lessons of the recipe bundled follow.*--like/,
  ],
  [['--plan'], /It is not said what to train on/],
])('%j is refused', async (flags, says) => {
  const { exitCode, stderr } = await cli(['train', ...flags]);
  expect(stderr).toMatch(says);
  expect(exitCode).toBe(2);
});

test('all that is wrong with stages is told at once, with their names', async () => {
  const settings = {
    ...RUN,
    stages: [
      { name: 'one', trainSteps: 3, schedule: { kind: 'constant', warmupTrainSteps: 9 } },
      { name: 'two', trained: ['model.heads'], optimizerState: 'kept' },
    ],
  };
  const argv = ['train', '--out', at('x'), '--config'];
  const together = await cli([...argv, fileOf(settings)]);
  expect(together.stderr).toMatch(/has 3 faults/);
  expect(together.stderr).toMatch(/stages\.0 \(one\): schedule: warm-up and decay take 9/);
  expect(together.stderr).toMatch(/stages\.1 \(two\): trained names "model\.heads"/);
  const mixture = { web: 3, code: 1 };
  const mixed = await cli([...argv, fileOf({ ...RUN, stages: [{}, { mixture }] })]);
  expect(mixed.stderr).toMatch(/stages\.1\.mixture weighs data sources, and the data are one/);
  const keys = {
    ...RUN,
    stages: [
      { tokens: 5, trainSteps: 5 },
      { loops: 0, lops: 3 },
    ],
  };
  const { stderr } = await cli([...argv, fileOf(keys)]);
  expect(stderr).toMatch(/it must be a stage with trainSteps or tokens, not both/);
  expect(stderr).toMatch(/stages\.1\.loops is 0; it must be a whole number from 1 to 64/);
  expect(stderr).toMatch(/Field "lops" of stages\.1 is not known/);
});

test('a run of stages ends in the model of the last one, with all it names in its metrics', async () => {
  const out = at('run');
  const argv = ['train', '--config', fileOf(RUN), '--out', out, '--threads', '1'];
  const { exitCode, stdout, stderr } = await cli(argv);
  expect(stderr).toMatch(/train step 11 of 11: gate, loss/);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^Trained 11 train steps\. Loss on held-out data by depth: \S+ \S+\./);
  const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as object;
  expect(config).toMatchObject({
    num_hidden_layers: 2,
    total_ut_steps: 2,
    rope_theta: 20_000,
    max_position_embeddings: 32,
  });
  const metrics = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const stages = metrics.flatMap((line) => (JSON.parse(line) as { stage?: string }).stage ?? []);
  expect(new Set(stages)).toEqual(new Set(['wide', 'long', 'gate']));
  const again = await cli([
    'generate',
    '--model',
    out,
    '--prompt',
    'Some',
    '--max-new-tokens',
    '4',
  ]);
  expect(again.exitCode).toBe(0);
});
