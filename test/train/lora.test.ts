/**
 * Adapters beside weights that stay as they are, in every format: what they compute, their gradients, what
 * a run keeps, and what is refused.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packDocuments } from '../../src/data/index.js';
import { Engine } from '../../src/engine/index.js';
import { buildGraph } from '../../src/graph/index.js';
import type {
  AdapterBase,
  Folder,
  LoopLMConfig,
  LoraSettings,
  ModelFormat,
  ModelWeights,
} from '../../src/model/index.js';
import {
  besideWeights,
  convertedLayout,
  elementCount,
  fileWeights,
  initializeAdapter,
  initializeWeights,
  loadAdapterBase,
  loadFloats,
  loraModules,
  memoryFolder,
  mergeAdapter,
  modelConfigToJson,
  modelFormatToJson,
  parameterSpecs,
  saveCheckpoint,
} from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import type { Device, HostTensor } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { ObjectiveOptions, TrainConfig } from '../../src/train/index.js';
import {
  batchFeeds,
  countTargets,
  gradientOutputs,
  objectiveGraph,
  parseTrainConfig,
  SNAPSHOT_FILE,
  stagesOf,
  TrainState,
} from '../../src/train/index.js';
import { normalSampler } from '../../src/util/normal.js';
import { convertModel, fixturePath, NODE_ENTRY, temporaryFolder } from '../convert/support.js';
import { ADAMW, TINY } from './support.js';
import { RUN_CONFIG, runTiny } from './tiny-run.js';

const folder = temporaryFolder();
const DTYPES = ['checkpoint', 'f32', 'f16', 'q8', 'q4'] as const;
const SIZE = { rows: 2, length: 9 };
const { batch: BATCH } = packDocuments(
  [
    { ids: [5, 9, 2, 40, 17], targets: [9, 2, 40, 17, -100] },
    { ids: [7, 3, 3, 8, 1, 60], targets: [-100, 3, 8, 1, 60, 4] },
  ],
  { ...SIZE, padId: 0 },
);
const SETTINGS: LoraSettings = {
  r: 3,
  lora_alpha: 6,
  target_modules: 'all-linear',
  use_rslora: false,
  rank_pattern: { 'layers.1.*q_proj': 5 },
  alpha_pattern: { v_proj: 2 },
};

let device: Device;
beforeAll(async () => void (device = await createInlineDevice({ numThreads: 1 })));
afterAll(async () => device.dispose());

const known = new Map<string, Folder>();
async function modelFolder(fixture: 'tiny-mha' | 'tiny-gqa-tied', dtype: (typeof DTYPES)[number]) {
  const source = fixturePath(fixture);
  if (dtype === 'checkpoint') return nodeFolder(source);
  const path = join(folder, `${fixture}-${dtype}`);
  // of a tied head, a converted model has a copy in a format of its own: here the same
  const head = dtype.startsWith('q') ? { head: 'f16' as const } : {};
  if (!known.has(path)) await convertModel(source, path, { dtype, ...head });
  known.set(path, nodeFolder(path));
  return known.get(path)!;
}

/** Values that are not zero anywhere. */
function trainedAdapter(fresh: ModelWeights): ModelWeights {
  const next = normalSampler(4);
  return new Map([...fresh].map(([name, values]) => [name, values.map(() => 0.1 * next())]));
}

type Numbers = Readonly<Record<string, Float32Array>>;

/** Metrics and gradients of one batch. */
async function gradientsOf(
  base: AdapterBase,
  weights: ModelWeights,
  options: Pick<ObjectiveOptions, 'lora' | 'recompute' | 'trained'>,
): Promise<Numbers> {
  const { config, file } = base;
  const graph = objectiveGraph(config, {
    ...SIZE,
    ...options,
    objective: { kind: 'stage-1', beta: 0.1 },
    ...(options.lora && { file }),
  });
  const built = buildGraph(gradientOutputs(graph));
  const program = await device.compile(built, file && { weightsFolder: file.folder });
  const held = built.inputs.flatMap(({ attributes, shape }): [string, HostTensor][] => {
    const name = attributes['name'] as string;
    const data = weights.get(name) ?? base.weights.get(name);
    return data ? [[name, { dtype: 'f32', dims: shape as number[], data }]] : [];
  });
  const feeds = {
    ...Object.fromEntries(held),
    ...batchFeeds(BATCH, config, 1 / countTargets(BATCH)),
  };
  const fetch = program.outputNames;
  const [result] = await device.submit([{ kind: 'run', program, feeds, fetch }]);
  await device.free(program);
  return Object.fromEntries(
    Object.entries(result!).map(([name, { data }]) => [name, data as Float32Array]),
  );
}

