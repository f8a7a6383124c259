/** `looplm generate`, `trace`, `inspect` and `chat` say what the library computes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { RolloutRecord } from '../../src/engine/index.js';
import { openFile } from '../../src/platform/node/files/index.js';
import { openSafetensors } from '../../src/runtime/index.js';
import type { Golden } from '../parity/fixtures.js';
import { TOLERANCE, expectClose } from '../parity/fixtures.js';
import { PLAIN_TOKENIZER_FILES } from '../bundled-copy.js';
import { TINY, cli, cliJson, copyOfBundled, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const golden = JSON.parse(readFileSync(join(TINY, 'golden.json'), 'utf8')) as Golden;
const BUNDLED = repositoryPath('models/bundled');

type Printed = RolloutRecord & {
  readonly text: string;
  readonly executedLoops: number;
  readonly fullDepthLoops: number;
};

const FLAGS = {
  full: ['--exit-policy', 'full'],
  exact: [],
  'last-exited': ['--kv-policy', 'last-exited'],
  shared: ['--kv-policy', 'shared'],
};

test.each(['full', 'exact', 'last-exited', 'shared'] as const)(
  'generate --json prints the golden run of mode %s',
  async (mode) => {
    const { prompt, new_tokens, runs } = golden.generate;
    const expected = runs.find((run) => run.mode === mode && (run.q ?? 1) !== 0.3)!;
    const policy = expected.q === null ? [] : ['--exit-policy', `cdf:${expected.q}`];
    const ids = ['--ids', prompt.join(','), '--max-new-tokens', String(new_tokens)];
    const printed = await cliJson<Printed>(
      ['generate', '--model', TINY, '--ignore-eos'].concat(ids, policy, FLAGS[mode]),
    );
    expect(printed.tokenIds).toEqual(expected.tokens);
    expect(printed.exitDepths).toEqual(expected.exit_steps);
    expectClose(printed.logprobs, expected.token_logprob, TOLERANCE.rollout, 'logprobs');
    printed.gateLogits!.forEach((gates, n) => {
      const same = expected.gate_logits[n]!.slice(0, gates.length);
      expectClose(gates, same, TOLERANCE.rollout, `gateLogits of token ${n}`);
      expect(printed.loopLogprobs[n]).toHaveLength(gates.length);
    });
    expect(printed.text).toBe('');
    expect(printed.executedLoops).toBeLessThanOrEqual(printed.fullDepthLoops);
  },
);

test('without a tokenizer the ids are shown, and the closing line says what was saved', async () => {
  const argv = ['generate', '--model', TINY, '--ids', '5,9,2', '--max-new-tokens', '3'];
  const { exitCode, stdout, stderr } = await cli([...argv, '--exit-policy', 'fixed:2']);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^\d+ \d+ \d+\n$/);
  expect(stderr).toMatch(/^note: the model folder has no tokenizer\.json/);
  // Three prompt tokens and two decoded ones run two loops each.
  expect(stderr).toMatch(
    /\n3 tokens, mean depth 2\.00 of 4, 50 % of loops saved \(10 of 20 run, prompt included\), .* tokens\/s\n$/,
  );
});

test('colour is for terminals, and NO_COLOR turns it off', async () => {
  const argv = [
    'generate',
    '--model',
    BUNDLED,
    '--prompt',
    'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?',
  ];
  const coloured = await cli(argv, { isTerminal: true });
  const plain = await cli(argv, { isTerminal: true, env: { NO_COLOR: '1' } });
  expect(coloured.stdout).toContain('\u001b[38;5;');
  expect(stripVTControlCharacters(coloured.stdout)).toBe(plain.stdout);
  expect(plain.stdout).toBe(`${argv.at(-1)} It's under cup 2.\n`);
  const piped = await cli(argv);
  expect(piped.stdout).toBe(" It's under cup 2.\n");
});

test('trace writes the golden forward pass', async () => {
  const out = join(folder, 'deep', 'trace.safetensors');
  const ids = golden.forward.ids[0]!;
  const argv = ['trace', '--model', TINY, '--ids', ids.join(','), '--out', out];
  const printed = await cliJson<{ exitPdf: number[][] }>(argv);
  const source = await openFile(out);
  const written = await openSafetensors(source);
  const goldenSource = await openFile(join(TINY, 'golden.safetensors'));
  const goldens = await openSafetensors(goldenSource);
  const shapes = Object.fromEntries(
    [...written.entries.values()].map(({ name, shape }) => [name, shape]),
  );
  const [R, T] = [4, ids.length];
  expect(shapes).toEqual({
    hidden: [R, T, 64],
    gate_logits: [R, T],
    exit_pdf: [R, T],
    exit_cdf: [R, T],
    logits: [R, T, 256],
  });
  const pdf = await written.readFloat32('exit_pdf');
  const goldenShape = goldens.entries.get('forward.pdf')!.shape; // [R, rows, T]
  const all = await goldens.readFloat32('forward.pdf');
  const rowSize = goldenShape[2]!;
  const firstRow = Array.from({ length: R }, (_, loopIndex) =>
    all.slice(loopIndex * goldenShape[1]! * rowSize, loopIndex * goldenShape[1]! * rowSize + T),
  );
  expectClose(
    pdf,
    firstRow.flatMap((values) => [...values]),
    TOLERANCE.probability,
    'exit_pdf',
  );
  expect(printed.exitPdf).toHaveLength(T);
  await source.close();
  await goldenSource.close();
});

test('inspect counts what the golden model has', async () => {
  const found = await cliJson<{
    cost: { parameters: { total: number } };
    tensors: unknown[];
    ignoredKeys: string[];
  }>(['inspect', '--model', TINY]);
  expect(found.cost.parameters.total).toBe(golden.parameters);
  expect(found.tensors).toHaveLength(27);
  expect(found.ignoredKeys).toEqual([]);
  const { stdout } = await cli(['inspect', '--model', TINY]);
  expect(stdout).toContain('model.layers.0-1.mlp.down_proj.weight');
});

test('chat takes a problem a line where a model has no chat template, and says so', async () => {
  const lines = [
    'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?',
    '',
    'Start with 4. Add 3. What is the result?',
    '/exit',
    'The ball is under cup 1. Swap cups 1 and 2. Where is the ball?',
  ];
  const model = copyOfBundled(join(folder, 'plain'), PLAIN_TOKENIZER_FILES);
  const input = `${lines.join('\n')}\n`;
  const { exitCode, stdout, stderr } = await cli(['chat', '--model', model], { input });
  expect(exitCode).toBe(0);
  expect(stderr).toContain('no chat template');
  expect(stdout).toBe(" It's under cup 2.\n It's 7.\n");
});

test('every command has help with an example', async () => {
  const names = ['generate', 'chat', 'inspect', 'trace', 'train', 'eval', 'demo'];
  for (const name of names) {
    const { exitCode, stdout } = await cli([name, '--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`Usage: looplm ${name}`);
    expect(stdout).toMatch(new RegExp(`Examples:\n  looplm ${name}`));
    expect(stdout).toContain('--json');
  }
});

test('demo answers an easy and a hard question of each kind and reads without colour', async () => {
  const { exitCode, stdout } = await cli(['demo', '--model', BUNDLED]);
  expect(exitCode).toBe(0);
  const answers = stdout.split('\n').filter((line) => line.includes(' of 4  '));
  expect(answers).toHaveLength(15);
  for (const line of answers) {
    expect(line).toMatch(/^ {4}█+·* \d of 4 {2}\S.* {2}(right|not right: .+)$/);
  }
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(120);
  expect(stdout.trimEnd().split('\n').slice(-2).join('\n')).toMatch(/looplm chat\n.*looplm/);
});
