/** Runs of several stages: what each stage is, how it hands over, and how a run resumes and goes back. */
import { describe, expect, it } from 'vitest';
import type { BatchSource } from '../../src/data/index.js';
import { ConfigError } from '../../src/errors.js';
import type { LoopLMConfig } from '../../src/model/index.js';
import type { Stage, StageSettings, TrainConfig, TrainOptions } from '../../src/train/index.js';
import {
  METRICS_FILE,
  accumulateAt,
  learningRateAt,
  loopsAt,
  microBatchesBefore,
  parseMetrics,
  readSnapshot,
  spikeThreshold,
  stagesOf,
  tokensOf,
  upcycle,
} from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import { referenceRun } from '../engine/reference-model.js';
import { TINY } from './support.js';
import type { Files } from './run-files.js';
import { folderOf } from './run-files.js';
import { RUN_CONFIG, SOURCE, STAGED_CONFIG, runStaged, runTiny } from './tiny-run.js';

const recordsOf = (files: Files) => parseMetrics(new TextDecoder().decode(files.get(METRICS_FILE)));

const CONSTANT = { kind: 'constant', warmupTrainSteps: 0 } as const;

const staged = (...stages: Partial<StageSettings>[]): TrainConfig => ({
  ...RUN_CONFIG,
  schedule: CONSTANT,
  rows: 2,
  length: 7,
  stages: stages.map((stage) => ({ optimizerState: 'fresh', ...stage })),
});

