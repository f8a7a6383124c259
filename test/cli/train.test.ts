/** `looplm train`: what a run leaves behind, and that stopping it changes nothing. */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TINY, cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const model = {
  ...(JSON.parse(readFileSync(join(TINY, 'config.json'), 'utf8')) as object),
  hidden_size: 16,
  head_dim: 8,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  intermediate_size: 24,
  num_hidden_layers: 1,
  layer_types: null,
  vocab_size: 12,
};
const lines = Array.from({ length: 6 }, (_, first) =>
  JSON.stringify({ ids: [first, first + 1, first + 2], targets: [-100, first + 2, first + 3] }),
);
writeFileSync(join(folder, 'data.jsonl'), lines.join('\n'));
const config = join(folder, 'train.json');
writeFileSync(
  config,
  JSON.stringify({
    model,
    data: { path: 'data.jsonl', rows: 2, length: 8 },
    objective: { kind: 'stage-1', beta: 0.05 },
    learningRate: 0.01,
    schedule: { kind: 'cosine', warmupTrainSteps: 2, finalFraction: 0.1 },
    trainSteps: 12,
    logEvery: 2,
    snapshotEvery: 5,
    validation: { fraction: 0 },
  }),
);
const train = (out: string) => ['train', '--config', config, '--out', out, '--threads', '1'];
const bytesOf = (out: string) => readFileSync(join(out, 'model.safetensors'));

test('a run that Ctrl-C stopped goes on and ends in the same bytes as one that was not', async () => {
  const [whole, stopped] = [join(folder, 'whole'), join(folder, 'stopped')];
  const done = await cli(train(whole));
  expect(done.exitCode).toBe(0);
  expect(done.stderr).toContain('train step 12 of 12: loss ');

  const first = await cli(train(stopped), { interrupts: 'at progress' });
  expect(first.exitCode).toBe(130);
  expect(first.stdout).toMatch(/^Stopped after \d+ of 12 train steps/);
  expect(readdirSync(stopped)).not.toContain('model.safetensors');

  const second = await cliJson<{ finished: boolean }>(train(stopped));
  expect(second.finished).toBe(true);
  expect(bytesOf(stopped).equals(bytesOf(whole))).toBe(true);
});

test('a run leaves config, metrics, curves, snapshot and a model that loads', async () => {
  const out = join(folder, 'files');
  await cli(train(out));
  expect(readdirSync(out).toSorted()).toEqual([
    'config.json',
    'loss.svg',
    'metrics.jsonl',
    'model.safetensors',
    'snapshot.safetensors',
    'train-config.json',
  ]);
  expect(readFileSync(join(out, 'loss.svg'), 'utf8')).toMatch(/^<svg[\s\S]*<\/svg>\s*$/);
  const { exitCode } = await cli(['generate', '--model', out, '--ids', '1,2', '--json']);
  expect(exitCode).toBe(0);
  const evaluation = await cliJson<{ groups: { labels: number; accuracyByDepth: number[] }[] }>([
    'eval',
    '--model',
    out,
    '--data',
    join(folder, 'data.jsonl'),
  ]);
  expect(evaluation.groups).toHaveLength(1);
  expect(evaluation.groups[0]).toMatchObject({ labels: 12 });
  expect(evaluation.groups[0]!.accuracyByDepth).toHaveLength(4);
});

test('another config does not touch the run of a folder', async () => {
  const out = join(folder, 'kept');
  await cli(train(out));
  const before = readFileSync(join(out, 'train-config.json'), 'utf8');
  const other = join(folder, 'other.json');
  writeFileSync(other, readFileSync(config, 'utf8').replace('0.01', '0.02'));
  const { exitCode, stderr } = await cli(['train', '--config', other, '--out', out]);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/other settings: learningRate was 0\.01 and is 0\.02\. /);
  expect(readFileSync(join(out, 'train-config.json'), 'utf8')).toBe(before);
});

test('the recipe of the bundled model starts', async () => {
  const out = join(folder, 'bundled');
  const argv = ['train', '--recipe', 'bundled', '--train-steps', '1000', '--out', out];
  const { exitCode } = await cli(argv, { interrupts: 'at once' });
  expect(exitCode).toBe(130);
  const saved = JSON.parse(readFileSync(join(out, 'train-config.json'), 'utf8')) as object;
  expect(saved).toMatchObject({ trainSteps: 1000, objective: { kind: 'stage-1', beta: 0.1 } });
});

