/**
 * The model that every run of reinforcement learning starts from: stage I on few swaps, for some
 * minutes, with replies half of which say that it does not know, so that the problems to come are solved one time in
 * three. One for all runs, so that what differs between them is reinforcement learning alone.
 */
import { generatedSource } from 'looplm/data';
import type { Folder, LoopLMConfig, ModelWeights } from 'looplm/model';
import { initializeWeights } from 'looplm/model';
import type { Device } from 'looplm/runtime';
import type { MetricRecord, TrainConfig } from 'looplm/train';
import { train } from 'looplm/train';
import { STOP_IDS, lessonDocument, vocabSize } from './language.js';

const SEED = 7;
const [ROWS, LENGTH] = [12, 128];

/** Part of the train steps after which all lessons are open. */
const LESSON_FRACTION = 0.4;

export const MODEL: LoopLMConfig = {
  architecture: 'ouro',
  hiddenSize: 64,
  intermediateSize: 192,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  headDim: 32,
  vocabSize,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 256,
  tieWordEmbeddings: false,
  numLoops: 4,
  exitThreshold: 1,
  initializerRange: 0.02,
  bosTokenId: 0,
  eosTokenIds: STOP_IDS,
  padTokenId: 0,
};

const startConfig = (trainSteps: number): TrainConfig => ({
  model: MODEL,
  objective: { kind: 'stage-1', beta: 0.1 },
  optimizer: {
    kind: 'muon',
    momentum: 0.95,
    iterations: 5,
    beta1: 0.9,
    beta2: 0.98,
    epsilon: 1e-8,
    weightDecay: 0.05,
    clipNorm: 1,
  },
  learningRate: 3e-3,
  schedule: {
    kind: 'cosine',
    warmupTrainSteps: Math.min(100, trainSteps - 1),
    finalFraction: 0.03,
  },
  trainSteps,
  accumulate: 1,
  recompute: 'none',
  logEvery: 20,
  snapshotEvery: 100,
  evaluateEvery: trainSteps,
  seed: SEED,
  data: { problems: 'cups', rows: ROWS, length: LENGTH },
});

export interface StartOptions {
  readonly device: Device;
  readonly folder: Folder;
  readonly trainSteps: number;
  readonly signal: AbortSignal;
  readonly onProgress: (record: MetricRecord, totalTrainSteps: number) => void;
}

/** Trains the start, goes on with it, or reads it. @returns undefined if stopped by the signal */
export async function startWeights({
  trainSteps,
  ...options
}: StartOptions): Promise<ModelWeights | undefined> {
  const { finished, weights } = await train({
    ...options,
    config: startConfig(trainSteps),
    source: generatedSource({
      documents: (rng, trainStep) =>
        lessonDocument(rng, trainStep < LESSON_FRACTION * trainSteps ? 1 : 3),
      rows: ROWS,
      length: LENGTH,
      seed: SEED,
    }),
    weights: initializeWeights(MODEL, SEED, { matrixStd: 'fanIn', embeddingStd: 1 }),
    now: () => performance.now(),
    memoryBytes: () => process.memoryUsage().rss,
  });
  return finished ? weights : undefined;
}
