/** Generation with a depth of its own for every token: exit policies, KV policies, sampling. */
export type { EngineOptions, EngineStats } from './engine.js';
export type { StepReport } from './engine-loop.js';
export { Engine } from './engine.js';
export type { KvOptions } from './runner/model-runner.js';
export type { CompileWatch } from './runner/compile.js';
export { compileWith } from './runner/compile.js';
export { embeddingGraph } from './runner/model-ends.js';
export type { EngineWeights } from './runner/engine-weights.js';
export { engineWeights } from './runner/engine-weights.js';
export { UpdatableWeights } from './runner/updatable-weights.js';
export type { SchedulerLimits } from './scheduler/scheduler.js';
export type { ExitDistribution } from './exit-distribution.js';
export { exitDistribution, exitLogProb } from './exit-distribution.js';
export type { DepthBounds } from './exit-policies.js';
export {
  allOf,
  anyOf,
  cdfThreshold,
  confidence,
  defaultExitPolicy,
  fixedDepth,
  fullDepth,
  logitKl,
  replay,
  sampledExit,
  stateDelta,
  withDepthBounds,
} from './exit-policies.js';
export type { ExitContext, ExitDecider, ExitPolicy, LoopObservation } from './exit-policy.js';
export { ExitTracker, isExitPolicy } from './exit-policy.js';
export { EXIT_POLICY_FORMS, parseExitPolicy } from './exit-policy-spec.js';
export { argmax, klDivergence, logSumExp } from './logits.js';
export type { EngineEvent, FinishEvent, GenerationRequest, TokenEvent } from './request.js';
export type { KvPolicy } from '../model/index.js';
export { KV_POLICIES, hasExitGate } from '../model/index.js';
export type { FinishReason, PrefillMode, RolloutRecord } from './rollout.js';
export {
  FINISH_REASONS,
  PREFILL_MODES,
  cutRollout,
  parseRollout,
  rolloutToJson,
} from './rollout.js';
export type { SamplingOptions, SeenTokens } from './sampler.js';
export { parseSamplingOptions, sampleToken, tokenDistribution } from './sampler.js';
export type { Speculation } from './speculation/speculation.js';
export { parseSpeculation, SPECULATION_FORMS } from './speculation/speculation.js';
export type { Trace, TracedPrompt, TraceOptions } from './trace.js';
export type { BehaviorLogprobs, LoopDetail, ScoredToken, TokenLogprob } from './token-logprobs.js';
