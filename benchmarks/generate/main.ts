/**
 * Decode speed by depth: tokens per second at every fixed depth and under Q-exit, and how much of
 * the ideal speed-up R / mean depth remains. `npm run bench:generate`.
 */
import { parseSamplingOptions, Engine } from 'looplm/engine';
import type { EngineEvent, KvPolicy } from 'looplm/engine';
import { fixedDepth, replay } from 'looplm/engine';
import type { LoopLMConfig } from 'looplm/model';
import { initializeWeights } from 'looplm/model';
import { generatorFor } from 'looplm/data';
import { createNodeDevice } from 'looplm/node';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { alternate, median, medianRatio, provenance, writeResult } from '../lib/harness.js';

const THREADS = 2;
const ROUNDS = 7;
const NEW_TOKENS = 32;
const PROMPT_TOKENS = 64;
const SEED = 1;
const KV_POLICIES: readonly KvPolicy[] = ['per-loop', 'last-exited', 'shared'];

/** Large enough that matrices, not bookkeeping, take the time: 52M parameters of 4 bytes. */
const config: LoopLMConfig = {
  hiddenSize: 768,
  intermediateSize: 2048,
  numHiddenLayers: 6,
  numAttentionHeads: 12,
  numKeyValueHeads: 12,
  headDim: 64,
  vocabSize: 8192,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 4096,
  tieWordEmbeddings: false,
  numLoops: 4,
  exitThreshold: 1,
  initializerRange: 0.02,
  eosTokenIds: [],
};

const device = await createNodeDevice({ numThreads: THREADS });
const engine = await Engine.create({ device, config, weights: initializeWeights(config, SEED) });
const rng = generatorFor(SEED);
const promptIds = Array.from({ length: PROMPT_TOKENS }, () => uniformInt(rng, 0, config.vocabSize - 1));
/** Depths as an exit policy would spread them around 2.5 loops; the first token comes with the prefill. */
const mixedDepths = Array.from({ length: NEW_TOKENS }, () => uniformInt(rng, 1, config.numLoops));

/** Tokens per second of decode, and the mean depth of the decoded tokens. */
async function decode(exitDepth: number | 'mixed', kvPolicy: KvPolicy): Promise<number> {
  const exitPolicy = exitDepth === 'mixed' ? replay(mixedDepths) : fixedDepth(exitDepth);
  const request = {
    promptIds,
    maxNewTokens: NEW_TOKENS,
    exitPolicy,
    sampling: parseSamplingOptions({}),
  };
  let start = 0;
  for await (const event of engine.generate([request], { kvPolicy })) {
    if (isFirstToken(event)) start = performance.now();
  }
  return (NEW_TOKENS - 1) / ((performance.now() - start) / 1000);
}

const isFirstToken = (event: EngineEvent) => event.kind === 'token' && event.tokenIndex === 0;

const depths = [1, 2, 3, 4, 'mixed'] as const;
const variants = KV_POLICIES.flatMap((kvPolicy) =>
  depths.map((depth) => ({
    name: `${kvPolicy} ${depth}`,
    measure: () => decode(depth, kvPolicy),
  })),
);
await decode('mixed', 'per-loop'); // warm-up, not counted
const raw = await alternate(variants, ROUNDS);
const meanMixed = mixedDepths.slice(1).reduce((sum, depth) => sum + depth, 0) / (NEW_TOKENS - 1);
const entries = KV_POLICIES.flatMap((kvPolicy) =>
  depths.map((depth) => {
    const meanDepth = depth === 'mixed' ? meanMixed : depth;
    const speedUp = medianRatio(raw[`${kvPolicy} ${depth}`]!, raw[`${kvPolicy} ${config.numLoops}`]!);
    return {
      kvPolicy,
      depth,
      meanDepth,
      tokensPerSecond: median(raw[`${kvPolicy} ${depth}`]!),
      speedUp,
      shareOfIdeal: speedUp / (config.numLoops / meanDepth),
    };
  }),
);
await engine.dispose();
await device.dispose();
await writeResult('generate', {
  title: 'Decode speed by depth',
  settings: { threads: THREADS, rounds: ROUNDS, newTokens: NEW_TOKENS, promptTokens: PROMPT_TOKENS, seed: SEED },
  ...provenance(),
  model: config,
  entries,
  raw,
});
for (const entry of entries) {
  process.stdout.write(
    `${entry.kvPolicy} ${entry.depth}: ${entry.tokensPerSecond.toFixed(1)} tokens/s, ${entry.speedUp.toFixed(2)} x full depth, ${(100 * entry.shareOfIdeal).toFixed(0)} % of ideal\n`,
  );
}
