/** Reinforcement learning on rollouts whose depth varies, replayed with exact probabilities. */
export { LENGTH_NORMS, groupAdvantages, isWithoutVariance, tokenWeights } from './advantages.js';
export type { LengthNorm } from './advantages.js';
export type { Agreement } from './agreement.js';
export { agreementOf } from './agreement.js';
export type { DrawnAnswer, GroupAnswer, GroupRequest } from './answers.js';
export { drawAnswers } from './answers.js';
export type { CurriculumOptions } from './curriculum.js';
export { Curriculum } from './curriculum.js';
export type { EvaluatePolicyOptions, PolicyFigures } from './evaluate.js';
export { evaluatePolicy } from './evaluate.js';
export { LoopWeights } from './loop-weights.js';
export type { PolicySettings, ReplayedKvPolicy } from './objective-settings.js';
export { REPLAYED_KV_POLICIES } from './objective-settings.js';
export { policyObjective, replayedExits } from './objective.js';
export type { PolicyRun, PolicyRunOptions } from './policy-run.js';
export { POLICY_TRAINING, policyRun } from './policy-run.js';
export { policyTextOf } from './policy-text.js';
export type { ReplayBatches, ReplayOptions, ReplayedRollout, ScoredRollout } from './replay.js';
export { checkReplayable, replayBatches } from './replay.js';
export type { RolloutProvider } from './provider.js';
export { LocalRollouts } from './provider.js';
export type { RolloutSourceOptions } from './rollout-source.js';
export { RolloutSource } from './rollout-source.js';
export type {
  DrawOptions,
  GroupPlan,
  GroupPlanOptions,
  JudgeOptions,
  PolicyText,
  Rollout,
  RolloutGroup,
} from './rollouts.js';
export { drawGroups, judgeGroups, planGroups } from './rollouts.js';
export type { PolicyTrainingSettings, RLSettings } from './settings.js';
export { parseRLSettings, policyTrainingFields, rlFields } from './settings.js';
export type { Answer, Judgement, PolicyPrompt, PolicyTask } from './task.js';
export { judge } from './task.js';
export type { RolloutWorkerOptions } from './workers/rollout-worker.js';
export { drawForTrainer } from './workers/rollout-worker.js';
export type { WorkerRolloutsOptions } from './workers/worker-rollouts.js';
export { WorkerRollouts } from './workers/worker-rollouts.js';
