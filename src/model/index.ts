/**
 * The looped language model: config, parameters, checkpoints and cost, and the functions that add
 * it to a graph. Knows no device, no training and no generation.
 */
export type { BatchForwardOptions, PackedInputs } from './batch-forward.js';
export { batchForwardFeeds, batchLoopStates } from './batch-forward.js';
export type {
  LoadedCheckpoint,
  OpenCheckpoint,
  SaveCheckpointOptions,
  WeightDtype,
} from './checkpoint.js';
export { loadCheckpoint, openCheckpoint, readModelConfig, saveCheckpoint } from './checkpoint.js';
export type { LoopLMConfig, ParsedModelConfig } from './config.js';
export { modelConfigToJson, parseModelConfig } from './config.js';
export type { CostOptions, DepthCost, ModelCost, ParameterCounts } from './cost.js';
export { modelCost } from './cost.js';
export type { InitializeOptions, ModelWeights, ParameterKind, ParameterSpec } from './params.js';
export { elementCount, initializeWeights, parameterSpecs } from './params.js';
export type { Attend, LayerParams, LoopContext, LoopParams } from './loop-lm.js';
export {
  block,
  gateLogit,
  constantParams,
  headParam,
  loop,
  loopParams,
  readout,
  selfAttention,
} from './loop-lm.js';
export type { RopeAngles } from './rope-angles.js';
export { ropeAngles } from './rope-angles.js';
export type { ByteSource, Folder } from '../util/folder.js';
export { memoryFolder, memorySource } from '../util/folder.js';
