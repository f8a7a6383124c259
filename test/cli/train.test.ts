/** `looplm train`: what a run leaves behind, and that stopping it changes nothing. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TINY, cli, cliJson, temporaryFolder } from './support.js';

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
  expect(stderr).toMatch(/another learningRate/);
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
