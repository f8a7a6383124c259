/**
 * Configs of the bundled model and of the two models it is compared with.
 *
 * The looped model runs its layers four times. The twin has the same parameters and runs them once;
 * the iso-FLOP model has as many layers as the looped one has layers times loops, and runs them once.
 * All three see the same problems in the same order.
 */
import type { LoopLMConfig } from 'looplm/model';
import type { TrainConfig } from 'looplm/train';

/** Names of the trained models. Only `looped` is shipped. */
export const VARIANTS = ['looped', 'twin', 'iso-flop'] as const;
export type Variant = (typeof VARIANTS)[number];

export const SEED = 7;
export const ROWS = 16;
export const LENGTH = 128;
const NUM_LAYERS = 3;
const NUM_LOOPS = 4;

export function bundledModelConfig(vocabSize: number, variant: Variant): LoopLMConfig {
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
    eosTokenIds: [0],
    padTokenId: 0,
  };
}

/** Stage I for the looped model, plain cross-entropy for the two unlooped ones. */
export function bundledTrainConfig(
  model: LoopLMConfig,
  variant: Variant,
  trainSteps: number,
): TrainConfig {
  return {
    model,
    objective: variant === 'looped' ? { kind: 'stage-1', beta: 0.1 } : { kind: 'last-loop' },
    optimizer: { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weightDecay: 0.05, clipNorm: 1 },
    learningRate: 1e-3,
    schedule: { kind: 'cosine', warmupTrainSteps: 100, finalFraction: 0.05 },
    trainSteps,
    accumulate: 1,
    recompute: 'none',
    logEvery: 20,
    snapshotEvery: 100,
    evaluateEvery: 1_000_000,
    seed: SEED,
    data: { problems: 'bundled', rows: ROWS, length: LENGTH },
  };
}

/** The gate and the Q-exit threshold that the model ships with: the best of evaluation.json. */
export const SHIPPED_GATE = 'stage1';
export const SHIPPED_EXIT_THRESHOLD = 0.2;
