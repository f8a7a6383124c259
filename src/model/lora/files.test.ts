/** Adapters in the files of PEFT: those that PEFT wrote, those that come back, and those that are refused. */
import { readFileSync } from 'node:fs';
import { expect, describe, it } from 'vitest';
import { nodeFolder } from '../../platform/node/files/index.js';
import { memoryFolder } from '../../util/folder.js';
import { safetensorsChunks } from '../../util/safetensors.js';
import { concatBytes } from '../../util/folder.js';
import type { LoopLMConfig } from '../config.js';
import { parseModelConfig } from '../config-json.js';
import { initializeWeights } from '../params.js';
import { initializeAdapter, mergeAdapter } from './adapter.js';
import { loadAdapter, saveAdapter } from './files.js';
import type { LoraSettings } from './settings.js';
import { loraModules } from './settings.js';

const fixtures = new URL('../../../test/fixtures/', import.meta.url);
const json = (path: string) => JSON.parse(readFileSync(new URL(path, fixtures), 'utf8')) as unknown;
const MODEL: LoopLMConfig = parseModelConfig(json('tiny-mha/config.json')).config;

const SETTINGS: LoraSettings = {
  r: 2,
  lora_alpha: 3,
  target_modules: ['q_proj', 'mlp.down_proj'],
  use_rslora: true,
  rank_pattern: { 'layers.0.self_attn.q_proj': 4 },
  alpha_pattern: { 'mlp.*': 7 },
};

interface Sums {
  readonly sum: number;
  readonly absSum: number;
  readonly sinSum: number;
}

it('an adapter that PEFT wrote changes each matrix as PEFT says, by patterns and rank-stabilised', async () => {
  const adapter = await loadAdapter(nodeFolder(new URL('peft/made', fixtures).pathname), MODEL);
  const { gate, ...deltas } = json('peft/made/deltas.json') as Readonly<Record<string, Sums>> & {
    readonly gate: readonly number[];
  };
  const zeros = new Map(
    [...initializeWeights(MODEL, 0)].map(([name, { length }]) => [name, new Float32Array(length)]),
  );
  const merged = mergeAdapter(MODEL, zeros, adapter);
  const changed = [...merged].filter(([, values]) => values.some((value) => value !== 0));
  const isGate = (name: string) => name.includes('early_exit_gate');
  const names = changed
    .map(([name]) => name.replace('.weight', ''))
    .filter((name) => !isGate(name));
  expect(names.toSorted()).toEqual(Object.keys(deltas).toSorted());
  for (const [name, { sum, absSum, sinSum }] of Object.entries(deltas)) {
    const values = merged.get(`${name}.weight`)!;
    const of = (value: (x: number, n: number) => number) =>
      values.reduce((total, x, index) => total + value(x, index + 1), 0);
    const near = 1e-5 * absSum;
    expect(Math.abs(of((x) => x) - sum), name).toBeLessThan(near);
    expect(Math.abs(of(Math.abs) - absSum), name).toBeLessThan(near);
    expect(Math.abs(of((x, n) => x * Math.sin(n)) - sinSum), name).toBeLessThan(near);
  }
  const got = [
    ...merged.get('model.early_exit_gate.weight')!,
    ...merged.get('model.early_exit_gate.bias')!,
  ];
  gate.forEach((value, index) => expect(got[index]).toBeCloseTo(value, 6));
});

it('what is saved comes back to the bit', async () => {
  const files = new Map<string, Uint8Array>();
  const folder = memoryFolder('adapter', files);
  const modules = loraModules(MODEL, SETTINGS);
  const gate = new Map([
    ['model.early_exit_gate.weight', Float32Array.from({ length: 64 }, (_, index) => index)],
    ['model.early_exit_gate.bias', Float32Array.of(3)],
  ]);
  const weights = new Map([...initializeAdapter(modules, 7), ...gate]);
  await saveAdapter(folder, { modules, weights }, { settings: SETTINGS, baseModel: 'x' });
  const loaded = await loadAdapter(folder, MODEL);
  expect(loaded.modules).toEqual(modules);
  expect(loaded.weights.size).toBe(weights.size);
  for (const [name, values] of weights) expect(loaded.weights.get(name), name).toEqual(values);
  expect(modules.map(({ a, scale }) => [a.shape[0], scale])).toEqual([
    [4, 3 / 2],
    [2, 7 / Math.sqrt(2)],
    [2, 3 / Math.sqrt(2)],
    [2, 7 / Math.sqrt(2)],
  ]);
});

