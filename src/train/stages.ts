/**
 * The stages of a run, worked out from its settings: what each trains, how, and when.
 *
 * Everything here is a function of the settings and a train step, so a resumed run goes on as if it had
 * not stopped. A stage begins with the model that the one before left, under its own settings.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, ParameterSpec } from '../model/index.js';
import { generatorFor } from '../util/random.js';
import { withoutUndefined } from '../util/without-undefined.js';
import type { StageSettings, TrainConfig } from './config.js';
import { laneCount } from './lanes.js';
import type { Objective, ObjectiveDefinition } from './objectives/index.js';
import { checkObjective } from './objectives/index.js';
import type { Optimizer, OptimizerSettings } from './optimizers/index.js';
import { trainedParameters } from './run-parameters.js';
import type { Schedule, ScheduleFunction } from './schedule.js';
import { checkSchedule, defaultSchedule, scheduleFraction } from './schedule.js';

/** What a stage and the settings of all stages have in common, as the stage says it. */
type Shared = Pick<
  TrainConfig,
  'learningRate' | 'accumulate' | 'recompute' | 'trained' | 'backpropLoops' | 'mixture' | 'lora'
>;

/**
 * Parts of a run as values of one's own, in place of those that the settings of its stages name. Settings do not
 * hold them: who resumes a run gives the same again.
 */
export interface RunParts {
  readonly objective?: ObjectiveDefinition | undefined;
  readonly optimizer?: Optimizer | undefined;
  readonly schedule?: ScheduleFunction | undefined;
}

export interface Stage extends Shared {
  readonly objective: Objective;
  readonly optimizer: OptimizerSettings | Optimizer;
  readonly index: number;
  readonly name: string;
  /** Train steps of the run before this stage. */
  readonly firstTrainStep: number;
  readonly trainSteps: number;
  readonly schedule: Schedule | ScheduleFunction;
  /** The model as this stage trains it. */
  readonly model: LoopLMConfig;
  /** Numbers of loops that its updates may have. */
  readonly loopCounts: readonly number[];
  /** Rows and positions of a micro-batch, where the settings say them. */
  readonly rows?: number | undefined;
  readonly length?: number | undefined;
  readonly upcycle?: StageSettings['upcycle'];
  readonly keepsOptimizerState: boolean;
}

/**
 * The stages of a run in their order.
 *
 * @throws ConfigError for settings that contradict each other or do not fit the model
 */
export function stagesOf(config: TrainConfig, parts: RunParts = {}): readonly Stage[] {
  const stages: Stage[] = [];
  const faults: ConfigError[] = [];
  for (const [index, own] of (config.stages ?? [ONE_STAGE]).entries()) {
    const before = stages.at(-1);
    const stage = { ...stageOf(config, own, index, before), ...givenParts(parts) };
    const found = faultsOf(stage, before, config);
    faults.push(...(config.stages ? found.map((fault) => inStage(stage, fault)) : found));
    stages.push(stage);
  }
  faults.push(...adapterFaults(stages.at(-1)!, config));
  const [first] = faults;
  if (!first) return stages;
  const messages = faults.map(({ message }) => message);
  throw new ConfigError(first.field, messages.join(' '), { cause: first, faults: messages });
}

const givenParts = ({ objective, optimizer, schedule }: RunParts) =>
  withoutUndefined({ objective, optimizer, schedule });

function inStage({ index, name }: Stage, fault: ConfigError): ConfigError {
  const at = `stages.${index}`;
  return new ConfigError(`${at}.${fault.field}`, `${at} (${name}): ${fault.message}`);
}

const ONE_STAGE: StageSettings = { optimizerState: 'fresh' };

