/**
 * The training run of the bundled model and of the two models it is compared with.
 *
 * Nothing runs here: a run is returned whole, for the command line or a script to train.
 */
import type { BatchSource } from 'looplm/data';
import { generatedSource } from 'looplm/data';
import { ConfigError } from 'looplm/errors';
import type { ModelWeights } from 'looplm/model';
import { initializeWeights } from 'looplm/model';
import { Tokenizer } from 'looplm/tokenizer';
import type { TrainConfig } from 'looplm/train';
import type { Variant } from './configs.js';
import { LENGTH, ROWS, SEED, bundledModelConfig, bundledTrainConfig } from './configs.js';
import { bundledDocuments } from './curriculum.js';
import { TASKS } from './tasks.js';
import { bundledTokenizerConfig, bundledTokenizerJson } from './tokenizer.js';

/** Optimizer updates of the shipped model. */
export const BUNDLED_TRAIN_STEPS = 3600;

export interface BundledRunOptions {
  readonly variant: Variant;
  /** Default `BUNDLED_TRAIN_STEPS`; the curriculum and the schedule stretch with it. */
  readonly trainSteps?: number;
}

/** All that a trainer needs, and the files that belong beside the trained weights. */
export interface BundledRun {
  readonly config: TrainConfig;
  readonly source: BatchSource;
  /** Fresh, from the recipe's seed. */
  readonly weights: ModelWeights;
  /** Text by file name. */
  readonly extraFiles: Readonly<Record<string, string>>;
}

/**
 * The run of a variant. All variants see the same problems in the same order.
 *
 * @throws ConfigError if `trainSteps` is shorter than the warm-up, when the run is trained.
 */
export function bundledRun({
  variant,
  trainSteps = BUNDLED_TRAIN_STEPS,
}: BundledRunOptions): BundledRun {
  if (!Number.isSafeInteger(trainSteps) || trainSteps < 1) {
    throw new ConfigError(
      'trainSteps',
      `trainSteps is ${trainSteps}; it must be a whole number from 1 up.`,
    );
  }
  const tokenizerJson = bundledTokenizerJson();
  const tokenizer = Tokenizer.fromJson(tokenizerJson);
  const model = bundledModelConfig(tokenizer.vocabSize, variant);
  const documents = bundledDocuments({
    encode: (text) => tokenizer.encode(text),
    tasks: Object.values(TASKS),
    totalTrainSteps: trainSteps,
  });
  return {
    config: bundledTrainConfig(model, variant, trainSteps),
    source: generatedSource({ documents, rows: ROWS, length: LENGTH, seed: SEED }),
    weights: initializeWeights(model, SEED, { matrixStd: 'fanIn', embeddingStd: 1 }),
    extraFiles: {
      'tokenizer.json': JSON.stringify(tokenizerJson),
      'tokenizer_config.json': `${JSON.stringify(bundledTokenizerConfig(), null, 2)}\n`,
    },
  };
}