describe('refused by name', () => {
  const CONFIG = { peft_type: 'LORA', r: 2, lora_alpha: 2 };
  const Q = 'base_model.model.model.layers.0.self_attn.q_proj';
  const tensors = (changes: Readonly<Record<string, readonly number[] | undefined>> = {}) => {
    const shapes = { [`${Q}.lora_A.weight`]: [2, 64], [`${Q}.lora_B.weight`]: [64, 2], ...changes };
    return Object.entries(shapes).flatMap(([name, shape]) => {
      if (!shape) return [];
      const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
      return [{ name, shape, dtype: 'F32' as const, data }];
    });
  };
  const refusal = async (
    config: object,
    stored: ReturnType<typeof tensors> = tensors(),
  ): Promise<string> => {
    const files = new Map([
      ['adapter_config.json', new TextEncoder().encode(JSON.stringify({ ...CONFIG, ...config }))],
      ['adapter_model.safetensors', concatBytes(safetensorsChunks(stored))],
    ]);
    const error: unknown = await loadAdapter(memoryFolder('ADAPTER', files), MODEL).then(
      () => new Error('nothing was refused'),
      (reason: unknown) => reason,
    );
    return (error as Error).message;
  };

  it.each<[string, object, RegExp]>([
    ['DoRA', { use_dora: true }, /ADAPTER has use_dora true: DoRA/],
    ['biases', { bias: 'all' }, /bias "all": trained biases/],
    [
      'whole modules',
      { modules_to_save: ['lm_head'] },
      /modules_to_save.*other than early_exit_gate/,
    ],
    [
      'PiSSA',
      { init_lora_weights: 'pissa_niter_4' },
      /init_lora_weights "pissa_niter_4".*changes the weights/,
    ],
    ['another method', { peft_type: 'IA3' }, /type "IA3"; looplm computes LORA/],
    ['a rank that is none', { r: 'eight' }, /adapter_config\.json is wrong at "r"/],
    [
      'a rank that is not the stored one',
      { r: 3 },
      /the rank 3, and its lora_A has shape \[2, 64\]/,
    ],
    [
      'a broken pattern',
      { rank_pattern: { '(': 2 } },
      /rank_pattern has the key "\(", which is no regular/,
    ],
  ])('%s', async (_, config, message) => expect(await refusal(config)).toMatch(message));

  it.each<[string, Parameters<typeof tensors>[0], RegExp]>([
    [
      'no A',
      { [`${Q}.lora_A.weight`]: undefined },
      /lacks lora_A of model\.layers\.0\.self_attn\.q_proj/,
    ],
    [
      'another width',
      { [`${Q}.lora_A.weight`]: [2, 60] },
      /has shape \[2, 60\]; the model needs \[2, 64\]/,
    ],
    [
      'a layer too many',
      { [`${Q.replace('0', '9')}.lora_A.weight`]: [2, 64] },
      /layers\.9.*the model has no such matrix/,
    ],
    ['DoRA', { [`${Q}.lora_magnitude_vector`]: [64] }, /LoRA of matrices only/],
    [
      'the embedding',
      { 'base_model.model.model.embed_tokens.lora_embedding_A': [2, 256] },
      /matrices only/,
    ],
    [
      'weights of the model',
      { 'base_model.model.lm_head.base_layer.weight': [256, 64] },
      /save_embedding_layers=False/,
    ],
  ])('tensors: %s', async (_, changes, message) =>
    expect(await refusal({}, tensors(changes))).toMatch(message),
  );

  it('pickled weights', async () => {
    const files = new Map([
      ['adapter_config.json', new TextEncoder().encode(JSON.stringify(CONFIG))],
      ['adapter_model.bin', new Uint8Array(3)],
    ]);
    await expect(loadAdapter(memoryFolder('ADAPTER', files), MODEL)).rejects.toThrow(
      /as adapter_model\.bin.*safe_serialization=True/,
    );
  });
});
