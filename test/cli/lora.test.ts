/**
 * Adapters at the command line: trained beside models of every format, used with --adapter, merged, read
 * by Python's PEFT, and refused where they do not belong.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import {
  initializeAdapter,
  loadAdapter,
  loadCheckpoint,
  loraModules,
  mergeAdapter,
  saveAdapter,
} from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import { cli, cliJson, repositoryPath, temporaryFolder, TINY } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const FORMATS = ['q4', 'q8', 'f16'] as const;
const SHAPE = {
  model_type: 'ouro',
  hidden_act: 'silu',
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 128,
  rope_theta: 10_000,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  initializer_range: 0.1,
  total_ut_steps: 2,
  early_exit_threshold: 1,
  vocab_size: 300,
};
const CONVERSATIONS = Array.from({ length: 16 }, (_, index) => ({
  messages: [
    { role: 'user', content: `Say ${index}` },
    { role: 'assistant', content: 'aaaa' },
  ],
}));

beforeAll(async () => {
  writeFileSync(at('shape.json'), JSON.stringify(SHAPE));
  await cli([
    'random',
    at('base'),
    '--shape',
    at('shape.json'),
    '--dtype',
    'f32',
    '--workers',
    '1',
  ]);
  for (const dtype of FORMATS) {
    await cli(['convert', at('base'), '--dtype', dtype, '--out', at(dtype), '--workers', '1']);
  }
  const lines = CONVERSATIONS.map((line) => JSON.stringify(line));
  writeFileSync(at('chat.jsonl'), lines.join('\n'));
});

const finetune = (base: string, ...flags: readonly string[]) => [
  'finetune',
  at(base),
  '--data',
  at('chat.jsonl'),
  ...'--threads 1 --held-out 0 --rows 4 --length 100 --learning-rate 0.01'.split(' '),
  ...flags,
];
const answer = async (...flags: readonly string[]) => {
  const sampling = ['--threads', '1', '--max-new-tokens', '6', '--temperature', '0'];
  const { stdout, stderr, exitCode } = await cli(['chat', ...flags, ...sampling], {
    input: 'Say 3\n',
  });
  expect(exitCode, stderr).toBe(0);
  return stdout;
};

describe.each(['base', ...FORMATS])('beside %s', (base) => {
  const out = `adapter-${base}`;
  test('an adapter is trained, says what it was shown, and so does the merged model', async () => {
    const { finished } = await cliJson<{ finished: boolean }>(
      finetune(base, '--lora', '8', '--epochs', '60', '--out', at(out)),
    );
    expect(finished).toBe(true);
    expect(readdirSync(at(out))).not.toContain('model.safetensors');
    const config = JSON.parse(readFileSync(at(out, 'adapter_config.json'), 'utf8')) as object;
    expect(config).toMatchObject({ peft_type: 'LORA', r: 8, lora_alpha: 16 });
    expect(await answer('--model', at(base), '--adapter', at(out))).toContain('aaaa');

    const merged = at(`merged-${base}`);
    const { stdout } = await cli(['merge', at(base), at(out), '--out', merged]);
    expect(stdout).toMatch(/Merged 7 matrices.*model in f32/);
    expect(await answer('--model', merged)).toContain('aaaa');
    // and it begins from something else
    expect(await answer('--model', at(base))).not.toContain('aaaa');
  }, 120_000);
});

test('Ctrl-C and the same command end in the bytes of a run that was not stopped', async () => {
  const flags = ['--lora', '2', '--epochs', '8', '--train-gate', '--out'];
  expect((await cli(finetune('q4', ...flags, at('whole')))).exitCode).toBe(0);
  const stopped = await cli(finetune('q4', ...flags, at('stopped')), { interrupts: 'at progress' });
  expect(stopped.exitCode).toBe(130);
  expect((await cli(finetune('q4', ...flags, at('stopped')))).exitCode).toBe(0);
  for (const name of ['adapter_model.safetensors', 'adapter_config.json']) {
    expect(readFileSync(at('stopped', name)).equals(readFileSync(at('whole', name))), name).toBe(
      true,
    );
  }
  const config = JSON.parse(readFileSync(at('whole', 'adapter_config.json'), 'utf8')) as object;
  expect(config).toMatchObject({ modules_to_save: ['early_exit_gate'] });
});

test('all weights of a converted model are trained from what they stand for, and a line says so', async () => {
  const { exitCode, stderr } = await cli(finetune('q8', '--epochs', '1', '--out', at('full')));
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toMatch(/converted model \(8-bit blocks of 128\).*widened to f32.*lora would/);
  const { dtype } = await loadCheckpoint(nodeFolder(at('full')));
  expect(dtype).toBe('f32');
});

describe('refused', () => {
  const refusal = async (...argv: readonly string[]) => {
    const { exitCode, stderr } = await cli(argv);
    expect(exitCode).toBe(2);
    return stderr;
  };

  test('flags of an adapter without one, and a matrix that is not there', async () => {
    expect(await refusal(...finetune('base', '--lora-alpha', '4'))).toMatch(
      /--lora-alpha is about an adapter, and --lora is not given/,
    );
    expect(
      await refusal(...finetune('base', '--lora', '4', '--target-modules', 'q_proj,wv')),
    ).toMatch(/target_modules names "wv".*q_proj/);
  });

  test('an adapter of fresh weights', async () => {
    writeFileSync(at('fresh.json'), JSON.stringify({ data: { chat: 'chat.jsonl' }, lora: {} }));
    expect(await refusal('train', '--config', at('fresh.json'), '--out', at('no'))).toMatch(
      /lora is given without from/,
    );
  });

  test('a run that goes on beside other weights', async () => {
    const flags = ['--lora', '2', '--out', at('moved')];
    await cli(finetune('q4', ...flags), { interrupts: 'at progress' });
    mkdirSync(at('elsewhere'));
    await cli(['random', at('other', 'q4'), '--shape', at('shape.json'), '--seed', '9']);
    const argv = finetune('q4', ...flags).map((word) =>
      word === at('q4') ? at('other', 'q4') : word,
    );
    expect(await refusal(...argv)).toMatch(/fromSha256 was "[0-9a-f]{16}" and is "/);
  });

  test('an adapter of another model, none at all, and a folder that is there', async () => {
    const adapter = at('adapter-base');
    expect(await refusal('generate', '--model', TINY, '--adapter', adapter, '--ids', '1')).toMatch(
      /adapter-base.*the model (needs|has no such matrix)/,
    );
    expect(await refusal('merge', at('base'), at('base'), '--out', at('no'))).toMatch(
      /base.adapter_config\.json.*does not exist/,
    );
    expect(await refusal('merge', at('base'), adapter, '--out', at('base'))).toMatch(
      /base holds something already/,
    );
  });
});

describe("Python's PEFT", () => {
  const python = repositoryPath('.cache/peft-python/bin/python');

  test('reads the same changes from an adapter that looplm wrote', async (context) => {
    if (!existsSync(python)) {
      context.skip('no .cache/peft-python: python -m venv it, and pip install peft there');
    }
    const { config } = await loadCheckpoint(nodeFolder(TINY));
    const settings = {
      r: 3,
      lora_alpha: 5,
      target_modules: ['q_proj', 'mlp.down_proj'],
      use_rslora: true,
      rank_pattern: { 'layers.1.self_attn.q_proj': 6 },
      alpha_pattern: { down_proj: 2 },
    };
    const modules = loraModules(config, settings);
    const fresh = [...initializeAdapter(modules, 3)];
    const values = (name: string, { length }: Float32Array) =>
      Float32Array.from({ length }, (_, index) => Math.sin(index + name.length) / 10);
    const gate: [string, Float32Array][] = [
      ['model.early_exit_gate.weight', Float32Array.from({ length: 64 }, (_, index) => index)],
      ['model.early_exit_gate.bias', Float32Array.of(0.5)],
    ];
    const weights: ModelWeights = new Map([
      ...fresh.map(([name, old]): [string, Float32Array] => [name, values(name, old)]),
      ...gate,
    ]);
    await saveAdapter(
      nodeFolder(at('ours')),
      { modules, weights },
      { settings, baseModel: 'tiny' },
    );
    const script = repositoryPath('test/fixtures/peft/peft_adapter.py');
    const { stdout, stderr, status } = spawnSync(python, [script, 'check', at('ours')], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    const { gate: theirGate, ...deltas } = JSON.parse(stdout) as Readonly<
      Record<string, { readonly sum: number; readonly absSum: number; readonly sinSum: number }>
    > & { readonly gate: readonly number[] };
    expect(theirGate).toEqual([...gate[0]![1], 0.5]);
    expect(Object.keys(deltas)).toHaveLength(modules.length);
    const merged = await changesOf(config, at('ours'));
    for (const [name, { sum, absSum, sinSum }] of Object.entries(deltas)) {
      const of = (value: (x: number, n: number) => number) =>
        merged.get(`${name}.weight`)!.reduce((total, x, n) => total + value(x, n + 1), 0);
      expect(Math.abs(of((x) => x) - sum), name).toBeLessThan(1e-5 * absSum);
      expect(Math.abs(of((x, n) => x * Math.sin(n)) - sinSum), name).toBeLessThan(1e-5 * absSum);
    }
  }, 120_000);
});

/** What an adapter adds to each weight of a model. */
async function changesOf(config: LoopLMConfig, path: string): Promise<ModelWeights> {
  const { weights } = await loadCheckpoint(nodeFolder(TINY));
  const zeros = new Map([...weights].map(([name, { length }]) => [name, new Float32Array(length)]));
  return mergeAdapter(config, zeros, await loadAdapter(nodeFolder(path), config));
}
