/**
 * The looped language model: config, parameters, checkpoints and cost, and the functions that add
 * it to a graph. Knows no device, no training and no generation.
 */
export type {
  LoadedCheckpoint,
  OpenCheckpoint,
  SaveCheckpointOptions,
  WeightDtype,
} from './checkpoint.js';
export { loadCheckpoint, openCheckpoint, readModelConfig, saveCheckpoint } from './checkpoint.js';
export type { LoopLMConfig, ParsedModelConfig } from './config.js';
export { modelConfigToJson, parseModelConfig } from './config.js';
export type { InitializeOptions, ModelWeights, ParameterKind, ParameterSpec } from './params.js';
export { elementCount, initializeWeights, parameterSpecs } from './params.js';