function stageOf(
  config: TrainConfig,
  own: StageSettings,
  index: number,
  before: Stage | undefined,
): Stage {
  const { objective, optimizer, learningRate, accumulate, recompute, trained } = config;
  const { backpropLoops, mixture, rows, length, lora } = config;
  const { loops, ropeTheta, upcycle, tokens, optimizerState, schedule, ...overrides } = own;
  const last = before?.model ?? config.model;
  const range = typeof loops === 'number' ? { from: loops, to: loops } : loops;
  const model: LoopLMConfig = {
    ...last,
    ...(range && { numLoops: range.to }),
    ...(ropeTheta !== undefined && { ropeTheta }),
    ...(upcycle && { numHiddenLayers: upcycle.numHiddenLayers }),
  };
  const { from, to } = range ?? { from: model.numLoops, to: model.numLoops };
  const shared = { objective, optimizer, learningRate, accumulate, recompute, trained };
  const settings = {
    ...shared,
    lora,
    backpropLoops,
    mixture,
    rows,
    length,
    ...withoutUndefined(overrides),
  };
  const trainSteps =
    tokens === undefined
      ? (own.trainSteps ?? config.trainSteps)
      : trainStepsOfTokens(tokens, settings, index);
  return {
    ...settings,
    index,
    name: own.name ?? `stage ${index + 1}`,
    firstTrainStep: before ? before.firstTrainStep + before.trainSteps : 0,
    trainSteps,
    schedule: schedule ?? config.schedule ?? defaultSchedule(trainSteps),
    model,
    loopCounts: Array.from({ length: to - from + 1 }, (_, more) => from + more),
    upcycle,
    keepsOptimizerState: optimizerState === 'kept',
  };
}

/** What is wrong with several settings of one stage together. */
function faultsOf(stage: Stage, before: Stage | undefined, config: TrainConfig): ConfigError[] {
  const { model, objective, trained, schedule, trainSteps, upcycle, loopCounts } = stage;
  const checks = [
    () => checkSchedule(schedule, trainSteps),
    () => loopCounts.forEach((numLoops) => checkObjective({ ...model, numLoops }, objective)),
    () => (stage.lora || Array.isArray(trained)) && trainedSpecs(stage),
    () => upcycle && stage.lora && failUpcycled(),
    () => upcycle && checkUpcycle(upcycle.numHiddenLayers, (before ?? config).model),
    () => stage.length !== config.length && checkLength(stage),
    () => stage.keepsOptimizerState && checkKeeps(stage, before),
  ];
  return checks.flatMap((check) => {
    try {
      check();
      return [];
    } catch (error) {
      if (error instanceof ConfigError) return [error];
      throw error;
    }
  });
}

function checkLength({ length, model: { maxPositionEmbeddings } }: Stage): void {
  if (length === undefined || length <= maxPositionEmbeddings) return;
  throw new ConfigError(
    'length',
    `length is ${length}, and the model has ${maxPositionEmbeddings} positions (max_position_embeddings). Shorten the rows, or give it more positions.`,
  );
}

function checkUpcycle(wanted: number, { numHiddenLayers }: LoopLMConfig): void {
  if (wanted % numHiddenLayers === 0 && wanted > numHiddenLayers) return;
  throw new ConfigError(
    'upcycle',
    `upcycle.numHiddenLayers is ${wanted}, and the model before has ${numHiddenLayers} layers; it must be 2, 3, ... times as many.`,
  );
}

function checkKeeps(stage: Stage, before: Stage | undefined): void {
  const same = (value: (of: Stage) => unknown) =>
    before && JSON.stringify(value(stage)) === JSON.stringify(value(before));
  const isSame =
    same(kindOfOptimizer) &&
    same((of) => trainedNames(of)) &&
    same(({ model }) => model.numHiddenLayers);
  if (isSame) return;
  throw new ConfigError(
    'optimizerState',
    'optimizerState is "kept", and the stage before trains other parameters or with another kind of optimizer. Say "fresh", or leave it out.',
  );
}

/** Optimizers of one kind keep the same. */
const kindOfOptimizer = ({ optimizer }: Stage) =>
  'step' in optimizer
    ? 'its own'
    : [optimizer.kind ?? 'adamw', optimizer.averageDecay === undefined];

const trainedNames = (stage: Stage) => trainedSpecs(stage).map(({ hfName }) => hfName);

/** Devices that a run is spread over, by the rows of its stages. */
export function lanesOf(stages: readonly Stage[], numThreads: number): number {
  return laneCount(
    stages.map(({ rows = 1 }) => rows),
    numThreads,
  );
}

/** The parameters that a stage trains. */
export function trainedSpecs(stage: Stage): readonly ParameterSpec[] {
  return trainedParameters(stage.model, stage);
}

function failUpcycled(): never {
  throw new ConfigError(
    'upcycle',
    'upcycle copies layers and lora trains an adapter beside those that are there. Leave one of them out.',
  );
}

