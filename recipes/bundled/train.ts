/**
 * The training run of the bundled model and of the two models it is compared with.
 *
 * Nothing runs here: a run is returned whole, for the command line to train.
 */
import type { BatchSource } from 'looplm/data';
import { generatedSource } from 'looplm/data';
import type { EngineOptions } from 'looplm/engine';
import { ConfigError } from 'looplm/errors';
import type { Folder, ModelWeights } from 'looplm/model';
import { initializeWeights } from 'looplm/model';
import { Tokenizer } from 'looplm/tokenizer';
import type { Evaluation, TrainConfig } from 'looplm/train';
import type { Variant } from './configs.js';
import { LENGTH, ROWS, SEED, TRAIN_STEPS, modelConfig, trainConfig } from './configs.js';
import { Course } from './course.js';
import { Scribe } from './documents.js';
import { FIRST_TASK, TASKS } from './tasks/index.js';
import { tokenizerFiles, tokenizerJson } from './tokenizer.js';

/** Share of right answers at which a lesson counts as learnt. */
const LEARNT = 0.75;
/** Train steps between looks at problems of every difficulty. */
const UNIFORM_EVERY = 200;
/** Train step from which a chat may go from one problem to another: single ones are understood by then. */
const MIXED_FROM = 3000;

export interface BundledRunOptions {
  readonly variant: Variant;
  /** Default `SEED`. */
  readonly seed?: number;
  /** Default `TRAIN_STEPS`. */
  readonly trainSteps?: number;
  /** The run's folder: which lessons are open is in its metrics. */
  readonly folder: Folder;
  /** The folder of another run, whose lessons this one is shown in place of its own. */
  readonly like?: Folder;
}

/** All that a trainer needs, and the files that belong beside the trained weights. */
export interface BundledRun {
  readonly config: TrainConfig;
  readonly source: BatchSource;
  /** Fresh, from the run's seed. */
  readonly weights: ModelWeights;
  /** Text by file name. */
  readonly extraFiles: Readonly<Record<string, string>>;
  evaluate(
    model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
    trainStep: number,
  ): Promise<{ readonly evaluation: Evaluation; readonly sentence: string }>;
}

/**
 * The run of a variant. Runs that are `like` the same one see the same problems in the same order.
 *
 * @throws ConfigError for `trainSteps` that is no whole number above 0
 */
export async function bundledRun({
  variant,
  seed = SEED,
  trainSteps = TRAIN_STEPS,
  folder,
  like,
}: BundledRunOptions): Promise<BundledRun> {
  if (!Number.isSafeInteger(trainSteps) || trainSteps < 1) {
    throw new ConfigError(
      'trainSteps',
      `trainSteps is ${trainSteps}; it must be a whole number from 1 up.`,
    );
  }
  const tokenizer = Tokenizer.fromJson(tokenizerJson());
  const model = modelConfig(tokenizer.vocabSize, variant);
  const options = {
    tasks: TASKS,
    first: FIRST_TASK,
    learnt: LEARNT,
    mixedFrom: MIXED_FROM,
    scribe: new Scribe((text) => tokenizer.encode(text)),
    maxLength: LENGTH,
    uniformEvery: UNIFORM_EVERY,
  };
  const course = like ? await Course.follow(like, options) : await Course.open(folder, options);
  return {
    config: trainConfig(model, variant, trainSteps, seed),
    source: generatedSource({
      documents: (rng, trainStep) => course.document(rng, trainStep),
      rows: ROWS,
      length: LENGTH,
      seed,
    }),
    weights: initializeWeights(model, seed, { matrixStd: 'fanIn', embeddingStd: 1 }),
    extraFiles: tokenizerFiles(),
    async evaluate(of, trainStep) {
      const evaluation = await course.evaluate(of, trainStep);
      return { evaluation, sentence: course.describe(trainStep, evaluation) };
    },
  };
}
