/**
 * The looped language model: config, parameters, checkpoints and cost, and the functions that add
 * it to a graph. Knows no device, no training and no generation.
 */
export type { BatchExits, BatchForwardOptions, PackedInputs } from './batch-forward.js';
export {
  batchContext,
  batchForwardFeeds,
  batchLoopStates,
  embed,
  keepsAttentionWeights,
} from './batch-forward.js';
export type {
  LoadedCheckpoint,
  OpenCheckpoint,
  OpenOptions,
  SaveCheckpointOptions,
  TensorLocation,
  WeightDtype,
} from './checkpoint.js';
export {
  checkParameters,
  checkWeights,
  loadCheckpoint,
  openCheckpoint,
  readModelConfig,
  saveCheckpoint,
} from './checkpoint.js';
export type { AdapterBase, FloatModel, LoadedWeights, LoadWeightsOptions } from './load.js';
export { loadAdapterBase, loadFloats, loadWeights } from './load.js';
export type { KvPolicy } from './kv-bytes.js';
export { KV_POLICIES, kvPlaneBytes } from './kv-bytes.js';
export type { MemoryNeeds, MemoryPlan } from './memory-plan.js';
export { describePlan, MAX_STEP_ROWS, planMemory, showBytes } from './memory-plan.js';
export { hasExitGate } from './architectures/index.js';
export { GATES_FILE, loadGate, saveGates } from './gates.js';
export type { ArchitectureName, LoopLMConfig } from './config.js';
export { MAX_NUM_LOOPS, resolveNumLoops } from './config.js';
export type { ParsedModelConfig } from './config-json.js';
export { modelConfigToJson, parseModelConfig } from './config-json.js';
export type { ConvertedModel, ConvertedTensor } from './converted.js';
export {
  CONVERTED_WEIGHTS,
  convertedLayout,
  convertedParameters,
  openConverted,
  TENSOR_ALIGNMENT,
} from './converted.js';
export type { CostOptions, DepthCost, ModelCost, ParameterCounts } from './cost.js';
export { modelCost } from './cost.js';
export type { InitializeOptions, ModelWeights, ParameterKind, ParameterSpec } from './params.js';
export { elementCount, HEAD_NAME, initializeWeights, parameterSpecs } from './params.js';
export type { Attend, LayerParams, LoopContext, LoopParams } from './loop-lm.js';
export {
  attentionProjections,
  carriedState,
  gateLogit,
  headParam,
  hiddenOf,
  layerOutput,
  loop,
  loopParams,
  readout,
} from './loop-lm.js';
export type { BlockWeight, Weight, WeightFile, WeightSource } from './weights.js';
export {
  fileWeights,
  floatWeight,
  formatOf,
  frozenWeights,
  inputWeights,
  once,
  weightSource,
} from './weights.js';
export type { Adapter, LoraModule, LoraSettings, SaveAdapterOptions } from './lora/index.js';
export {
  ADAPTER_CONFIG_FILE,
  ADAPTER_WEIGHTS_FILE,
  adaptedWeights,
  besideWeights,
  initializeAdapter,
  loadAdapter,
  loraModules,
  loraSettings,
  mergeAdapter,
  saveAdapter,
} from './lora/index.js';
export type { ModelFormat, QuantizationMethod, WeightFormat } from './weight-format.js';
export {
  defaultKvDtype,
  describeFormat,
  matrixDtype,
  modelFormatToJson,
  parseModelFormat,
  scalesName,
} from './weight-format.js';
export type { BlockFormat, QuantizedBlocks, QuantizeOptions, SquaredError } from './quantize.js';
export { dequantizeBlocks, quantizeBlocks, relativeError, squaredError } from './quantize.js';
export { RELEASED_SHAPES } from './released-shapes.js';
export { ropeFeeds } from './rope-angles.js';
export type { ByteSource, Folder } from '../util/folder.js';
export { memoryFolder, memorySource } from '../util/folder.js';
export { attentionBlock } from './self-attention.js';
