/** Objectives, optimizer, schedules and the training loop. */
export type { AdamWOptions } from './adamw.js';
export type { Evaluation, EvaluationRecord, MetricRecord } from './metrics.js';
export { METRICS_FILE, parseMetrics } from './metrics.js';
export type { MetricName, Objective, ObjectiveGraph, ObjectiveOptions } from './objective.js';
export { checkObjective, gradientOutputs, objectiveGraph } from './objective.js';
export type { Schedule } from './schedule.js';
export { checkSchedule, scheduleFraction } from './schedule.js';
export type { Snapshot } from './snapshot.js';
export { SNAPSHOT_FILE, readSnapshot, writeSnapshot } from './snapshot.js';
export type { TrainStateOptions, UpdateMetrics } from './state.js';
export { TrainState, batchFeeds, countTargets } from './state.js';
export type { TrainingMemory } from './training-memory.js';
export { trainingMemory } from './training-memory.js';
export type { TrainConfig, TrainOptions, TrainResult } from './trainer.js';
export { train } from './trainer.js';
