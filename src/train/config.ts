/**
 * The settings of a run, as files hold them and as code uses them: one schema.
 *
 * A run is a list of stages. What its stages have in common stands at the top; `stages` says, for each,
 * what differs. Without `stages` the run is one stage. stages.ts works out what each stage is.
 * Everything that decides the result is here; what the keys mean is documented in docs/training.md.
 */
import { z } from 'zod';
import type { LoopLMConfig } from '../model/index.js';
import { loraSettings, MAX_NUM_LOOPS } from '../model/index.js';
import { parseFields } from '../util/parse-fields.js';
import {
  decayNumber,
  numberBetween,
  positiveNumber,
  rule,
  section,
  text,
  wholeNumber,
  word,
} from '../util/setting-fields.js';

const MAX_TRAIN_STEPS = 1e9;
const trainSteps = wholeNumber(1, MAX_TRAIN_STEPS);
const warmupTrainSteps = wholeNumber(0, MAX_TRAIN_STEPS).default(0);
const finalFraction = numberBetween(0, 1).default(0.1);

/** Exits in the forward pass: part of the documents, and the quantiles at which their tokens exit. */
const exits = section({
  share: numberBetween(0, 1).default(0.75),
  from: numberBetween(0, 1).default(0.05),
  to: numberBetween(0, 1).default(0.9),
}).refine(({ from, to }) => from <= to, rule('a range whose from is not above its to'));

const objective = z.discriminatedUnion(
  'kind',
  [
    section({
      kind: z.literal('stage-1'),
      beta: numberBetween(0, 1000).default(0.1),
      exits: exits.optional(),
    }),
    section({
      kind: z.literal('stage-2'),
      target: word(['published', 'forward']),
      k: positiveNumber(1e6).default(50),
      gamma: numberBetween(-1e6, 1e6).default(0.005),
    }),
    section({ kind: z.literal('last-loop') }),
  ],
  rule('an object whose kind is "stage-1", "stage-2" or "last-loop"'),
);

const schedule = z.discriminatedUnion(
  'kind',
  [
    section({ kind: z.literal('constant'), warmupTrainSteps }),
    section({ kind: z.literal('cosine'), warmupTrainSteps, finalFraction }),
    section({
      kind: z.literal('wsd'),
      warmupTrainSteps,
      decayTrainSteps: trainSteps,
      finalFraction,
    }),
  ],
  rule('an object whose kind is "constant", "cosine" or "wsd"'),
);

const adamW = {
  beta1: decayNumber().default(0.9),
  beta2: decayNumber().default(0.95),
  epsilon: positiveNumber(1).default(1e-8),
  weightDecay: numberBetween(0, 1000).default(0.1),
  clipNorm: z
    .union([positiveNumber(1e30), z.literal('off')], rule('a number above 0, or "off"'))
    .default(1),
  averageDecay: decayNumber().optional(),
};
const optimizer = z.discriminatedUnion(
  'kind',
  [
    section({ kind: z.literal('adamw').optional(), ...adamW }),
    section({
      kind: z.literal('muon'),
      momentum: decayNumber().default(0.95),
      iterations: wholeNumber(1, 100).default(5),
      ...adamW,
    }),
  ],
  rule('an object whose kind is "adamw" or "muon"'),
);

const MAX_MICRO_BATCHES = 1e6;
const microBatches = wholeNumber(1, MAX_MICRO_BATCHES);
const accumulate = z.union(
  [
    microBatches,
    // the ramp is walked through once to count tokens
    section({ from: microBatches, to: microBatches, overTrainSteps: wholeNumber(1, 1e6) }),
  ],
  rule(
    `a whole number from 1 to ${MAX_MICRO_BATCHES}, or an object with from, to and overTrainSteps`,
  ),
);

const numLoops = wholeNumber(1, MAX_NUM_LOOPS);
const loops = z.union(
  [
    numLoops,
    section({ from: numLoops, to: numLoops }).refine(
      ({ from, to }) => from <= to,
      rule('a range whose from is not above its to'),
    ),
  ],
  rule(`a whole number from 1 to ${MAX_NUM_LOOPS}, or an object with from and to`),
);

const trained = z.union(
  [z.literal('all'), z.literal('gate'), z.array(text()).min(1)],
  rule('"all", "gate" or a list of names of parameters, in which * stands for any characters'),
);

const mixture = z
  .record(z.string(), numberBetween(0, 1e9), rule('an object of names and weights'))
  .refine(
    (weights) => Object.values(weights).some((weight) => weight > 0),
    rule('weights of which at least one is above 0'),
  );

/** What every stage has. */
const common = {
  objective: objective.prefault({ kind: 'stage-1' }),
  optimizer: optimizer.prefault({}),
  /** Peak learning rate. */
  learningRate: positiveNumber(100).default(0.001),
  /** Default: a cosine after a short warm-up. */
  schedule: schedule.optional(),
  trainSteps: trainSteps.default(1000),
  /** Micro-batches whose gradients are added up for one update; a ramp grows in equal steps. */
  accumulate: accumulate.default(1),
  recompute: word(['none', 'loop']).default('none'),
  /** Default: what the objective trains. */
  trained: trained.optional(),
  /** Loops through which gradients flow back at most. Default: all. */
  backpropLoops: numLoops.optional(),
  /** Weights of data sources by name. */
  mixture: mixture.optional(),
};