describe('stages', () => {
  it('follow each other, and take from the run what they do not say', () => {
    const stages = stagesOf(
      staged({ trainSteps: 4, loops: 8 }, { name: 'long', learningRate: 0.5, ropeTheta: 1e6 }, {}),
    );
    expect(stages.map(({ firstTrainStep }) => firstTrainStep)).toEqual([0, 4, 15]);
    expect(stages.map(({ name }) => name)).toEqual(['stage 1', 'long', 'stage 3']);
    expect(stages.map(({ learningRate }) => learningRate)).toEqual([0.01, 0.5, 0.01]);
    // a model stays as a stage leaves it
    expect(stages.map(({ model }) => model.numLoops)).toEqual([8, 8, 8]);
    expect(stages.map(({ model }) => model.ropeTheta)).toEqual([10_000, 1e6, 1e6]);
  });

  it('are as long as it takes to read their tokens, on a ramp too', () => {
    const steady = staged({ tokens: 1000, accumulate: 3 });
    expect(stagesOf(steady)[0]!.trainSteps).toBe(Math.ceil(1000 / (2 * 7 * 3)));
    for (const tokens of [1, 100, 1000, 12_345]) {
      const ramp = { from: 1, to: 9, overTrainSteps: 6 };
      const [stage] = stagesOf(staged({ tokens, accumulate: ramp })) as [Stage];
      const counts = Array.from({ length: stage.trainSteps }, (_, step) =>
        accumulateAt(stage, step),
      );
      const read = counts.map((_, step) =>
        counts.slice(0, step + 1).reduce((sum, count) => sum + 14 * count, 0),
      );
      expect(read.at(-1)).toBeGreaterThanOrEqual(tokens);
      expect(read.at(-2) ?? 0).toBeLessThan(tokens);
      expect(tokensOf(stage)).toBe(read.at(-1));
      counts.forEach((_, step) => {
        expect(14 * microBatchesBefore(stage, step)).toBe(read[step - 1] ?? 0);
      });
      expect(counts.slice(0, 7)).toEqual([1, 2, 4, 5, 6, 8, 9].slice(0, counts.length));
    }
  });

  it('have learning rates that begin and end with them', () => {
    const schedule = { kind: 'cosine', warmupTrainSteps: 2, finalFraction: 0.1 } as const;
    const stages = stagesOf(staged({ trainSteps: 6, schedule }, { trainSteps: 4, schedule }));
    for (const stage of stages) {
      expect(learningRateAt(stage, 0)).toBeCloseTo(0.005, 12);
      expect(learningRateAt(stage, stage.trainSteps - 1)).toBeCloseTo(0.001, 12);
    }
  });

  it('draw their loops evenly, by seed and train step alone', () => {
    const [stage] = stagesOf(staged({ loops: { from: 2, to: 5 } })) as [Stage];
    const drawn = Array.from({ length: 4000 }, (_, step) => loopsAt(stage, step, 1));
    expect(drawn).toEqual(Array.from({ length: 4000 }, (_, step) => loopsAt(stage, step, 1)));
    expect(drawn).not.toEqual(Array.from({ length: 4000 }, (_, step) => loopsAt(stage, step, 2)));
    for (const numLoops of [2, 3, 4, 5]) {
      const count = drawn.filter((value) => value === numLoops).length;
      expect(Math.abs(count - 1000)).toBeLessThan(150); // 5 standard deviations
    }
    expect(new Set(drawn).size).toBe(4);
  });

  it.each<[Partial<StageSettings>[], RegExp]>([
    [
      [{}, { loops: 1, objective: { kind: 'stage-2', target: 'forward', k: 1, gamma: 0 } }],
      /stages\.1 \(stage 2\): objective is stage-2 and the model has 1 loop/,
    ],
    [
      [{ schedule: { kind: 'constant', warmupTrainSteps: 99 } }],
      /warm-up and decay take 99 train steps but the run has 11/,
    ],
    [
      [
        { upcycle: { numHiddenLayers: 3, order: 'stacked' } },
        { upcycle: { numHiddenLayers: 4, order: 'stacked' } },
      ],
      /stages\.1 .*upcycle\.numHiddenLayers is 4, and the model before has 3 layers/,
    ],
    [[{ optimizerState: 'kept' }], /optimizerState is "kept", and the stage before trains other/],
    [[{}, { trained: 'gate', optimizerState: 'kept' }], /Say "fresh"/],
    [[{ trained: ['head'] }], /trained names "head", which fits no parameter/],
    [[{ length: 100 }], /length is 100, and the model has 64 positions/],
  ])('%j are refused', (stages, says) => {
    const failure = () => stagesOf(staged(...stages));
    expect(failure).toThrow(ConfigError);
    expect(failure).toThrow(says);
  });

  it('tell all that is wrong at once', () => {
    const wrong = staged(
      { schedule: { kind: 'constant', warmupTrainSteps: 99 } },
      { trained: ['head'], length: 100 },
    );
    let faults: readonly string[] = [];
    try {
      stagesOf(wrong);
    } catch (error) {
      faults = (error as ConfigError).faults;
    }
    expect(faults).toHaveLength(3);
  });

  it('of tokens need batches of a known size', () => {
    const { rows: _, length: __, ...config } = staged({ tokens: 100 });
    expect(() => stagesOf(config)).toThrow(/stages\.0\.tokens is 100, and rows and length/);
  });
});

describe('more layers from a trained model', () => {
  const config: LoopLMConfig = {
    ...TINY,
    architecture: 'nanbeige',
    skipLoopFinalNorm: true,
    numHiddenLayers: 2,
    numLoops: 4,
  };
  const weights = randomWeights(config, 4);
  const deeper = (numHiddenLayers: number): LoopLMConfig => ({ ...config, numHiddenLayers });
  const layerOf = (of: ReadonlyMap<string, Float32Array>, layer: number) =>
    of.get(`model.layers.${layer}.mlp.up_proj.weight`);

  it('are copies next to each other, or of the whole stack', () => {
    const pairs = upcycle(deeper(6), weights, 'interleaved');
    const stacks = upcycle(deeper(6), weights, 'stacked');
    expect([0, 1, 2, 3, 4, 5].map((layer) => layerOf(pairs, layer))).toEqual(
      [0, 0, 0, 1, 1, 1].map((layer) => layerOf(weights, layer)),
    );
    expect([0, 1, 2, 3, 4, 5].map((layer) => layerOf(stacks, layer))).toEqual(
      [0, 1, 0, 1, 0, 1].map((layer) => layerOf(weights, layer)),
    );
    expect(pairs.get('lm_head.weight')).toEqual(weights.get('lm_head.weight'));
    expect(layerOf(pairs, 0)).not.toBe(layerOf(pairs, 1)); // copies that can learn apart
  });

  it('stacked, without a norm between loops, compute in half the loops what the model did', () => {
    const inputs = [3, 1, 4, 1, 5].map((id) => ({ id, depth: 4 }));
    const before = referenceRun(config, weights, inputs, (depth) => depth);
    const after = referenceRun(
      deeper(4),
      upcycle(deeper(4), weights, 'stacked'),
      inputs.map(({ id }) => ({ id, depth: 2 })),
      (depth) => depth,
    );
    after.forEach(({ logits }, position) => {
      expect(logits).toEqual([1, 3].map((loop) => before[position]!.logits[loop]));
    });
  });
});

