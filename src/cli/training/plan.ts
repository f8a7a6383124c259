/**
 * What a run would do, stage by stage, from its settings alone: how long, on how much, and in how much
 * memory.
 */
import { ConfigError } from '../../errors.js';
import type { ModelFormat } from '../../model/index.js';
import { showBytes } from '../../model/index.js';
import type { Stage, TrainConfig } from '../../train/index.js';
import { accumulateAt, lanesOf, stageMemory, stagesOf, tokensOf } from '../../train/index.js';
import { short, table } from '../table.js';

/** A stage in numbers. */
export interface PlannedStage {
  readonly name: string;
  readonly objective: string;
  readonly numLoops: readonly number[];
  readonly numHiddenLayers: number;
  readonly ropeTheta: number;
  readonly learningRate: number;
  readonly schedule: string;
  readonly trainSteps: number;
  /** Tokens of all its batches, padding included. */
  readonly tokens: number;
  readonly length: number;
  /** Tokens of its first update and of its last. */
  readonly updateTokens: readonly [first: number, last: number];
  /** Estimate for a machine that runs it alone. */
  readonly memoryBytes: number;
  readonly mixture?: Readonly<Record<string, number>> | undefined;
}

/**
 * @param format - of the weights that an adapter is beside, if they are of a converted model
 * @throws ConfigError for settings that contradict, or do not say how large a micro-batch is
 */
export function planOf(
  config: TrainConfig,
  numThreads: number,
  format?: ModelFormat,
): readonly PlannedStage[] {
  const stages = stagesOf(config);
  const numLanes = lanesOf(stages, numThreads);
  return stages.map((stage) => plannedStage(stage, { numLanes, format }));
}

function plannedStage(
  stage: Stage,
  device: NonNullable<Parameters<typeof stageMemory>[1]>,
): PlannedStage {
  const { name, objective, model, loopCounts, learningRate, schedule, trainSteps } = stage;
  const { rows, length, mixture } = stage;
  const tokens = tokensOf(stage);
  if (rows === undefined || length === undefined || tokens === undefined) {
    throw new ConfigError('rows', `rows and length of ${name} are not said; give both.`);
  }
  const tokensAt = (trainStep: number) => rows * length * accumulateAt(stage, trainStep);
  return {
    name,
    objective: 'beta' in objective ? `${objective.kind}, beta ${objective.beta}` : objective.kind,
    numLoops: [...new Set([loopCounts[0]!, loopCounts.at(-1)!])],
    numHiddenLayers: model.numHiddenLayers,
    ropeTheta: model.ropeTheta,
    learningRate,
    schedule: typeof schedule === 'function' ? 'its own' : schedule.kind,
    trainSteps,
    tokens,
    length,
    updateTokens: [tokensAt(0), tokensAt(trainSteps - 1)],
    memoryBytes: stageMemory(stage, device).totalBytes,
    mixture,
  };
}

const TEXT_COLUMNS = [0, 1, 8];

/** The plan as a table, and its sums. */
export function describePlan(stages: readonly PlannedStage[]): string {
  const heading = ['stage', 'objective', 'loops', 'layers', 'steps', 'tokens', 'length'];
  const more = ['an update', 'rate', 'memory'];
  const rows = stages.map((stage) => [
    stage.name,
    stage.objective,
    stage.numLoops.join(' to '),
    String(stage.numHiddenLayers),
    short(stage.trainSteps),
    short(stage.tokens),
    String(stage.length),
    [...new Set(stage.updateTokens.map(short))].join(' to '),
    `${stage.learningRate} ${stage.schedule}`,
    showBytes(stage.memoryBytes),
  ]);
  const sum = (value: (stage: PlannedStage) => number) =>
    short(stages.reduce((total, stage) => total + value(stage), 0));
  return [
    ...table([[...heading, ...more], ...rows], { indent: '', textColumns: TEXT_COLUMNS }),
    `In all ${sum(({ trainSteps }) => trainSteps)} train steps of ${sum(({ tokens }) => tokens)} tokens; memory is that of one machine.`,
  ].join('\n');
}
