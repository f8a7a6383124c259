/** Shapes that are measured: random weights, four loops, one kv head for each query head. */
import type { LoopLMConfig } from 'looplm/model';

type Sizes = Pick<
  LoopLMConfig,
  'hiddenSize' | 'intermediateSize' | 'numHiddenLayers' | 'numAttentionHeads' | 'vocabSize'
>;

export function benchmarkConfig(sizes: Sizes): LoopLMConfig {
  return {
    ...sizes,
    numKeyValueHeads: sizes.numAttentionHeads,
    headDim: sizes.hiddenSize / sizes.numAttentionHeads,
    ropeTheta: 10_000,
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 4096,
    tieWordEmbeddings: false,
    numLoops: 4,
    exitThreshold: 1,
    initializerRange: 0.02,
    eosTokenIds: [],
  };
}