/** A run that is stopped while its given train step is under way. */
function stopped(last: number): Pick<TrainOptions, 'signal' | 'onProgress'> {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    onProgress: ({ trainStep }) => trainStep === last && controller.abort(),
  };
}

describe('a run of several stages', () => {
  const whole = (async () => {
    const files: Files = new Map();
    return { files, result: await runStaged({ folder: folderOf(files) }) };
  })();

  it('stopped after any train step and resumed is the uninterrupted one', async () => {
    const { files: expected, result } = await whole;
    for (const stops of [[5], [2, 6, 11]]) {
      const files: Files = new Map();
      for (const stop of stops) {
        const part = await runStaged({ folder: folderOf(files), ...stopped(stop) });
        expect(part).toMatchObject({ trainStepsDone: stop, finished: false });
      }
      expect(await runStaged({ folder: folderOf(files) })).toEqual(result);
      expect(files).toEqual(expected);
    }
  });

  it('ends with the model of its last stage, and names the stages in its metrics', async () => {
    const { files, result } = await whole;
    const stages = stagesOf(STAGED_CONFIG);
    expect(result.model).toMatchObject({ numHiddenLayers: 2, numLoops: 2, ropeTheta: 40_000 });
    expect(result.weights.has('model.layers.1.mlp.up_proj.weight')).toBe(true);
    const updates = recordsOf(files).filter((record) => 'lossPerLoop' in record);
    const total = stages.reduce((sum, { trainSteps }) => sum + trainSteps, 0);
    expect(updates).toHaveLength(total);
    for (const stage of stages) {
      const own = updates.filter((record) => record.stage === stage.name);
      expect(own).toHaveLength(stage.trainSteps);
      own.forEach(({ learningRate, lossPerLoop, loops }, index) => {
        expect(learningRate).toBe(learningRateAt(stage, index));
        expect(lossPerLoop).toHaveLength(loopsAt(stage, index, STAGED_CONFIG.seed));
        expect(loops!.stateNorm).toHaveLength(lossPerLoop.length);
      });
    }
  });

  it('reads each stage from its own source, with micro-batches counted from its beginning', async () => {
    const asked: [string, number, number, number | undefined][] = [];
    await runStaged({
      folder: folderOf(new Map()),
      source: (stage) => {
        const { rows = 2, length = 7, name } = stage;
        const { batchAt } = SOURCE;
        const { ids } = batchAt(0, 0);
        const zero = (fill: number) => new Int32Array(rows * length).fill(fill);
        return {
          rows,
          length,
          batchAt(trainStep, microBatch, index) {
            asked.push([name, trainStep, microBatch, index]);
            return {
              rows,
              length,
              ids: zero(ids[0]!),
              targets: zero(1),
              segments: zero(1),
              positions: Int32Array.from({ length: rows * length }, (_, i) => i % length),
            };
          },
        } satisfies BatchSource;
      },
    });
    for (const stage of stagesOf(STAGED_CONFIG)) {
      const own = asked.filter(([name]) => name === stage.name);
      const expected = Array.from({ length: stage.trainSteps }, (_, step) =>
        Array.from({ length: accumulateAt(stage, step) }, (__, microBatch) => [
          stage.firstTrainStep + step,
          microBatch,
        ]),
      ).flat();
      expect(own.map(([, trainStep, microBatch]) => [trainStep, microBatch])).toEqual(expected);
      expect(own.map(([, , , index]) => index)).toEqual(expected.map((_, index) => index));
    }
  });

  it('whose source has batches of another size is refused', async () => {
    const failure = runStaged({ folder: folderOf(new Map()), source: SOURCE });
    await expect(failure).rejects.toThrow(/rows of deepen is 3, and its source has batches of 2/);
  });

  it('with averages has them as its result, and its next stage begins with them', async () => {
    const optimizer = { ...RUN_CONFIG.optimizer, averageDecay: 0.9 };
    const config = staged({ trainSteps: 3, optimizer }, { trainSteps: 1, learningRate: 1e-30 });
    const files: Files = new Map();
    const first = await runTiny({ folder: folderOf(files), config, ...stopped(3) });
    const snapshot = await readSnapshot(folderOf(files), config);
    for (const [name, values] of first.weights) {
      expect(values).toEqual(snapshot!.slots.get(`average:${name}`));
    }
    const norm = 'model.norm.weight';
    expect(first.weights.get(norm)).not.toEqual(snapshot!.weights.get(norm));
    const { weights } = await runTiny({ folder: folderOf(files), config });
    expect(weights.get(norm)).toEqual(first.weights.get(norm)); // no step worth the name
  });
});

