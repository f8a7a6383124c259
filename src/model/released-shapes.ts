/**
 * The shapes of released models, by name, for models of random weights and for tests.
 *
 * Sources: config.json of ByteDance/Ouro-1.4B and -2.6B, and of Nanbeige/Nanbeige4.2-3B.
 */
import type { LoopLMConfig } from './config.js';

const OURO = {
  architecture: 'ouro',
  hiddenSize: 2048,
  intermediateSize: 5632,
  numAttentionHeads: 16,
  numKeyValueHeads: 16,
  headDim: 128,
  vocabSize: 49_152,
  ropeTheta: 1_000_000,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 65_536,
  tieWordEmbeddings: false,
  numLoops: 4,
  exitThreshold: 1,
  initializerRange: 0.02,
  bosTokenId: 0,
  eosTokenIds: [0],
} as const;

const NANBEIGE_3B: LoopLMConfig = {
  architecture: 'nanbeige',
  hiddenSize: 3072,
  intermediateSize: 10_752,
  numHiddenLayers: 22,
  numAttentionHeads: 48,
  numKeyValueHeads: 8,
  headDim: 128,
  vocabSize: 166_144,
  ropeTheta: 70_000_000,
  rmsNormEps: 1e-5,
  maxPositionEmbeddings: 262_144,
  tieWordEmbeddings: false,
  numLoops: 2,
  exitThreshold: 1,
  initializerRange: 0.02,
  bosTokenId: 166_100,
  eosTokenIds: [166_101, 166_102],
  padTokenId: 0,
};

/** By name, as `looplm random --shape` takes it. */
export const RELEASED_SHAPES: ReadonlyMap<string, LoopLMConfig> = new Map([
  ['ouro-1.4b', { ...OURO, numHiddenLayers: 24 }],
  ['ouro-2.6b', { ...OURO, numHiddenLayers: 48 }],
  ['nanbeige-4.2-3b', NANBEIGE_3B],
]);
