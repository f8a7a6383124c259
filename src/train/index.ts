/** Objectives, optimizers, stages and the training loop. */
export { batchFeeds, countTargets } from './batch-feeds.js';
export type { OuterSettings, SpikeSettings, StageSettings, TrainConfig } from './config.js';
export { DEFAULT_OUTER, parseTrainConfig, trainingFields } from './config.js';
export type {
  Evaluation,
  EvaluationRecord,
  MetricRecord,
  RollbackRecord,
  RunRecord,
} from './metrics.js';
export { METRICS_FILE, parseMetrics } from './metrics.js';
export { withExitQuantiles } from './exit-quantiles.js';
export { laneCount } from './lanes.js';
export type { MetricName, ObjectiveGraph, ObjectiveOptions } from './objective-graph.js';
export { diagnosedOutputs, gradientOutputs, objectiveGraph } from './objective-graph.js';
export type {
  ExitInput,
  ExtraInput,
  LossParts,
  Objective,
  ObjectiveDefinition,
  ObjectiveSettings,
} from './objectives/index.js';
export { EXIT_QUANTILE, checkObjective, objectiveOf } from './objectives/index.js';
export type { ExitSettings } from './objectives/index.js';
export type {
  AdamWOptions,
  MuonOptions,
  Optimizer,
  OptimizerSettings,
  ParameterUpdate,
  Slot,
  UpdateMoment,
  UpdateRule,
} from './optimizers/index.js';
export { CompiledUpdate, optimizerOf } from './optimizers/index.js';
export type { TrainTogetherOptions } from './parallel/index.js';
export { MEMBER_FILE, trainTogether } from './parallel/index.js';
export type { PolicyMoment, PolicySource } from './policy-source.js';
export type { Schedule, ScheduleFunction } from './schedule.js';
export { checkSchedule, defaultSchedule, scheduleFraction } from './schedule.js';
export type { Snapshot } from './snapshot.js';
export { SNAPSHOT_FILE, readSnapshot, writeSnapshot } from './snapshot.js';
export type { PassedSpike, Rollback } from './spikes.js';
export { spikeThreshold } from './spikes.js';
export type { RunSource } from './stage-batches.js';
export type { RunParts, Stage } from './stages.js';
export {
  accumulateAt,
  lanesOf,
  learningRateAt,
  loopsAt,
  microBatchesBefore,
  stagesOf,
  tokensOf,
  trainedSpecs,
} from './stages.js';
export type {
  Exchange,
  LoopDiagnostics,
  TrainedWeights,
  TrainStateOptions,
  UpdateMetrics,
  UpdateOutcome,
} from './state.js';
export { TrainState } from './state.js';
export type { TokenOutputs } from './token-outputs.js';
export { TokenScorer } from './token-outputs.js';
export type { TrainableSet } from './trainable.js';
export { trainableSpecs } from './trainable.js';
export type { TrainingMemory } from './training-memory.js';
export { stageMemory, trainingMemory } from './training-memory.js';
export type { StageResult, TrainOptions, TrainResult } from './trainer.js';
export { train } from './trainer.js';
export type { CopyOrder } from './upcycle.js';
export { upcycle } from './upcycle.js';