describe('a spike', () => {
  const SPIKES = { window: 8, deviations: 6, maxRollbacks: 2 };
  const config: TrainConfig = {
    ...RUN_CONFIG,
    trainSteps: 30,
    schedule: CONSTANT,
    snapshotEvery: 5,
    accumulate: 1,
    spikes: SPIKES,
  };
  const last = 30;

  /** Data of which those at some train steps are far from all others. */
  function faultyAt(faulty: readonly number[], seen: number[] = []): BatchSource {
    return {
      ...SOURCE,
      batchAt(trainStep, microBatch) {
        seen.push(trainStep);
        const batch = SOURCE.batchAt(trainStep, microBatch);
        if (!faulty.includes(trainStep)) return easy(batch);
        const targets = easy(batch).targets.map((target) => (target < 0 ? target : 10 - target));
        return { ...batch, targets };
      },
    };
  }
  /** All targets are one token, which is learnt at once. */
  const easy = (batch: ReturnType<BatchSource['batchAt']>) => ({
    ...batch,
    targets: batch.targets.map((target) => (target < 0 ? target : 1)),
  });
  const quick = { ...config, learningRate: 0.1 };

  it('is a loss far above the mean of those before it, once there are enough', () => {
    const losses = [1, 2, 1, 2];
    expect(spikeThreshold(SPIKES, losses)).toBeCloseTo(1.5 + 6 * 0.5, 12);
    expect(spikeThreshold(SPIKES, losses.slice(1))).toBeUndefined();
    expect(spikeThreshold(SPIKES, [2, 2, 2, 2])).toBeGreaterThan(2);
  });

  it('sends the run back to its last snapshot and past the data, and the log says so', async () => {
    const files: Files = new Map();
    const seen: number[] = [];
    const told: unknown[] = [];
    const result = await runTiny({
      folder: folderOf(files),
      config: quick,
      source: faultyAt([17], seen),
      onRollback: (rollback) => told.push(rollback),
    });
    expect(result).toMatchObject({ finished: true, trainStepsDone: last });
    const records = recordsOf(files);
    const rollbacks = records.flatMap((record) => ('rollback' in record ? [record.rollback] : []));
    expect(rollbacks).toEqual([
      expect.objectContaining({ trainStep: 18, backTo: 15 }) as (typeof rollbacks)[number],
    ]);
    expect(told).toEqual(rollbacks);
    expect(rollbacks[0]!.loss).toBeGreaterThan(rollbacks[0]!.threshold!);
    // train step 15 and those after it read what comes after the faulty batch
    expect(seen.filter((step) => step === 17)).toHaveLength(1);
    expect(Math.max(...seen)).toBe(last - 1 + 3);
    const steps = records.flatMap((record) => ('loss' in record ? [record.trainStep] : []));
    expect(steps).toEqual(Array.from({ length: last }, (_, index) => index + 1));
  });

  it.each([
    [5, 15],
    [100, 6],
  ])(
    'in a later stage, with snapshots every %i train steps, sends it back to train step %i',
    async (snapshotEvery, backTo) => {
      const files: Files = new Map();
      const stages: StageSettings[] = [
        { trainSteps: 6, optimizerState: 'fresh' },
        {
          trainSteps: 24,
          upcycle: { numHiddenLayers: 2, order: 'stacked' },
          optimizerState: 'fresh',
        },
      ];
      const source = faultyAt([17]);
      const read: [number, number | undefined][] = [];
      const result = await runTiny({
        folder: folderOf(files),
        config: { ...quick, snapshotEvery, stages },
        source: {
          ...source,
          batchAt(trainStep, microBatch, index) {
            if (trainStep >= 6) read.push([trainStep, index]);
            return source.batchAt(trainStep, microBatch, index);
          },
        },
      });
      expect(result).toMatchObject({ finished: true, trainStepsDone: 30 });
      expect(result.model.numHiddenLayers).toBe(2);
      const records = recordsOf(files);
      const rollbacks = records.flatMap((record) =>
        'rollback' in record ? [record.rollback] : [],
      );
      expect(rollbacks[0]).toMatchObject({ trainStep: 18, backTo });
      const skipped = rollbacks.reduce((sum, { trainStep, backTo: to }) => sum + trainStep - to, 0);
      // sources go by either number, and read what was not read before
      expect(read.every(([trainStep, index]) => index === trainStep - 6)).toBe(true);
      expect(Math.max(...read.map(([trainStep]) => trainStep))).toBe(29 + skipped);
      const steps = records.flatMap((record) => ('loss' in record ? [record.trainStep] : []));
      expect(steps).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
    },
  );

  it('is gone back for so often and no more', async () => {
    const files: Files = new Map();
    // what is read instead is faulty, too
    const source = faultyAt([17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]);
    const passed: number[] = [];
    const result = await runTiny({
      folder: folderOf(files),
      config: quick,
      source,
      onSpike({ trainStep, loss, threshold }) {
        expect(loss).toBeGreaterThan(threshold);
        passed.push(trainStep);
      },
    });
    expect(result.finished).toBe(true);
    const rollbacks = recordsOf(files).filter((record) => 'rollback' in record);
    expect(rollbacks).toHaveLength(SPIKES.maxRollbacks);
    expect(passed.length).toBeGreaterThan(0);
  });

  it('of a loss that is no number ends the run when it may go back no more', async () => {
    const files: Files = new Map();
    const optimizer = { ...config.optimizer, clipNorm: 'off' as const };
    const run = { ...quick, optimizer, learningRate: 1e30 };
    const told: unknown[] = [];
    const failure = runTiny({
      folder: folderOf(files),
      config: run,
      onRollback: (rollback) => told.push(rollback),
    });
    await expect(failure).rejects.toThrow(/it must be finite\. The last snapshot is kept/);
    expect(told).toHaveLength(SPIKES.maxRollbacks);
  });

  it('changes nothing of a run that crashes before, at or after it and resumes', async () => {
    const expected: Files = new Map();
    await runTiny({ folder: folderOf(expected), config: quick, source: faultyAt([17]) });
    // data of train step 18 are drawn while the spike is under way; 20 comes after it
    for (const crash of [18, 20]) {
      const files: Files = new Map();
      const source = faultyAt([17]);
      const crashing: BatchSource = {
        ...source,
        batchAt(trainStep, microBatch) {
          if (trainStep === crash) throw new Error('power cut');
          return source.batchAt(trainStep, microBatch);
        },
      };
      const failure = runTiny({ folder: folderOf(files), config: quick, source: crashing });
      await expect(failure).rejects.toThrow('power cut');
      await runTiny({ folder: folderOf(files), config: quick, source });
      expect(files).toEqual(expected);
    }
  });
});
