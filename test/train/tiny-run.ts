/**
 * A whole training run on a tiny model, in this process or as a program of its own:
 * `node dist/test/train/tiny-run.js FOLDER [hang]` prints the number of each train step when it is
 * done. With `hang` it stops before the last one and waits for whoever kills it.
 */
import { fileURLToPath } from 'node:url';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { BatchSource } from '../../src/data/index.js';
import { generatedSource } from '../../src/data/index.js';
import { initializeWeights } from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { TrainConfig, TrainOptions, TrainResult } from '../../src/train/index.js';
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
export const SOURCE: BatchSource = generatedSource({
  documents: (rng) => {
    const [a, b] = [uniformInt(rng, 0, 10), uniformInt(rng, 0, 10)];
    return { ids: [a, b], targets: [-100, a] };
  },
  rows: 2,
  length: 7,
  seed: 5,
});

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
      evaluate: async ({ buffers }) => {
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
  const [, , folder, hang] = process.argv;
  const onProgress = ({ trainStep }: { trainStep: number }, total: number) => {
    process.stdout.write(`${trainStep}\n`);
    if (hang && trainStep === total - 1) waitForever();
  };
  await runTiny({ folder: nodeFolder(folder!), onProgress });
}
