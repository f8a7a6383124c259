/**
 * Configs of the model and of the two it is compared with.
 *
 * The looped model runs its layers four times. The twin has the same parameters and runs them once;
 * the iso-FLOP model has as many layers as the looped one has layers times loops, and runs them once.
 * All three are taught by the same rule.
 */
import type { LoopLMConfig } from 'looplm/model';
import type { TrainConfig } from 'looplm/train';

export const VARIANTS = ['looped', 'twin', 'iso-flop'] as const;
export type Variant = (typeof VARIANTS)[number];

export const SEED = 9;
export const TRAIN_STEPS = 14_000;
export const ROWS = 12;
export const LENGTH = 160;
const NUM_LAYERS = 3;
const NUM_LOOPS = 4;

export function modelConfig(vocabSize: number, variant: Variant): LoopLMConfig {
  return {
    architecture: 'ouro',
    hiddenSize: 128,
    intermediateSize: 384,
    numHiddenLayers: variant === 'iso-flop' ? NUM_LAYERS * NUM_LOOPS : NUM_LAYERS,
    numAttentionHeads: 4,
    numKeyValueHeads: 4,
    headDim: 32,
    vocabSize,
    ropeTheta: 10_000,
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 1024,
    tieWordEmbeddings: false,
    numLoops: variant === 'looped' ? NUM_LOOPS : 1,
    exitThreshold: 1,
    initializerRange: 0.02,
    bosTokenId: 0,
    eosTokenIds: [2, 0],
    padTokenId: 0,
  };
}

/** Parts of the train steps: in which the rate falls, and in which tokens exit. */
const ANNEALED_FRACTION = 0.32;
const EXITING_FRACTION = 0.085;

/**
 * Learning with open ends, annealing, and reading what tokens leave that exit early, those of the question, too:
 * stage I for the looped model, cross-entropy for the others, which see the same data.
 */
export function trainConfig(
  model: LoopLMConfig,
  variant: Variant,
  trainSteps: number,
  seed: number,
): TrainConfig {
  const annealed = Math.round(trainSteps * ANNEALED_FRACTION);
  const exiting = Math.round(trainSteps * EXITING_FRACTION);
  const learning = trainSteps - annealed - exiting;
  const isLooped = variant === 'looped';
  const stages: NonNullable<TrainConfig['stages']> = [
    {
      name: 'learning',
      trainSteps: learning,
      schedule: { kind: 'constant', warmupTrainSteps: Math.min(100, learning) },
      optimizerState: 'fresh',
    },
    {
      name: 'annealing',
      trainSteps: annealed,
      schedule: { kind: 'cosine', warmupTrainSteps: 0, finalFraction: 0.03 },
      optimizerState: 'kept',
    },
    {
      name: 'exits',
      trainSteps: exiting,
      ...(isLooped && {
        objective: {
          kind: 'stage-1',
          beta: 0.05,
          exits: { share: 0.75, from: 0.05, to: 0.9 },
        },
      }),
      learningRate: 5e-4,
      schedule: { kind: 'cosine', warmupTrainSteps: Math.min(20, exiting), finalFraction: 0.03 },
      optimizerState: 'fresh',
    },
  ];
  return {
    model,
    objective: isLooped ? { kind: 'stage-1', beta: 0.1 } : { kind: 'last-loop' },
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
    learningRate: 1.5e-3,
    trainSteps,
    accumulate: 1,
    recompute: 'none',
    stages: stages.filter((stage) => stage.trainSteps !== 0),
    logEvery: 20,
    snapshotEvery: 100,
    evaluateEvery: 100,
    seed,
    data: { problems: 'bundled', rows: ROWS, length: LENGTH },
  };
}

/** The gate and the Q-exit threshold that the model ships with: the best of evaluation.json. */
export const SHIPPED_GATE = 'stage1';
export const SHIPPED_EXIT_THRESHOLD = 0.2;