/** An adapter is loaded beside its model as that is, and says nothing of loops and positions. */
function adapterFaults({ index, model, lora }: Stage, config: TrainConfig): ConfigError[] {
  if (!lora) return [];
  const changed = (
    [
      ['loops', model.numLoops, config.model.numLoops],
      ['ropeTheta', model.ropeTheta, config.model.ropeTheta],
    ] as const
  ).filter(([, last, own]) => last !== own);
  return changed.map(
    ([key, last, own]) =>
      new ConfigError(
        `stages.${index}.${key}`,
        `The run ends with ${key} ${last}, and an adapter is loaded beside a model with ${own}. End with ${own}, leave ${key} out, or train without lora.`,
      ),
  );
}

/** Train steps until so many tokens are read, padding included. */
function trainStepsOfTokens(
  tokens: number,
  { rows, length, accumulate }: Pick<Stage, 'rows' | 'length' | 'accumulate'>,
  index: number,
): number {
  if (rows === undefined || length === undefined) {
    throw new ConfigError(
      `stages.${index}.tokens`,
      `stages.${index}.tokens is ${tokens}, and rows and length of its batches are not said. Give them, or trainSteps.`,
    );
  }
  const microBatches = tokens / (rows * length);
  const ramp = typeof accumulate === 'number' ? undefined : accumulate;
  let done = 0;
  let trainStep = 0;
  for (; ramp && trainStep < ramp.overTrainSteps && done < microBatches; trainStep++) {
    done += accumulateAt({ accumulate }, trainStep);
  }
  const left = Math.max(0, microBatches - done);
  return Math.max(1, trainStep + Math.ceil(left / accumulateAt({ accumulate }, trainStep)));
}

/**
 * Micro-batches of an update.
 *
 * @param trainStep - of the stage, from 0
 */
export function accumulateAt({ accumulate }: Pick<Stage, 'accumulate'>, trainStep: number): number {
  if (typeof accumulate === 'number') return accumulate;
  const { from, to, overTrainSteps } = accumulate;
  const fraction = Math.min(1, trainStep / overTrainSteps);
  return Math.round(from + (to - from) * fraction);
}

/** Micro-batches of a stage before one of its updates. */
export function microBatchesBefore(stage: Pick<Stage, 'accumulate'>, trainStep: number): number {
  const { accumulate } = stage;
  if (typeof accumulate === 'number') return accumulate * trainStep;
  const inRamp = Math.min(trainStep, accumulate.overTrainSteps);
  let sum = 0;
  for (let step = 0; step < inRamp; step++) sum += accumulateAt(stage, step);
  return sum + (trainStep - inRamp) * accumulate.to;
}

/** Loops of an update, drawn for it from the run's seed where a stage has several. */
export function loopsAt(
  { loopCounts, firstTrainStep }: Pick<Stage, 'loopCounts' | 'firstTrainStep'>,
  trainStep: number,
  seed: number,
): number {
  if (loopCounts.length === 1) return loopCounts[0]!;
  const rng = generatorFor(seed, LOOP_DRAWS, firstTrainStep + trainStep);
  return loopCounts[uniformInt(rng, 0, loopCounts.length - 1)]!;
}

/** Tells these draws from those of the data. */
const LOOP_DRAWS = 0x6c6f6f70;

export function learningRateAt(
  { learningRate, schedule, trainSteps }: Pick<Stage, 'learningRate' | 'schedule' | 'trainSteps'>,
  trainStep: number,
): number {
  return learningRate * scheduleFraction(schedule, trainStep, trainSteps);
}

/** Tokens that a stage reads, padding included; undefined where the size of its batches is not said. */
export function tokensOf(stage: Stage): number | undefined {
  const { rows, length, trainSteps } = stage;
  if (rows === undefined || length === undefined) return undefined;
  return rows * length * microBatchesBefore(stage, trainSteps);
}

/**
 * Updates since the optimizer's slots were fresh, at an update of a stage: it counts through stages that
 * keep them.
 */
export function optimizerStepAt(stages: readonly Stage[], stage: Stage, trainStep: number): number {
  let first = stage;
  while (first.keepsOptimizerState) first = stages[first.index - 1]!;
  return stage.firstTrainStep - first.firstTrainStep + trainStep;
}