/** What a stage may say of its own. */
const stage = section({
  name: text().optional(),
  objective: objective.optional(),
  optimizer: optimizer.optional(),
  learningRate: positiveNumber(100).optional(),
  schedule: schedule.optional(),
  trainSteps: trainSteps.optional(),
  /** In place of `trainSteps`: as many as read so many tokens. */
  tokens: positiveNumber(1e18).optional(),
  accumulate: accumulate.optional(),
  recompute: common.recompute.unwrap().optional(),
  trained: trained.optional(),
  backpropLoops: numLoops.optional(),
  mixture: mixture.optional(),
  /** Rows and positions of a micro-batch. Default: those of the data. */
  rows: wholeNumber(1, 2 ** 16).optional(),
  length: wholeNumber(1, 2 ** 20).optional(),
  /** Loops of the model from here on, or a range from which each update draws. */
  loops: loops.optional(),
  /** Base of the rotary angles from here on. */
  ropeTheta: positiveNumber(1e12).optional(),
  /** More layers, copied from those that are there, before the stage begins. */
  upcycle: section({
    numHiddenLayers: wholeNumber(2, 1000),
    order: word(['interleaved', 'stacked']),
  }).optional(),
  /** Whether the optimizer goes on with what it kept in the stage before. */
  optimizerState: word(['fresh', 'kept']).default('fresh'),
}).refine(
  ({ tokens, trainSteps: own }) => tokens === undefined || own === undefined,
  rule('a stage with trainSteps or tokens, not both'),
);

/** What is a spike, and how often a run goes back; docs/math.md (spikes). */
const spikes = section({
  /** Train steps that a loss is compared with. */
  window: wholeNumber(8, 10_000).default(128),
  /** Standard deviations above their mean. */
  deviations: positiveNumber(1e6).default(7),
  maxRollbacks: wholeNumber(0, 1000).default(3),
});

/** How machines that train together exchange what they have learnt; docs/many-machines.md. */
const outer = section({
  /** Train steps that each machine does between two exchanges, H. */
  everyTrainSteps: trainSteps.default(100),
  /** Of the outer optimizer, Nesterov's momentum. Source: DiLoCo (arXiv 2311.08105). */
  learningRate: positiveNumber(100).default(0.7),
  momentum: decayNumber().default(0.9),
  /** How deltas are stored: exact, or in 8 bits with a scale for each block. */
  deltas: word(['f32', 'int8']).default('f32'),
  /** Machines that a run waits for before it begins. */
  startWith: wholeNumber(1, 100_000).default(1),
  /** Rounds between two snapshots in the store. */
  snapshotEvery: wholeNumber(1, 1e6).default(10),
  /** Seconds without a sign of life after which a machine is not waited for. */
  silence: positiveNumber(86_400).default(30),
  /** How long one that is done waits for the slower ones, in times what its own round took. */
  patience: numberBetween(0, 1000).default(1),
});

/** The keys of a run that concern training; a file adds those of its data. */
export const trainingFields = {
  /** Of fresh weights and of the order of the data. */
  seed: wholeNumber(0, 2 ** 32 - 1).default(0),
  ...common,
  stages: z.array(stage, rule('a list of stages')).min(1, rule('a list of stages')).optional(),
  /** An adapter, which is trained in place of the weights of the model. */
  lora: loraSettings.optional(),
  /** `off` is not to look for any. */
  spikes: z.union([z.literal('off'), spikes], rule('an object, or "off"')).prefault({}),
  /** For many machines only. */
  outer: outer.optional(),
  /** Train steps between metric records, and between snapshots. */
  logEvery: trainSteps.default(10),
  snapshotEvery: trainSteps.default(100),
};

const trainConfigSchema = section({
  model: z.custom<LoopLMConfig>(),
  /** Name of the model that the weights are from, if they are not fresh. */
  from: text().optional(),
  /** What tells those weights from others, where they are in no snapshot: with `lora`. */
  fromSha256: text().optional(),
  ...trainingFields,
  spikes: trainingFields.spikes.unwrap().optional(),
  /** Rows and positions of a micro-batch, for stages that say none. Default: those of the source. */
  rows: stage.shape.rows,
  length: stage.shape.length,
  /** Train steps between evaluations. */
  evaluateEvery: trainSteps,
  /** What tells the data from other data, such as a checksum; a run only resumes on the same. */
  data: z.record(z.string(), z.union([z.string(), z.number()])),
});

/** Everything that decides the result of a run; written beside every snapshot. */
export type TrainConfig = Readonly<z.output<typeof trainConfigSchema>>;
/**
 * Settings of unknown origin as those of a run. `model` is taken as it is.
 *
 * @throws ConfigError that tells all that is wrong with them
 */
export function parseTrainConfig(json: unknown, what: string): TrainConfig {
  return parseFields(trainConfigSchema, json, what);
}

export type StageSettings = NonNullable<TrainConfig['stages']>[number];
export type SpikeSettings = z.output<typeof spikes>;
export type OuterSettings = z.output<typeof outer>;

/** Settings of many machines for who says none. */
export const DEFAULT_OUTER: OuterSettings = outer.parse({});
