/** Checkpoints of every architecture at the command line: random, inspect, generate, trace, convert. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../src/util/safetensors.js';
import { memorySource } from '../../src/util/folder.js';
import { TINY, cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();

const NANBEIGE = {
  architectures: ['NanbeigeForCausalLM'],
  model_type: 'nanbeige',
  vocab_size: 300,
  hidden_size: 48,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 16,
  hidden_act: 'silu',
  max_position_embeddings: 128,
  rope_theta: 7e7,
  rms_norm_eps: 1e-5,
  num_loops: 3,
  tie_word_embeddings: false,
  initializer_range: 0.2,
  eos_token_id: [2],
};

interface Rollout {
  readonly tokenIds: number[];
  readonly exitDepths: number[];
  readonly exitPolicy: string;
  readonly gateLogits?: number[][];
}
interface Inspected {
  readonly config: { readonly architecture: string; readonly numLoops: number };
  readonly notes: string[];
  readonly cost: {
    readonly parameters: { readonly exitGate: number };
    readonly numTensors: number;
  };
}

/** A copy of a model with config.json changed; `undefined` removes a key. */
function withConfig(name: string, model: string, edits: Record<string, unknown>): string {
  const path = join(folder, name);
  cpSync(model, path, { recursive: true });
  const file = join(path, 'config.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...json, ...edits }));
  return path;
}

describe('a model without an exit gate', () => {
  const model = join(folder, 'nanbeige');
  const shape = join(folder, 'shape.json');
  const generate = (...flags: string[]) =>
    ['generate', '--model', model, '--prompt', 'Hello', '--max-new-tokens', '4'].concat(flags);

  beforeAll(async () => {
    writeFileSync(shape, JSON.stringify({ ...NANBEIGE, skip_loop_final_norm: true }));
    const made = await cli(['random', model, '--shape', shape, '--seed', '4']);
    expect(made.exitCode, made.stderr).toBe(0);
  });

  it('inspect says what it is, and nothing of a gate', async () => {
    const { stdout } = await cli(['inspect', '--model', model]);
    expect(stdout).toContain('nanbeige, 2 layers, up to 3 loops, no exit gate');
    expect(stdout).toContain('6 heads of 16, 2 key-value heads');
    expect(stdout).toContain('final norm before the readout only');
    expect(stdout).not.toMatch(/exit gate {2}|exit threshold|early_exit|layernorm_2/);
    const { config, cost, notes } = await cliJson<Inspected>(['inspect', '--model', model]);
    expect(config).toMatchObject({ architecture: 'nanbeige', numLoops: 3 });
    expect(cost).toMatchObject({ parameters: { exitGate: 0 }, numTensors: 3 + 2 * 9 });
    expect(notes).toEqual([]);
  });

  it('generate runs at full depth by default, and exits early by what needs no gate', async () => {
    const full = await cliJson<Rollout>(generate('--ignore-eos'));
    expect(full).toMatchObject({ exitPolicy: 'full', exitDepths: [3, 3, 3, 3] });
    expect(full).not.toHaveProperty('gateLogits');
    const early = await cliJson<Rollout>(generate('--exit-policy', 'fixed:2', '--ignore-eos'));
    expect(early.exitDepths).toEqual([2, 2, 2, 2]);
  });

  it.each(['cdf:0.5', 'sampled'])('generate refuses %s in one line', async (policy) => {
    const { exitCode, stderr } = await cli(generate('--exit-policy', policy));
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error: .*reads the exit gate.*nanbeige.*use full, fixed:N.*\n$/);
  });

  it('trace writes what there is, and shows how sure the model is after each loop', async () => {
    const out = join(folder, 'trace.safetensors');
    const { stdout } = await cli(['trace', '--model', model, '--prompt', 'Hi', '--out', out]);
    expect(stdout).toMatch(/^Probability of the most likely next token after each loop/);
    const { entries } = await openSafetensors(memorySource(out, new Uint8Array(readFileSync(out))));
    expect([...entries.keys()].toSorted()).toEqual(['exit_cdf', 'exit_pdf', 'hidden', 'logits']);
    expect(entries.get('logits')!.shape).toEqual([3, 2, 300]);
  });

  it('convert makes a model that runs', async () => {
    const converted = join(folder, 'nanbeige-q4');
    const done = await cli(['convert', model, '--dtype', 'q4', '--out', converted]);
    expect(done.exitCode, done.stderr).toBe(0);
    const flags = ['--max-new-tokens', '3', '--exit-policy', 'delta:1.5', '--ignore-eos'];
    const run = await cliJson<Rollout>(
      ['generate', '--model', converted, '--prompt', 'Hello'].concat(flags),
    );
    expect(run.tokenIds).toHaveLength(3);
    const { stdout } = await cli(['inspect', '--model', converted]);
    expect(stdout).toMatch(/no exit gate[\s\S]*norms finite, the rest not read/);
  });
});

