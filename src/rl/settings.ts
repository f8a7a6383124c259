/** The settings of reinforcement learning, as files hold them and as code uses them: one schema. */
import { z } from 'zod';
import { trainingFields } from '../train/index.js';
import { parseFields } from '../util/parse-fields.js';
import {
  numberBetween,
  positiveNumber,
  section,
  text,
  wholeNumber,
  word,
} from '../util/setting-fields.js';
import { LENGTH_NORMS } from './advantages.js';
import { REPLAYED_KV_POLICIES, policyFields } from './objective-settings.js';

const price = numberBetween(0, 1e6).default(0);

export const rlFields = {
  /** Prompts of an update, and answers to each. */
  groups: wholeNumber(1, 1e5).default(8),
  groupSize: wholeNumber(2, 1e4).default(8),
  /** Longest answer, in tokens. */
  maxNewTokens: wholeNumber(1, 1e6).default(64),
  /** Updates that the weights which draw may be behind those that learn; above 0 needs workers. */
  staleness: wholeNumber(0, 1000).default(0),
  /** How rollouts exit, such as `sampled`, `full` or `cdf:0.5`. */
  exitPolicy: text().default('sampled'),
  /** What tokens read of those that exited before them, in rollouts and in the replay. */
  kvPolicy: word(REPLAYED_KV_POLICIES).default('per-loop'),
  policy: section(policyFields).prefault({}),
  advantages: section({
    /** Whether advantages are in units of their group's deviation. */
    dividesByDeviation: z.boolean().default(true),
    /** How tokens are averaged; see `LENGTH_NORMS`. */
    lengthNorm: word(LENGTH_NORMS).default('token'),
  }).prefault({}),
  /** What depth costs, in rewards. */
  depth: section({
    /** Taken from the reward for an answer at full depth, and in proportion below. */
    price,
    /** Mean depth that answers should have. */
    budget: positiveNumber(1000).optional(),
    /** Taken from the reward times the squared distance to the budget. */
    budgetPrice: price,
  }).prefault({}),
  curriculum: section({
    target: numberBetween(0, 1).default(0.4),
    spread: positiveNumber(100).default(0.2),
    uniformShare: numberBetween(0, 1).default(0.1),
  }).prefault({}),
  /** How long a reward may take. */
  rewardTimeoutSeconds: positiveNumber(86_400).default(60),
};

const {
  learningRate,
  optimizer,
  schedule,
  trainSteps,
  recompute,
  trained,
  spikes,
  seed,
  logEvery,
  snapshotEvery,
} = trainingFields;

/** The keys of a training run that one of a policy has, too; `policyRun` has other defaults. */
export const policyTrainingFields = {
  learningRate: learningRate.unwrap().optional(),
  optimizer: optimizer.unwrap().optional(),
  schedule,
  trainSteps: trainSteps.unwrap().optional(),
  recompute: recompute.unwrap().optional(),
  trained,
  spikes: spikes.unwrap().optional(),
  seed: seed.unwrap().optional(),
  logEvery: logEvery.unwrap().optional(),
  snapshotEvery: snapshotEvery.unwrap().optional(),
};
const policyTrainingSchema = section(policyTrainingFields);
export type PolicyTrainingSettings = Readonly<z.input<typeof policyTrainingSchema>>;

const rlSchema = section(rlFields);
export type RLSettings = Readonly<z.output<typeof rlSchema>>;

/**
 * Settings of unknown origin, with defaults for what is left out.
 *
 * @throws ConfigError that tells all that is wrong with them
 */
export function parseRLSettings(json: unknown, what = 'the settings'): RLSettings {
  return parseFields(rlSchema, json, what);
}
