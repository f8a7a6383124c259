/**
 * The stages that trained Ouro, in the numbers of the paper (arXiv 2510.25741 v4, its tables of stages and
 * of data, and its section on reasoning SFT).
 *
 * A file of numbers to read, to print (`looplm train --recipe ouro --plan`) and to copy from: it takes
 * 7.7 trillion tokens. What the paper does not say is chosen here and marked `ours`.
 */
import { ConfigError } from 'looplm/errors';
import { RELEASED_SHAPES } from 'looplm/model';
import type { TrainConfig } from 'looplm/train';
import { parseTrainConfig } from 'looplm/train';

export const OURO_SIZES = ['1.4b', '2.6b'] as const;
export type OuroSize = (typeof OURO_SIZES)[number];

const KI = 1024;
/** Micro-batches of one row that make so many tokens. */
const rowsOf = (tokens: number, length: number) => tokens / length;
const [FOUR_M, EIGHT_M] = [4 * KI * KI, 8 * KI * KI];

const constant = { kind: 'constant', warmupTrainSteps: 0 };
const cosine = { kind: 'cosine', warmupTrainSteps: 0, finalFraction: 0.1 }; // its end: ours

/** Parts of the first stages in percent of tokens. */
const WEB = {
  'nemotron-cc': 73.4,
  'map-cc': 13,
  'ultra-fineweb-zh': 2,
  'opencoder-pretrain': 7.5,
  'megamath-web': 4.1,
};
const ANNEALING = {
  'nemotron-cc-high-quality': 66.5,
  'nemotron-cc-math-v1': 15,
  'megamath-high-quality': 4.6,
  'opencoder-annealing': 0.5,
  'nemotron-code': 3.8,
  'nemotron-sft-code': 3.4,
  'nemotron-sft-general': 6.2,
};
/** Billions of tokens: a mix of instructions, and parts of the two stages before again. */
const MID_TRAINING = { 'instruction-mix': 90, 'pre-training': 30, annealing: 180 };
/** Millions of examples. */
const REASONING = { math: 3.5, code: 3.2, science: 0.808, chat: 0.767 };

const stage1 = (beta: number) => ({ kind: 'stage-1', beta });

function stagesOf(size: OuroSize): readonly object[] {
  return [
    {
      name: '1a pre-training, 8 loops',
      objective: stage1(0.1),
      loops: 8,
      ropeTheta: 10_000,
      learningRate: 3e-4,
      schedule: { ...constant, warmupTrainSteps: 2000 }, // its length: ours
      length: 4 * KI,
      // from 4M to 8M tokens; over how many updates: ours
      accumulate: {
        from: rowsOf(FOUR_M, 4 * KI),
        to: rowsOf(EIGHT_M, 4 * KI),
        overTrainSteps: 100_000,
      },
      tokens: 3e12,
      mixture: WEB,
    },
    {
      name: '1b pre-training, 4 loops',
      loops: 4,
      // 24 layers become 48; the order of the copies: ours
      ...(size === '2.6b' && { upcycle: { numHiddenLayers: 48, order: 'stacked' } }),
      learningRate: 3e-4,
      schedule: constant,
      length: 4 * KI,
      accumulate: rowsOf(EIGHT_M, 4 * KI),
      tokens: 3e12,
      mixture: WEB,
      optimizerState: size === '2.6b' ? 'fresh' : 'kept', // ours, as in all stages
    },
    {
      name: '2 annealing',
      ropeTheta: 40_000,
      learningRate: 3e-5,
      schedule: cosine,
      length: 16 * KI,
      accumulate: rowsOf(EIGHT_M, 16 * KI),
      tokens: 1.4e12,
      mixture: ANNEALING,
      optimizerState: 'kept',
    },
    {
      name: '3 long context',
      ropeTheta: 1_000_000,
      learningRate: 3e-5,
      schedule: constant,
      length: 64 * KI,
      accumulate: rowsOf(EIGHT_M, 64 * KI),
      tokens: 20e9,
      mixture: { 'prolong-64k': 1 },
      optimizerState: 'kept',
    },
    {
      name: '4 mid-training',
      learningRate: 1e-5,
      schedule: cosine,
      length: 32 * KI,
      accumulate: rowsOf(EIGHT_M, 32 * KI),
      tokens: 300e9,
      mixture: MID_TRAINING,
      optimizerState: 'kept',
    },
    {
      name: 'reasoning SFT',
      learningRate: 2e-5,
      schedule: cosine,
      length: 32 * KI,
      accumulate: rowsOf(KI * KI, 32 * KI), // ours
      // two epochs of 8.3M examples; their length of about 8K tokens: ours
      tokens: 2 * 8.3e6 * 8 * KI,
      mixture: REASONING,
    },
    {
      name: 'exit gate',
      objective: { kind: 'stage-2', target: 'published', k: 50, gamma: 0.005 },
      // data, length, rate and steps: ours
      learningRate: 1e-3,
      schedule: { kind: 'cosine', warmupTrainSteps: 100, finalFraction: 0.1 },
      length: 4 * KI,
      accumulate: rowsOf(KI * KI, 4 * KI),
      tokens: 2e9,
      mixture: MID_TRAINING,
    },
  ];
}

/**
 * The run that made a released model. Its layers before the second stage are 24 in both.
 *
 * @throws ConfigError if the size is none of `OURO_SIZES`
 */
export function ouroTrainConfig(size: OuroSize): TrainConfig {
  const model = RELEASED_SHAPES.get('ouro-1.4b')!;
  if (!OURO_SIZES.includes(size)) {
    throw new ConfigError(
      'size',
      `size is ${size as string}; use one of ${OURO_SIZES.join(', ')}.`,
    );
  }
  return parseTrainConfig(
    {
      model,
      objective: stage1(0.05),
      optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
      recompute: 'loop',
      spikes: {},
      rows: 1,
      logEvery: 10,
      snapshotEvery: 1000,
      evaluateEvery: 1000,
      data: { tokenizer: 'SmolLM2' },
      stages: stagesOf(size),
    },
    `the recipe of Ouro ${size}`,
  );
}