const isChanged = (values: Float32Array | undefined) => values!.some((value) => value !== 0);

function expectNear(actual: Float32Array, expected: ArrayLike<number>, tolerance = 2e-5): void {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(1e-3, ...Array.from(expected, Math.abs));
  actual.forEach((value, index) => {
    expect(Math.abs(value - expected[index]!)).toBeLessThanOrEqual(tolerance * scale);
  });
}

describe.each(['tiny-mha', 'tiny-gqa-tied'] as const)('%s', (fixture) => {
  // the second has grouped heads, and blocks that are not full
  describe.each(fixture === 'tiny-mha' ? DTYPES : (['checkpoint', 'q4'] as const))(
    'as %s',
    (dtype) => {
      it('computes what the merged model does; gradients follow by the chain rule from those of its matrices', async () => {
        const source = await modelFolder(fixture, dtype);
        const base = await loadAdapterBase(source);
        const { config } = base;
        const modules = loraModules(config, SETTINGS);
        const adapter = trainedAdapter(initializeAdapter(modules, 1));
        const beside = await gradientsOf(base, adapter, { lora: SETTINGS, trained: 'gate' });

        const { weights } = await loadFloats(source);
        const merged = mergeAdapter(config, weights, { modules, weights: adapter });
        const { file: _, ...checkpoint } = base;
        const dense = await gradientsOf({ ...checkpoint, weights: merged }, merged, {});

        for (const name of ['loss', 'lossPerLoop', 'meanExitPdf']) {
          expectNear(beside[name]!, dense[name]!);
        }
        expect(modules.map(({ a }) => a.shape[0])).toContain(5);
        for (const { target, scale, a, b } of modules) {
          const [outputs, inputs] = target.shape as [number, number];
          const rank = a.shape[0]!;
          const dW = dense[`grad:${target.hfName}`]!;
          const [A, B] = [adapter.get(a.hfName)!, adapter.get(b.hfName)!];
          const dA = new Float64Array(rank * inputs);
          const dB = new Float64Array(outputs * rank);
          for (let o = 0; o < outputs; o++) {
            for (let k = 0; k < rank; k++) {
              for (let i = 0; i < inputs; i++) {
                dA[k * inputs + i]! += scale * B[o * rank + k]! * dW[o * inputs + i]!;
                dB[o * rank + k]! += scale * A[k * inputs + i]! * dW[o * inputs + i]!;
              }
            }
          }
          expectNear(beside[`grad:${a.hfName}`]!, dA, 1e-4);
          expectNear(beside[`grad:${b.hfName}`]!, dB, 1e-4);
        }
        const gate = 'grad:model.early_exit_gate.weight';
        expectNear(beside[gate]!, dense[gate]!, 1e-4);
        const trained = modules.length * 2 + 2;
        expect(Object.keys(beside).filter((name) => name.startsWith('grad:'))).toHaveLength(
          trained,
        );
      });
    },
  );

  it('has the same gradients when loops are computed again', async () => {
    const base = await loadAdapterBase(await modelFolder(fixture, 'q4'));
    const adapter = trainedAdapter(initializeAdapter(loraModules(base.config, SETTINGS), 1));
    const kept = await gradientsOf(base, adapter, { lora: SETTINGS });
    const again = await gradientsOf(base, adapter, { lora: SETTINGS, recompute: 'loop' });
    for (const [name, values] of Object.entries(kept)) expectNear(again[name]!, values);
  });

  it('a fresh adapter changes nothing, to the bit', async () => {
    const base = await loadAdapterBase(await modelFolder(fixture, 'checkpoint'));
    const adapter = initializeAdapter(loraModules(base.config, SETTINGS), 1);
    const [with_, without] = [
      await gradientsOf(base, adapter, { lora: SETTINGS }),
      await gradientsOf(base, base.weights, {}),
    ];
    for (const name of ['loss', 'lossPerLoop', 'accuracyPerLoop', 'entropy']) {
      expect(with_[name], name).toEqual(without[name]);
    }
  });
});

const LORA: LoraSettings = { ...SETTINGS, rank_pattern: {}, alpha_pattern: {}, r: 2 };

/** A converted model of the size of tiny runs. */
async function smallBase(dtype: 'q4' | 'q8'): Promise<AdapterBase> {
  const path = join(folder, `small-${dtype}`);
  if (!known.has(path)) {
    const source = nodeFolder(join(folder, 'small'));
    const weights = initializeWeights(RUN_CONFIG.model, 3);
    await saveCheckpoint(source, RUN_CONFIG.model, weights, { dtype: 'f32' });
    await convertModel(source.path, path, { dtype });
    known.set(path, nodeFolder(path));
  }
  return loadAdapterBase(known.get(path)!);
}

