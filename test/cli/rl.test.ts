/** `looplm rl`: what a run leaves behind, that stopping it changes nothing, and mistakes in its files. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PLAIN_TOKENIZER_FILES } from '../bundled-copy.js';
import { freePort } from '../programs.js';
import { cli, cliJson, copyOfBundled, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const task = join(folder, 'task.mjs');
writeFileSync(
  task,
  `export default {
    name: 'seven',
    draw: (rng, difficulty) => ({ prompt: 'What is ' + (Math.abs(rng.next()) % 9) + ' plus 1?' }),
    reward: ({ text }) => (text === " It's 7" ? 1 : 0),
  };\n`,
);
const settings = {
  from: repositoryPath('models/bundled'),
  task: 'task.mjs',
  rows: 4,
  length: 16,
  groups: 3,
  groupSize: 4,
  maxNewTokens: 2,
  policy: { credit: { kind: 'depth-action' } },
  evaluation: { problems: 4, everyTrainSteps: 3 },
  training: { learningRate: 0.001, trainSteps: 6, snapshotEvery: 2 },
};

/** A file of these settings. */
function fileOf(name: string, changes: object = {}): string {
  const path = join(folder, `${name}.json`);
  writeFileSync(path, JSON.stringify({ ...settings, ...changes }));
  return path;
}
const rl = (config: string, out: string) => [
  'rl',
  '--config',
  config,
  '--out',
  out,
  '--threads',
  '1',
];

test('a run shows rewards and depths, leaves a model and its curves, and may be stopped', async () => {
  const config = fileOf('run');
  const [whole, stopped] = [join(folder, 'whole'), join(folder, 'stopped')];
  const done = await cli(rl(config, whole));
  expect(done.exitCode, done.stderr).toBe(0);
  expect(done.stderr).toMatch(/train step 6 of 6: reward [\d.]+, depth [\d.]+, difficulty 1\.0/);
  expect(done.stderr).toMatch(/replay within \de-\d/);
  expect(done.stderr).toMatch(
    /after train step 3: greedy reward [\d.]+ at depth [\d.]+, \d+ % of the loops run/,
  );
  expect(readdirSync(whole)).toEqual(
    expect.arrayContaining(['model.safetensors', 'metrics.jsonl', 'reward.svg', 'tokenizer.json']),
  );
  expect(readFileSync(join(whole, 'reward.svg'), 'utf8')).toContain('mean exit depth');

  const first = await cli(rl(config, stopped), { interrupts: 'at progress' });
  expect(first.exitCode).toBe(130);
  const second = await cliJson<{ finished: boolean }>(rl(config, stopped));
  expect(second.finished).toBe(true);
  const bytesOf = (out: string) => readFileSync(join(out, 'model.safetensors'));
  expect(bytesOf(stopped).equals(bytesOf(whole))).toBe(true);

  const other = await cli(rl(fileOf('other', { groupSize: 5 }), whole));
  expect(other.exitCode).toBe(2);
  expect(other.stderr).toMatch(/data\.groupSize was 4 and is 5/);
});

describe('a mistake is told', () => {
  const module = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return { task: name };
  };
  test.each([
    ['a setting', { groupSize: 1 }, /groupSize is 1; it must be a whole number from 2/],
    ['a key', { lr: 1 }, /lr/],
    ['a training key', { training: { objective: {} } }, /objective/],
    ['no task', { task: 'none.mjs' }, /none\.mjs, which is not there/],
    ['no object', module('number.mjs', 'export default 3;'), /exports 3 by default; a task is/],
    ['a broken module', module('broken.mjs', 'export default {'), /cannot be loaded/],
    ['rows', { length: 100_000 }, /length is 100000, and the model has 1024 positions/],
    ['a prompt', { length: 1 }, /prompt of the task seven has \d tokens, and rows have 1/],
    ['exits', { exitPolicy: 'cdf:0.5' }, /depth as an action needs "sampled"/],
    ['a policy', { exitPolicy: 'deep' }, /deep/],
    ['staleness', { staleness: 1 }, /nobody draws while the trainer learns.*--workers nats:/],
    [
      'a reward',
      module(
        'failing.mjs',
        `export default { name: 'x', draw: () => ({ prompt: 'What is 1 plus 1?' }), reward: () => NaN };`,
      ),
      /12 of 12 rewards of the task x are missing: it returned NaN/,
    ],
    [
      'messages without a template',
      {
        from: copyOfBundled(join(folder, 'plain'), PLAIN_TOKENIZER_FILES),
        ...module(
          'chat.mjs',
          `export default { name: 'x', draw: () => ({ prompt: [{ role: 'user', content: 'Hi' }] }), reward: () => 1 };`,
        ),
      },
      /messages, and the model has no chat template/,
    ],
  ])('%s', async (name, changes, message) => {
    const config = fileOf(name.replaceAll(' ', '-'), changes);
    const { exitCode, stderr } = await cli(rl(config, join(folder, `out-${name}`)));
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/ {4}at /);
    expect(exitCode).toBe(2);
  });

  test('of flags', async () => {
    const both = await cli(['rl', '--recipe', 'cups', '--config', fileOf('run'), '--out', folder]);
    expect(both.stderr).toContain('Give either --config FILE or --recipe NAME');
    const steps = await cli([...rl(fileOf('run'), folder), '--train-steps', '3']);
    expect(steps.stderr).toContain('--train-steps is for a recipe');
    const nowhere = await cli(['rl', '--config', fileOf('run')]);
    expect(nowhere.stderr).toContain('give --out FOLDER');
    const address = `nats://127.0.0.1:${await freePort()}/run`;
    const worker = await cli(['rl', '--join', address, '--out', folder]);
    expect(worker.stderr).toMatch(/--join and --out are given together.* Leave --out out/);
    for (const words of [
      ['--join', address],
      [...rl(fileOf('run'), folder).slice(1), '--workers', address],
    ]) {
      const { exitCode, stderr } = await cli(['rl', ...words]);
      expect(stderr).toMatch(/^error: Cannot connect to the NATS server 127\.0\.0\.1:\d+: .*\n$/);
      expect(exitCode).toBe(2);
    }
  });
});
