/** Where a stage gets the batches of its updates, and which they are after a run went back for a spike. */
import type { BatchSource, TrainingBatch } from '../data/index.js';
import { ConfigError } from '../errors.js';
import { withExitQuantiles } from './exit-quantiles.js';
import type { PolicyMoment, PolicySource } from './policy-source.js';
import type { Rollback } from './spikes.js';
import type { Stage } from './stages.js';
import { accumulateAt, microBatchesBefore } from './stages.js';

/** One source for all stages, or one for each, which is asked for when the stage begins. */
export type RunSource = BatchSource | ((stage: Stage) => BatchSource | Promise<BatchSource>);

export interface StageBatches {
  readonly rows: number;
  readonly length: number;
  /** The micro-batches of an update, by its train step in the run. */
  batchesAt(
    trainStep: number,
    policy: Omit<PolicyMoment, 'trainStep'>,
  ): Promise<readonly TrainingBatch[]>;
  /** If the batches depend on the weights, so that they cannot be drawn ahead of an update. */
  readonly policy?: PolicySource;
}

/**
 * Opens the source of a stage.
 *
 * @param rollbacks - spikes so far: the data that were read before them are not read again
 * @throws ConfigError if its batches have another size than the stage says
 */
export async function openBatches(
  source: RunSource | PolicySource,
  stage: Stage,
  rollbacks: readonly Rollback[],
): Promise<StageBatches> {
  const skipped = skippedBy(rollbacks);
  if ('batchesFor' in source) {
    checkSize(source, stage);
    return {
      rows: source.rows,
      length: source.length,
      batchesAt: (trainStep, policy) =>
        source.batchesFor({ ...policy, trainStep: trainStep + skipped }),
      policy: source,
    };
  }
  const opened = await openSource(source, stage);
  const skippedInStage = skippedBy(
    rollbacks.filter(({ backTo }) => backTo >= stage.firstTrainStep),
  );
  return {
    rows: opened.rows,
    length: opened.length,
    async batchesAt(trainStep) {
      const inStage = trainStep - stage.firstTrainStep;
      return drawUpdate(opened, {
        trainStep: trainStep + skipped,
        first: microBatchesBefore(stage, inStage + skippedInStage),
        count: accumulateAt(stage, inStage),
      });
    },
  };
}

/**
 * The source of a stage, with exits where it trains with them.
 *
 * @throws ConfigError if its batches have another size than the stage says
 */
export async function openSource(source: RunSource, stage: Stage): Promise<BatchSource> {
  const opened = typeof source === 'function' ? await source(stage) : source;
  checkSize(opened, stage);
  const { objective } = stage;
  // One of a run's own has its exits in the batches.
  if ('loss' in objective || !('exits' in objective) || !objective.exits) return opened;
  return withExitQuantiles(opened, objective.exits);
}

/**
 * The micro-batches of an update.
 *
 * @param update.first - micro-batches of the stage before it
 */
export async function drawUpdate(
  source: BatchSource,
  update: { readonly trainStep: number; readonly first: number; readonly count: number },
): Promise<readonly TrainingBatch[]> {
  const { trainStep, first, count } = update;
  const batches = Array.from({ length: count }, (_, microBatch) =>
    Promise.resolve(source.batchAt(trainStep, microBatch, first + microBatch)),
  );
  return Promise.all(batches);
}

/** Updates that were thrown away. */
function skippedBy(rollbacks: readonly Rollback[]): number {
  return rollbacks.reduce((sum, { trainStep, backTo }) => sum + trainStep - backTo, 0);
}

function checkSize(source: Pick<BatchSource, 'rows' | 'length'>, stage: Stage): void {
  for (const side of ['rows', 'length'] as const) {
    if (stage[side] === undefined || stage[side] === source[side]) continue;
    throw new ConfigError(
      side,
      `${side} of ${stage.name} is ${stage[side]}, and its source has batches of ${source[side]}. Give a source for each stage.`,
    );
  }
}