describe('a run', () => {
  const config: TrainConfig = { ...RUN_CONFIG, lora: LORA, trained: 'gate' };
  const filesOf = async (
    { weights, file }: Pick<AdapterBase, 'weights' | 'file'>,
    options: { readonly stopAt?: number } = {},
  ) => {
    const base = { weights, file };
    const files = new Map<string, Uint8Array>();
    const target = memoryFolder('run', files);
    if (options.stopAt !== undefined) {
      const stop = new AbortController();
      await runTiny({
        folder: target,
        config,
        ...base,
        signal: stop.signal,
        onProgress: ({ trainStep }) => trainStep === options.stopAt && stop.abort(),
      });
    }
    const result = await runTiny({ folder: target, config, ...base });
    return { files, result };
  };

  it.each(['checkpoint', 'q4', 'q8'] as const)(
    'beside %s changes and keeps the adapter and the gate alone, and resumes bit for bit',
    async (dtype) => {
      const base =
        dtype === 'checkpoint'
          ? { weights: initializeWeights(RUN_CONFIG.model, 1) }
          : await smallBase(dtype);
      const { files, result } = await filesOf(base);
      const modules = loraModules(RUN_CONFIG.model, LORA);
      expect([...result.weights.keys()].toSorted()).toEqual(
        [
          ...modules.flatMap(({ a, b }) => [a.hfName, b.hfName]),
          'model.early_exit_gate.weight',
          'model.early_exit_gate.bias',
        ].toSorted(),
      );
      for (const { b } of modules) expect(result.weights.get(b.hfName)).toSatisfy(isChanged);

      const own = [...result.weights.values()].reduce((sum, { length }) => sum + length, 0);
      // weights and two moments of each, and a header
      expect(files.get(SNAPSHOT_FILE)!.length).toBeLessThan(12 * own + 12_000);
      const again = await filesOf(base, { stopAt: 4 });
      for (const [name, bytes] of files) expect(again.files.get(name), name).toEqual(bytes);
    },
  );

  it('trains the gate alone in a stage of its objective, beside the adapter as it is', async () => {
    const stages = [
      { trainSteps: 2, optimizerState: 'fresh' as const },
      {
        trainSteps: 2,
        objective: { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 } as const,
        optimizerState: 'fresh' as const,
      },
    ];
    const { trained: _, ...rest } = config;
    const whole: TrainConfig = { ...rest, stages };
    const weights = initializeWeights(RUN_CONFIG.model, 1);
    const at = async (config_: TrainConfig) =>
      (await runTiny({ folder: memoryFolder('x', new Map()), config: config_, weights })).weights;
    const [first, both] = [await at({ ...whole, stages: stages.slice(0, 1) }), await at(whole)];
    for (const [name, values] of first) {
      const isGate = name.includes('early_exit_gate');
      expect(
        both.get(name)!.every((value, index) => value === values[index]),
        name,
      ).toBe(!isGate);
      if (isGate) expect(values).toEqual(weights.get(name));
    }
  });

  it('holds slots and gradients of the adapter alone, and of a converted model no buffer', async () => {
    const { config: model, weights, file } = await smallBase('q4');
    const modules = loraModules(model, LORA);
    const adapter = initializeAdapter(modules, 0);
    const own = new Map([...adapter, ...weights]);
    const before = (await device.stats()).bytes;
    const state = await TrainState.create({
      ...SIZE,
      device,
      config: model,
      lora: LORA,
      file,
      objective: { kind: 'stage-1', beta: 0.1 },
      optimizer: ADAMW,
      recompute: 'none',
      weights: own,
    });
    const count = (of: ModelWeights) =>
      [...of.values()].reduce((sum, { length }) => sum + length, 0);
    expect((await device.stats()).bytes - before).toBe(4 * (count(own) + 4 * count(adapter)));
    await state.dispose();
  });

  it('is looked at by an engine as it will be loaded', async () => {
    const { config: model, weights, file } = await smallBase('q8');
    const modules = loraModules(model, LORA);
    const adapter = trainedAdapter(initializeAdapter(modules, 0));
    const own = new Map([...adapter, ...weights]);
    const state = await TrainState.create({
      ...SIZE,
      device,
      config: model,
      lora: LORA,
      file,
      objective: { kind: 'stage-1', beta: 0.1 },
      optimizer: ADAMW,
      recompute: 'none',
      weights: own,
    });
    const trained = await Engine.create({ device, config: model, weights: state.trainedWeights });
    const beside = besideWeights(fileWeights(file!), { modules, weights: adapter });
    const loaded = await Engine.create({ device, config: model, weights: beside });
    const [a, b] = [await trained.trace([1, 2, 3, 4]), await loaded.trace([1, 2, 3, 4])];
    expectNear(a.logits, b.logits);
    await trained.dispose();
    await loaded.dispose();
    await state.dispose();
  });
});

