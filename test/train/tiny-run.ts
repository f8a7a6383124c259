/**
 * A whole training run on a tiny model, in this process or as a program of its own:
 * `node dist/test/train/tiny-run.js FOLDER [hang] [staged]` prints the number of each train step when it
 * is done. With `hang` it stops before the last one and waits for whoever kills it; with `staged` the run
 * has several stages.
 */
import { fileURLToPath } from 'node:url';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { BatchSource } from '../../src/data/index.js';
import { generatedSource } from '../../src/data/index.js';
import { initializeWeights } from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { Stage, TrainConfig, TrainOptions, TrainResult } from '../../src/train/index.js';
import { train } from '../../src/train/index.js';

export const RUN_CONFIG: TrainConfig = {
  model: {
    architecture: 'ouro',
    hiddenSize: 8,
    intermediateSize: 10,
    numHiddenLayers: 1,
    numAttentionHeads: 2,
    numKeyValueHeads: 1,
    headDim: 4,
    vocabSize: 11,
    ropeTheta: 10_000,
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 64,
    tieWordEmbeddings: false,
    numLoops: 3,
    exitThreshold: 1,
    initializerRange: 0.5,
    eosTokenIds: [],
  },
  objective: { kind: 'stage-1', beta: 0.1 },
  optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
  learningRate: 0.01,
  schedule: { kind: 'cosine', warmupTrainSteps: 2, finalFraction: 0.1 },
  trainSteps: 11,
  accumulate: 2,
  recompute: 'none',
  logEvery: 1,
  snapshotEvery: 3,
  evaluateEvery: 4,
  seed: 5,
  data: { documents: 'reversed pairs' },
};

/** Pairs of tokens, each named after the other. */
export const sourceOf = ({
  rows = 2,
  length = 7,
}: Partial<Pick<Stage, 'rows' | 'length'>>): BatchSource =>
  generatedSource({
    documents: (rng) => {
      const [a, b] = [uniformInt(rng, 0, 10), uniformInt(rng, 0, 10)];
      return { ids: [a, b], targets: [-100, a] };
    },
    rows,
    length,
    seed: 5,
  });
export const SOURCE = sourceOf({});

/** Stages that differ in what stages may differ in. */
export const STAGED_CONFIG: TrainConfig = {
  ...RUN_CONFIG,
  seed: 8,
  spikes: { window: 8, deviations: 50, maxRollbacks: 1 },
  stages: [
    {
      name: 'draw loops',
      trainSteps: 5,
      loops: { from: 1, to: 3 },
      optimizer: {
        ...RUN_CONFIG.optimizer,
        kind: 'muon',
        momentum: 0.9,
        iterations: 5,
        averageDecay: 0.8,
      },
      accumulate: { from: 1, to: 3, overTrainSteps: 4 },
      schedule: { kind: 'wsd', warmupTrainSteps: 1, decayTrainSteps: 2, finalFraction: 0.2 },
      optimizerState: 'fresh',
    },
    {
      name: 'deepen',
      tokens: 100,
      loops: 2,
      ropeTheta: 40_000,
      upcycle: { numHiddenLayers: 2, order: 'interleaved' },
      backpropLoops: 1,
      rows: 3,
      length: 5,
      optimizerState: 'fresh',
    },
    {
      name: 'go on',
      trainSteps: 3,
      learningRate: 0.001,
      objective: { kind: 'stage-1', beta: 0.05 },
      optimizerState: 'kept',
    },
    {
      name: 'gate',
      trainSteps: 3,
      objective: { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 },
      optimizerState: 'fresh',
    },
  ],
};

/** Trains the stages in a folder, from its snapshot if it has one. */
export const runStaged = (options: Pick<TrainOptions, 'folder'> & Partial<TrainOptions>) =>
  runTiny({ config: STAGED_CONFIG, source: sourceOf, ...options });

/** Trains in a folder, from its snapshot if it has one. */
export async function runTiny(
  options: Pick<TrainOptions, 'folder'> & Partial<TrainOptions>,
): Promise<TrainResult> {
  const device = await createInlineDevice({ numThreads: 1 });
  try {
    return await train({
      config: RUN_CONFIG,
      device,
      source: SOURCE,
      weights: initializeWeights(RUN_CONFIG.model, 1),
      evaluate: async (weights) => {
        const { buffers } = 'resident' in weights ? weights.resident : weights;
        const bias = await device.download(buffers.get('model.early_exit_gate.bias')!);
        return { bias: bias.data[0] as number };
      },
      now: () => 0,
      memoryBytes: () => 0,
      ...options,
    });
  } finally {
    await device.dispose();
  }
}

function waitForever(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , folder, ...words] = process.argv;
  const onProgress = ({ trainStep }: { trainStep: number }, total: number) => {
    process.stdout.write(`${trainStep}\n`);
    if (words.includes('hang') && trainStep === total - 1) waitForever();
  };
  const run = words.includes('staged') ? runStaged : runTiny;
  await run({ folder: nodeFolder(folder!), onProgress });
}
