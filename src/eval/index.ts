/**
 * Measuring a looped model: accuracy and loss by depth, exit policies.
 */
export type { CalibrateOptions, Calibration } from './calibration.js';
export { CALIBRATION_FORMAT, calibrate, calibrationChunks } from './calibration.js';
export type { DepthFigures, DepthFiguresOptions } from './depth-figures.js';
export { depthFigures } from './depth-figures.js';
export type { FrontierPoint, PolicyFamily } from './frontier.js';
export {
  accuracyByDepth,
  cheapestPoint,
  exitShares,
  frontier,
  meanExitDepth,
  meanPoints,
  POLICY_FAMILIES,
  truncateLoops,
} from './frontier.js';
export type { LoopReading, LoopReadings, ReadLoopsOptions, ReadModel } from './readings.js';
export { readLoops, readLoopsByDocument } from './readings.js';
export { mean, meanRows, spearman, wilsonInterval } from './statistics.js';
export type {
  StreamAnswer,
  StreamedDocument,
  StreamOptions,
  StreamResult,
} from './stream-accuracy.js';
export { streamAccuracy } from './stream-accuracy.js';
