/**
 * Short training runs come to the losses that an independent implementation in PyTorch came to, step by
 * step: stage I with AdamW and with Muon, masked conversations, and LoRA (test/fixtures/training-runs).
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TrainingBatch, TrainingDocument } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import type { LoraSettings } from '../../src/model/index.js';
import { loraModules, memoryFolder } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import {
  learningRateAt,
  METRICS_FILE,
  parseMetrics,
  parseTrainConfig,
  stagesOf,
  train,
  TrainState,
} from '../../src/train/index.js';
import { repositoryPath } from '../repository.js';
import { loadFixture } from './fixtures.js';

const GOLDEN = JSON.parse(
  readFileSync(repositoryPath('test/fixtures/training-runs/losses.json'), 'utf8'),
) as Readonly<Record<'adamw' | 'muon' | 'chat' | 'lora', readonly number[]>>;
const TOLERANCE = 1e-3;
const SIZE = { rows: 4, length: 16 };
const VOCAB = 256;

let device: Device;
beforeAll(async () => void (device = await createInlineDevice({ numThreads: 1 })));
afterAll(async () => device.dispose());

/** Each token follows from the one before it. */
function chain(start: number, length: number, vocab: number): number[] {
  const tokens = [start % vocab];
  while (tokens.length < length) tokens.push((5 * tokens.at(-1)! + 17) % vocab);
  return tokens;
}

/** @param prompt - tokens at the beginning that are not learnt */
function document(start: number, length: number, vocab: number, prompt = 0): TrainingDocument {
  const tokens = chain(start, length + 1, vocab);
  return {
    ids: tokens.slice(0, -1),
    targets: tokens.slice(1).map((token, index) => (index + 1 >= prompt ? token : -100)),
  };
}

/** The documents of each row of a batch. */
type Rows = (trainStep: number, row: number, vocab: number) => readonly TrainingDocument[];
const TEXT: Rows = (trainStep, row, vocab) => [
  document(37 * trainStep + 101 * row + 11, SIZE.length, vocab),
];
const CHAT: Rows = (trainStep, row, vocab) =>
  [
    [6 + (row % 2), 3],
    [7, 2 + row],
  ].map(([length, prompt], index) =>
    document(29 * trainStep + 83 * row + 7 * (index + 1), length!, vocab, prompt),
  );

/** Rows are packed one by one, so that each holds what the other side gives it. */
function sourceOf(rowsOf: Rows, vocab: number) {
  return {
    ...SIZE,
    batchAt(trainStep: number): TrainingBatch {
      const rows = Array.from({ length: SIZE.rows }, (_, row) => {
        const { batch, leftOver } = packDocuments(rowsOf(trainStep, row, vocab), {
          rows: 1,
          length: SIZE.length,
          padId: 0,
        });
        expect(leftOver).toEqual([]);
        return batch;
      });
      const joined = (key: 'ids' | 'targets' | 'segments' | 'positions') =>
        Int32Array.from(rows.flatMap((batch) => [...batch[key]]));
      return {
        ...SIZE,
        ids: joined('ids'),
        targets: joined('targets'),
        segments: joined('segments'),
        positions: joined('positions'),
      };
    },
  };
}

function expectLosses(losses: readonly number[], golden: readonly number[]): void {
  expect(losses).toHaveLength(50);
  expect(golden.at(-1)).toBeLessThan(golden[0]! - 0.3); // it is a run that learns
  losses.forEach((loss, trainStep) => {
    expect(Math.abs(loss - golden[trainStep]!), `train step ${trainStep}`).toBeLessThan(TOLERANCE);
  });
}

const COSINE = { kind: 'cosine', warmupTrainSteps: 5, finalFraction: 0.1 };
const CONSTANT = { kind: 'constant' };
const RUNS = [
  ['adamw', 'tiny-mha', TEXT, { schedule: COSINE }],
  ['muon', 'tiny-mha', TEXT, { schedule: CONSTANT, optimizer: { kind: 'muon' } }],
  [
    'chat',
    'tiny-gqa-tied',
    CHAT,
    { schedule: CONSTANT, objective: { kind: 'stage-1', beta: 0.05 } },
  ],
] as const;

it.each(RUNS)(
  '%s on %s: 50 losses to 1e-3',
  async (name, fixture, rowsOf, settings) => {
    const { config, weights } = await loadFixture(fixture);
    const files = new Map<string, Uint8Array>();
    await train({
      config: parseTrainConfig(
        {
          model: config,
          learningRate: 3e-3,
          trainSteps: 50,
          logEvery: 1,
          evaluateEvery: 50,
          data: {},
          spikes: 'off',
          ...settings,
        },
        'the run',
      ),
      device,
      weights,
      source: sourceOf(rowsOf, config.vocabSize),
      folder: memoryFolder('run', files),
      now: () => 0,
      memoryBytes: () => 0,
    });
    const records = parseMetrics(new TextDecoder().decode(files.get(METRICS_FILE)));
    expectLosses(
      records.flatMap((record) => ('lossPerLoop' in record ? record.loss : [])),
      GOLDEN[name],
    );
  },
  120_000,
);

it('lora on tiny-mha: 50 losses to 1e-3', async () => {
  const { config, weights } = await loadFixture('tiny-mha');
  const lora: LoraSettings = {
    r: 4,
    lora_alpha: 8,
    target_modules: 'all-linear',
    use_rslora: false,
    rank_pattern: {},
    alpha_pattern: {},
  };
  const settings = parseTrainConfig(
    {
      model: config,
      lora,
      learningRate: 1e-2,
      trainSteps: 50,
      schedule: CONSTANT,
      evaluateEvery: 50,
      data: {},
    },
    'the run',
  );
  const [stage] = stagesOf(settings);
  const own = new Map<string, Float32Array>();
  // q, k, v, o, gate, up, down of each layer in turn, as numbered on the other side
  const order = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
  for (const { target, a, b } of loraModules(config, lora)) {
    const layer = Number(/layers\.(\d+)\./.exec(target.hfName)![1]);
    const index = layer * order.length + order.findIndex((part) => target.hfName.includes(part));
    const [rank, inputs] = a.shape as [number, number];
    const values = Float32Array.from(
      { length: rank * inputs },
      (_, n) => Math.sin((n + 1) * (index + 1) * 0.37) / Math.sqrt(inputs),
    );
    own.set(a.hfName, values);
    own.set(b.hfName, new Float32Array(b.shape[0]! * rank));
  }
  for (const name of ['model.early_exit_gate.weight', 'model.early_exit_gate.bias']) {
    own.set(name, weights.get(name)!);
  }
  const state = await TrainState.create({
    ...SIZE,
    device,
    config,
    lora,
    base: weights,
    weights: own,
    objective: stage!.objective,
    optimizer: stage!.optimizer,
    recompute: 'none',
  });
  const source = sourceOf(TEXT, VOCAB);
  const losses: number[] = [];
  for (let trainStep = 0; trainStep < 50; trainStep++) {
    const batch = source.batchAt(trainStep);
    const { loss } = await state.update([batch], trainStep, learningRateAt(stage!, trainStep));
    losses.push(loss);
  }
  await state.dispose();
  expectLosses(losses, GOLDEN.lora);
}, 120_000);
