/** What `looplm train --join` refuses before anything is trained. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { cli, temporaryFolder } from '../cli/support.js';
import { freePort } from '../programs.js';

const folder = temporaryFolder();
writeFileSync(join(folder, 'data.txt'), 'Some text to train on. '.repeat(40));

let numRuns = 0;
const train = (settings: object, ...words: readonly string[]) => {
  const path = join(folder, `run-${numRuns++}.json`);
  const model = { hidden_size: 8, num_hidden_layers: 1, total_ut_steps: 2 };
  writeFileSync(path, JSON.stringify({ data: { path: 'data.txt' }, model, ...settings }));
  return cli(['train', '--config', path, '--out', join(folder, 'out'), ...words]);
};
const refusal = async (running: ReturnType<typeof train>): Promise<string> => {
  const { exitCode, stderr } = await running;
  expect(exitCode).toBe(2);
  return stderr;
};

test('settings of several machines without a run to join', async () => {
  expect(await refusal(train({ outer: {} }))).toMatch(
    /^error: outer says .* Join a run with --join/,
  );
});

test('a run to join without settings of several machines', async () => {
  const message = await refusal(train({}, '--join', 'nats://127.0.0.1/run'));
  expect(message).toMatch(/lacks "outer".* Add "outer": {} for the defaults\.\n$/);
});

test('an address that is none, with what one looks like', async () => {
  const message = await refusal(train({ outer: {} }, '--join', '127.0.0.1'));
  expect(message).toMatch(/^error: The address "127.0.0.1" is not one of a run\..*nats:\/\//);
});

test('a server that is not there, and the folder can be used again', async () => {
  const address = `nats://127.0.0.1:${await freePort()}/run`;
  for (const _ of [1, 2]) {
    const message = await refusal(train({ outer: {} }, '--join', address));
    expect(message).toMatch(/^error: Cannot connect to the NATS server 127\.0\.0\.1:\d+: .*\n$/);
  }
  expect(existsSync(join(folder, 'out', 'run.lock'))).toBe(false);
});

test('settings that are out of range, with what is allowed', async () => {
  const outer = { everyTrainSteps: 0, momentum: 1, deltas: 'int4', every: 3 };
  const message = await refusal(train({ outer }, '--join', 'nats://127.0.0.1/run'));
  expect(message).toMatch(/outer\.everyTrainSteps is 0; it must be a whole number from 1/);
  expect(message).toMatch(/outer\.momentum is 1; it must be a number from 0 to below 1/);
  expect(message).toMatch(/outer\.deltas is "int4"; it must be one of f32, int8/);
  expect(message).toMatch(/every/);
});

test('shards whose weights change within a stage', async () => {
  mkdirSync(join(folder, 'tokenizer'));
  for (const [name, text] of Object.entries(syntheticTokenizerFiles(300))) {
    writeFileSync(join(folder, 'tokenizer', name), text);
  }
  const words = ['--tokenizer', join(folder, 'tokenizer'), '--out', join(folder, 'shards')];
  await cli(['tokenize', join(folder, 'data.txt'), '--workers', '1', ...words]);
  const data = { shards: [{ path: 'shards', finalWeight: 0.5 }], path: undefined };
  const message = await refusal(train({ data, outer: {} }, '--join', 'nats://127.0.0.1/run'));
  expect(message).toMatch(/finalWeight of shards is 0\.5.* Give stages with a mixture each\./);
});
