/**
 * Decode speed by depth: tokens per second at every fixed depth, at mixed depths and under Q-exit,
 * and how much of the ideal speed-up R / mean depth remains.
 * `npm run bench:generate -- [--rounds N] [--json FILE]`.
 *
 * Two models: random weights large enough that matrices take the time, where depths are replayed;
 * and the bundled model, which decides for itself.
 */
import { generatorFor } from 'looplm/data';
import type { ExitPolicy, KvPolicy } from 'looplm/engine';
import { Engine, cdfThreshold, fixedDepth, parseSamplingOptions, replay } from 'looplm/engine';
import type { LoopLMConfig } from 'looplm/model';
import { initializeWeights, loadCheckpoint, modelCost } from 'looplm/model';
import { bundledModelPath, createNodeDevice, nodeFolder } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { Scribe } from '../../recipes/bundled/documents.js';
import { questionSets } from '../../recipes/bundled/evaluation/question-sets.js';
import { MAX_NEW_TOKENS } from '../../recipes/bundled/evaluation/replies.js';
import type { Variant } from '../lib/harness.js';
import { benchmarkConfig } from '../lib/models.js';
import { readRounds } from '../lib/flags.js';
import { alternate, provenance, writeResult } from '../lib/harness.js';
import { openRoofs } from '../lib/roofs.js';
import { median, medianRatio } from '../lib/statistics.js';
import { generateText } from './report.js';

const THREADS = 2;
const ROUNDS = 7;
const NEW_TOKENS = 32;
const PROMPT_TOKENS = 64;
const QUESTIONS_PER_DIFFICULTY = 2;
const SEED = 1;
const SAMPLING = parseSamplingOptions({});

/** 53M parameters. */
const RANDOM_MODEL = benchmarkConfig({
  hiddenSize: 768,
  intermediateSize: 2048,
  numHiddenLayers: 6,
  numAttentionHeads: 12,
  vocabSize: 8192,
});

/** A way to decode: measured as tokens per second, with the mean depth it had. */
interface Decoding extends Variant {
  readonly model: string;
  readonly kvPolicy: KvPolicy;
  readonly exits: string;
  readonly config: LoopLMConfig;
  /** Whether a token makes the machine read all weights; those of a prompt share them. */
  readonly isAlone: boolean;
  meanDepth: number;
}

/** Continues one prompt; the clock starts at the first token, which comes with the prefill. */
function continuation(
  engine: Engine,
  promptIds: readonly number[],
  kvPolicy: KvPolicy,
  [exits, exitPolicy]: readonly [string, ExitPolicy],
): Decoding {
  const request = { promptIds, maxNewTokens: NEW_TOKENS, exitPolicy, sampling: SAMPLING };
  const { config } = engine;
  const name = `53M random, ${kvPolicy}, ${exits}`;
  const about = { model: '53M random', kvPolicy, exits, name, config };
  const decoding = { ...about, isAlone: true, meanDepth: 0 };
  return Object.assign(decoding, {
    async measure(this: Decoding) {
      let [start, depths] = [0, 0];
      for await (const event of engine.generate([{ ...request, kvPolicy }])) {
        if (event.kind !== 'token') continue;
        if (event.tokenIndex === 0) start = performance.now();
        else depths += event.exitDepth;
      }
      this.meanDepth = depths / (NEW_TOKENS - 1);
      return (NEW_TOKENS - 1) / ((performance.now() - start) / 1000);
    },
  });
}

/** Answers questions one by one, prompts included: their loops are deferred too. */
function answers(
  engine: Engine,
  prompts: readonly (readonly number[])[],
  [exits, exitPolicy]: readonly [string, ExitPolicy],
): Decoding {
  const { config } = engine;
  const name = `bundled, per-loop, ${exits}`;
  const decoding = {
    model: 'bundled, whole answers',
    kvPolicy: 'per-loop' as const,
    exits,
    name,
    config,
    isAlone: false,
    meanDepth: 0,
  };
  return Object.assign(decoding, {
    async measure(this: Decoding) {
      let [tokens, executed] = [0, 0];
      const start = performance.now();
      for (const promptIds of prompts) {
        const request = {
          promptIds,
          maxNewTokens: MAX_NEW_TOKENS,
          stopIds: config.eosTokenIds,
          exitPolicy,
          sampling: SAMPLING,
          cachePrefix: false,
        };
        for await (const event of engine.generate([{ ...request, prefill: 'deferred' }])) {
          if (event.kind !== 'finish') continue;
          executed += event.executedLoops;
          tokens += event.fullDepthLoops / config.numLoops;
        }
      }
      this.meanDepth = executed / tokens;
      return tokens / ((performance.now() - start) / 1000);
    },
  });
}

