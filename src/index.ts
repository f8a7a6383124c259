/**
 * looplm: looped language models, each token at its own depth.
 *
 * The names that most programs need; the subpaths (`looplm/engine`, `looplm/train`, ...) have the
 * rest. Loading from a directory is in `looplm/node`, so that this entry runs anywhere.
 */
export type {
  ChatOptions,
  GenerateOptions,
  LoadOptions,
  Prompt,
  TextEvent,
  TextFinishEvent,
  TextTokenEvent,
} from './loop-lm.js';
export { LoopLM } from './loop-lm.js';

export type { DepthBounds, ExitPolicy, SamplingOptions, Trace } from './engine/index.js';
export {
  allOf,
  anyOf,
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  logitKl,
  parseExitPolicy,
  replay,
  sampledExit,
  stateDelta,
  withDepthBounds,
} from './engine/index.js';
export type { FinishReason, KvPolicy, PrefillMode, RolloutRecord } from './engine/index.js';
export { FINISH_REASONS, KV_POLICIES, PREFILL_MODES, parseRollout } from './engine/index.js';

export type { Folder, LoopLMConfig, ModelCost } from './model/index.js';
export { memoryFolder, modelCost } from './model/index.js';
export type { Device, DeviceOptions } from './runtime/index.js';

export type { ChatMessage, StopToken, TextChannel } from './tokenizer/index.js';
export { CHATML_TEMPLATES, ChatTemplate, Tokenizer } from './tokenizer/index.js';

export type { ErrorCode } from './errors.js';
export {
  CapacityError,
  CheckpointError,
  ConfigError,
  DisposedError,
  FileError,
  LoopLMError,
  RequestError,
  ShapeError,
  UnsupportedError,
} from './errors.js';