describe('a text', () => {
  const words = ['loops', 'of', 'layers', 'think', 'about', 'tokens', 'until', 'they', 'exit'];
  const text = join(folder, 'notes.txt');
  writeFileSync(
    text,
    Array.from({ length: 1500 }, (_, i) => words[(i * i + (i >> 3)) % words.length]).join(' '),
  );

  test('is all that is needed: the folder that comes out generates and tells its validation', async () => {
    const out = join(folder, 'text');
    const argv = ['train', '--text', text, '--train-steps', '2', '--out', out];
    const summary = await cliJson<{ validation: { trainStep: number; lossByDepth: number[] } }>(
      argv,
    );
    expect(summary).toMatchObject({ finished: true, trainSteps: 2, validation: { trainStep: 2 } });
    // Two updates teach some letters: between drawing them by frequency and drawing any of 259 tokens.
    expect(summary.validation.lossByDepth).toHaveLength(4);
    for (const loss of summary.validation.lossByDepth) {
      expect(loss).toBeGreaterThan(2);
      expect(loss).toBeLessThan(Math.log(259) + 1);
    }
    const metrics = readFileSync(join(out, 'metrics.jsonl'), 'utf8');
    expect(metrics).toContain('"evaluation":{"validationLossByDepth":[');
    const prompt = ['--prompt', 'loops of ', '--max-new-tokens', '3'];
    const { exitCode, stdout } = await cli(['generate', '--model', out, ...prompt, '--json']);
    expect(exitCode).toBe(0);
    expect((JSON.parse(stdout) as { tokenIds: number[] }).tokenIds).toHaveLength(3);
  });

  test('takes another tokenizer, and its folder is named after it by default', async () => {
    const here = process.cwd();
    process.chdir(folder);
    try {
      const tokenizer = repositoryPath('models/bundled');
      const argv = ['train', '--text', text, '--tokenizer', tokenizer, '--train-steps', '1'];
      const { exitCode, stdout } = await cli(argv);
      expect(exitCode).toBe(0);
      expect(stdout).toContain(`The model is in ${join('runs', 'notes')}: try looplm generate`);
      const vocabularyOf = (path: string) => {
        const { vocab_size, eos_token_id } = JSON.parse(
          readFileSync(join(path, 'config.json'), 'utf8'),
        ) as Record<string, unknown>;
        return { vocab_size, ends: [eos_token_id].flat()[0] };
      };
      expect(vocabularyOf(join('runs', 'notes'))).toEqual(vocabularyOf(tokenizer));
    } finally {
      process.chdir(here);
    }
  });

  test.each<[string, string[], RegExp]>([
    [
      'with a recipe',
      ['--recipe', 'bundled', '--out', 'x'],
      /--text and --recipe are given together/,
    ],
    ['into no folder', ['--out', ''], /No folder is given for the run; give --out FOLDER/],
    [
      'with a variant',
      ['--variant', 'twin'],
      /--variant belongs to --recipe; with --text, leave it out/,
    ],
  ])('%s is refused', async (_, flags, message) => {
    const { exitCode, stderr } = await cli(['train', '--text', text, ...flags]);
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(2);
  });

  test('that is empty is told', async () => {
    const empty = join(folder, 'empty.txt');
    writeFileSync(empty, '');
    const { exitCode, stderr } = await cli(['train', '--text', empty, '--out', join(folder, 'e')]);
    expect(stderr).toMatch(/empty\.txt holds nothing to train on: it is empty\. Give more text/);
    expect(exitCode).toBe(2);
  });
});

describe('a folder that is not of a run', () => {
  test.each(['model.safetensors', 'config.json', 'metrics.jsonl'])(
    'with a %s is refused, and keeps it',
    async (name) => {
      const out = join(folder, `foreign-${name}`);
      mkdirSync(out);
      writeFileSync(join(out, name), 'mine');
      const { exitCode, stderr } = await cli(train(out));
      expect(stderr).toMatch(/and no snapshot of a run to go on with\. Name another folder/);
      expect(exitCode).toBe(2);
      expect(readdirSync(out)).toEqual([name]);
      expect(readFileSync(join(out, name), 'utf8')).toBe('mine');
    },
  );

  test('with other files is taken, and they stay', async () => {
    const out = join(folder, 'with-notes');
    mkdirSync(out);
    writeFileSync(join(out, 'notes.md'), 'mine');
    expect((await cli(train(out))).exitCode).toBe(0);
    expect(readFileSync(join(out, 'notes.md'), 'utf8')).toBe('mine');
  });
});