async function randomModel(device: Device): Promise<readonly Decoding[]> {
  const weights = initializeWeights(RANDOM_MODEL, SEED);
  const engine = await Engine.create({ device, config: RANDOM_MODEL, weights });
  const rng = generatorFor(SEED);
  const draw = (low: number, high: number) => uniformInt(rng, low, high);
  const promptIds = Array.from({ length: PROMPT_TOKENS }, () =>
    draw(0, RANDOM_MODEL.vocabSize - 1),
  );
  const mixed = Array.from({ length: NEW_TOKENS }, () => draw(1, RANDOM_MODEL.numLoops));
  const policies = [
    ...[4, 3, 2, 1].map((depth) => [`depth ${depth}`, fixedDepth(depth)] as const),
    ['depths 1 to 4 mixed', replay(mixed)] as const,
  ];
  return (['per-loop', 'last-exited', 'shared'] as const).flatMap((kvPolicy) =>
    policies.map((policy) => continuation(engine, promptIds, kvPolicy, policy)),
  );
}

async function bundledModel(device: Device): Promise<readonly Decoding[]> {
  const folder = nodeFolder(bundledModelPath());
  const { config, weights } = await loadCheckpoint(folder);
  const tokenizer = Tokenizer.fromJson(JSON.parse(await folder.readText('tokenizer.json')));
  const engine = await Engine.create({ device, config, weights });
  const scribe = new Scribe((text) => tokenizer.encode(text));
  const prompts = questionSets(scribe, QUESTIONS_PER_DIFFICULTY, ['uniform']).flatMap(
    ({ questions }) => questions.map(({ ids, promptLength }) => ids.slice(0, promptLength)),
  );
  return [
    ...[4, 3, 2, 1].map((depth) => [`depth ${depth}`, fixedDepth(depth)] as const),
    [`Q-exit, q = ${config.exitThreshold}`, cdfThreshold(config.exitThreshold)] as const,
  ].map((policy) => answers(engine, prompts, policy));
}

/** Bytes of float32 weights that a token reads and operations it takes, at a mean depth. */
function costOf({ config, meanDepth }: Decoding) {
  const cost = modelCost(config, { context: PROMPT_TOKENS, weights: 'f32', cacheDtype: 'f32' });
  const [first, second] = cost.byDepth as [(typeof cost.byDepth)[0], (typeof cost.byDepth)[0]];
  const at = (part: 'flopsPerToken' | 'weightBytesPerToken') =>
    first[part] + (meanDepth - 1) * (second[part] - first[part]);
  return { flops: at('flopsPerToken'), bytes: at('weightBytesPerToken') };
}

const flags = readRounds(ROUNDS);
const device = await createNodeDevice({ numThreads: THREADS });
await using roofs = await openRoofs(THREADS);
const variants = [...(await randomModel(device)), ...(await bundledModel(device))];
for (const variant of variants) await variant.measure(); // warm-up, not counted
const raw = await alternate(
  [
    { name: 'products', measure: () => roofs.product() },
    ...variants,
    { name: 'memory', measure: () => roofs.memory() },
  ],
  flags.rounds,
);
const entries = variants.map((decoding) => {
  const { name, model, kvPolicy, exits, config, meanDepth } = decoding;
  const full = variants.find(
    (other) =>
      other.model === model &&
      other.kvPolicy === kvPolicy &&
      other.exits === `depth ${config.numLoops}`,
  )!;
  const { flops, bytes } = costOf(decoding);
  const speedUp = medianRatio(raw[name]!, raw[full.name]!);
  return {
    model,
    kvPolicy,
    exits,
    meanDepth,
    tokensPerSecond: median(raw[name]!),
    speedUp,
    shareOfIdeal: (speedUp * meanDepth) / config.numLoops,
    shareOfProducts: (flops / 1e9) * medianRatio(raw[name]!, raw['products']!),
    ...(decoding.isAlone && {
      shareOfMemory: (bytes / 1e9) * medianRatio(raw[name]!, raw['memory']!),
    }),
  };
});
await device.dispose();
const result = {
  title: 'Decode speed by depth',
  settings: {
    threads: THREADS,
    rounds: flags.rounds,
    newTokens: NEW_TOKENS,
    promptTokens: PROMPT_TOKENS,
    seed: SEED,
  },
  ...provenance(),
  roofs: roofs.rounds,
  randomModel: RANDOM_MODEL,
  entries,
  raw,
};
await writeResult('generate', result, flags.json);
process.stdout.write(`${generateText(result)}\n`);