describe('a released shape', () => {
  it('is known by its name', async () => {
    const { stderr } = await cli(['random', join(folder, 'x'), '--shape', 'constructor']);
    expect(stderr).toMatch(/must be one of ouro-1\.4b, ouro-2\.6b, nanbeige-4\.2-3b, or the path/);
  });
});

describe('a model saved again by other programs', () => {
  const generate = (model: string, ...flags: string[]) =>
    ['generate', '--model', model, '--ids', '5,9', '--max-new-tokens', '3', '--ignore-eos'].concat(
      flags,
    );

  it('exits at the depth of early_exit_step by default, at no more loops than there are', async () => {
    const model = withConfig('step', TINY, { early_exit_step: 2, early_exit_threshold: 0.1 });
    const run = await cliJson<Rollout>(generate(model));
    expect(run).toMatchObject({ exitPolicy: 'fixed:3', exitDepths: [3, 3, 3] });
    const short = await cliJson<Rollout>(generate(model, '--num-loops', '2'));
    expect(short.exitDepths).toEqual([2, 2, 2]);
    const asked = await cliJson<Rollout>(generate(model, '--exit-policy', 'fixed:1'));
    expect(asked.exitDepths).toEqual([1, 1, 1]);
    expect((await cli(['inspect', '--model', model])).stdout).toContain('exit at depth 3');
  });

  it('says that a dropout has no effect, and gives the same tokens', async () => {
    const model = withConfig('dropout', TINY, { attention_dropout: 0.1 });
    const { stderr } = await cli(generate(model));
    expect(stderr).toMatch(/^note: attention_dropout is 0\.1: it concerns training/m);
    const [run, plain] = [
      await cliJson<Rollout>(generate(model)),
      await cliJson<Rollout>(generate(TINY)),
    ];
    expect(run.tokenIds).toEqual(plain.tokenIds);
  });

  it('says which head is used where a tied model holds another, also once it is converted', async () => {
    const model = withConfig('tied', TINY, { tie_word_embeddings: true });
    const note = /note: config\.json ties the head.*the embedding is used/;
    expect((await cli(generate(model))).stderr).toMatch(note);
    const converted = join(folder, 'tied-q8');
    await cli(['convert', model, '--dtype', 'q8', '--out', converted]);
    expect((await cli(generate(converted))).stderr).toMatch(note);
    expect((await cli(['inspect', '--model', converted])).stdout).toMatch(note);
  });

  it('names all faults of its config at once', async () => {
    const edits = { rms_norm_eps: 1e308, rope_theta: 0, eos_token_id: 1e6, head_dim: 7 };
    const model = withConfig('faults', TINY, edits);
    const { exitCode, stderr } = await cli(generate(model));
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error: config\.json has 4 faults\. .*\n$/);
    for (const told of ['rms_norm_eps is 1e+308', 'rope_theta is 0', 'eos_token_id is 1000000']) {
      expect(stderr).toContain(told);
    }
  });

  it('a generation_config that ends at an id outside the vocabulary is told', async () => {
    const model = withConfig('ends', TINY, {});
    writeFileSync(join(model, 'generation_config.json'), JSON.stringify({ eos_token_id: 999 }));
    expect((await cli(generate(model))).stderr).toMatch(
      /note: generation_config\.json names 999 as eos_token_id; ids go from 0 to 255/,
    );
  });
});

it('the bundled model has nothing to note', async () => {
  const { notes } = await cliJson<Inspected>([
    'inspect',
    '--model',
    repositoryPath('models/bundled'),
  ]);
  expect(notes).toEqual([]);
});