describe('refused by name', () => {
  const refusal = (changes: object) => () =>
    stagesOf(parseTrainConfig({ ...RUN_CONFIG, model: TINY, lora: LORA, ...changes }, 'The run'));
  it.each<[string, object, RegExp]>([
    [
      'all weights',
      { trained: 'all' },
      /trained is "all" and lora is given.*"gate".*leave out lora/,
    ],
    ['some weights', { trained: ['*.norm.weight'] }, /trained is \["\*\.norm\.weight"\] and lora/],
    ['more layers', { stages: [{ upcycle: { numHiddenLayers: 2, order: 'stacked' } }] }, /upcycle/],
    [
      'other loops at the end',
      { stages: [{ loops: 7 }] },
      /ends with loops 7, and an adapter.*with 3/,
    ],
    ['other positions at the end', { stages: [{ ropeTheta: 5 }] }, /ends with ropeTheta 5, and an/],
    ['an unknown matrix', { lora: { target_modules: ['wq'] } }, /"wq".*Use q_proj, k_proj/],
    ['a rank of 0', { lora: { r: 0 } }, /lora\.r is 0; it must be a whole number from 1/],
    ['dropout', { lora: { lora_dropout: 0.1 } }, /lora_dropout is 0\.1.*without dropout/],
    ['DoRA', { lora: { use_dora: true } }, /"use_dora" of lora is not known/],
    [
      'a tied head',
      { model: { ...TINY, tieWordEmbeddings: true }, lora: { target_modules: ['lm_head'] } },
      /"lm_head".*tied to the embedding/,
    ],
  ])('%s', (_, changes, message) => expect(refusal(changes)).toThrow(message));
});

/** A converted model of 120M parameters whose weight file is all holes: it costs no disk and no time. */
async function hollowModel(path: string): Promise<LoopLMConfig> {
  const config: LoopLMConfig = {
    ...RUN_CONFIG.model,
    hiddenSize: 1536,
    intermediateSize: 4608,
    numHiddenLayers: 4,
    numAttentionHeads: 12,
    numKeyValueHeads: 12,
    headDim: 128,
    vocabSize: 512,
    initializerRange: 0.02,
    numLoops: 4,
  };
  const format: ModelFormat = {
    body: { kind: 'blocks', bits: 4, blockSize: 64 },
    head: { kind: 'float', dtype: 'f16' },
    embedding: { kind: 'float', dtype: 'f16' },
    method: 'round-to-nearest',
  };
  const { header, size } = convertedLayout(config, format);
  mkdirSync(path);
  const json = {
    ...modelConfigToJson(config, 'float16'),
    quantization_config: modelFormatToJson(format),
  };
  writeFileSync(join(path, 'config.json'), JSON.stringify(json));
  writeFileSync(join(path, 'model.safetensors'), header);
  truncateSync(join(path, 'model.safetensors'), size);
  return config;
}

it('takes less than a float32 copy of a converted model, with all that training needs', async (context) => {
  if (!existsSync('/proc/self/status')) context.skip('there is no /proc to measure the peak with');
  const module = (name: string) => JSON.stringify(NODE_ENTRY.replace('platform/node', name));
  const script = `
    const { nodeFolder, createNodeDevice } = await import(${module('platform/node')});
    const model = await import(${module('model')});
    const { train, parseTrainConfig } = await import(${module('train')});
    const { generatedSource } = await import(${module('data')});
    const { readFileSync } = await import('node:fs');
    const peak = () => 1024 * /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
    const { config, weights, file } = await model.loadAdapterBase(nodeFolder(process.argv[1]));
    const device = await createNodeDevice({ numThreads: 1 });
    const before = peak();
    const ids = [1, 2, 3, 4, 5, 6, 7, 8];
    await train({
      config: parseTrainConfig(
        { model: config, lora: { r: 2 }, trainSteps: 2, evaluateEvery: 9, data: {} }, 'x'),
      device, weights, file, folder: model.memoryFolder('x', new Map()),
      source: generatedSource({ documents: () => ({ ids, targets: ids }), rows: 1, length: 8, seed: 0 }),
      now: () => 0, memoryBytes: () => 0 });
    await device.dispose();
    process.stdout.write(String(peak() - before));`;
  const path = join(folder, 'hollow');
  const config = await hollowModel(path);
  const argv = ['--input-type=module', '-e', script, path];
  const { stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  expect(stderr).toBe('');
  const floats =
    4 * parameterSpecs(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  expect(Number(stdout)).toBeGreaterThan(floats / 8);
  expect(Number(stdout)).toBeLessThan(0.8 * floats);
}, 120_000);
