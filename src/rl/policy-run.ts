/**
 * A run of reinforcement learning as the trainer takes it: settings, a source of rollouts, an objective.
 */
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import type { ObjectiveDefinition, TrainConfig } from '../train/index.js';
import { parseTrainConfig } from '../train/index.js';
import { withoutUndefined } from '../util/without-undefined.js';
import { policyObjective } from './objective.js';
import type { RolloutSourceOptions } from './rollout-source.js';
import { RolloutSource } from './rollout-source.js';
import type { PolicyTrainingSettings } from './settings.js';
import type { PolicyPrompt } from './task.js';
import type { WorkerRolloutsOptions } from './workers/worker-rollouts.js';
import { WorkerRollouts } from './workers/worker-rollouts.js';

export interface PolicyRunOptions<P extends { readonly prompt: PolicyPrompt }> extends Pick<
  RolloutSourceOptions<P>,
  'task' | 'text' | 'settings' | 'onFault'
> {
  /** A store over which workers draw, and what tells of them. Default: the trainer draws by itself. */
  readonly workers?: Omit<WorkerRolloutsOptions, 'staleness'> | undefined;
  readonly model: LoopLMConfig;
  /** Where the policy starts, and what it is held to where `klCoefficient` is above 0. */
  readonly weights: ModelWeights;
  /** What is left out has the defaults of `POLICY_TRAINING`. */
  readonly training: PolicyTrainingSettings;
  /** Rows and positions of a micro-batch of the replay. A prompt and its answer must fit a row. */
  readonly rows: number;
  readonly length: number;
  /** Train steps between evaluations. */
  readonly evaluateEvery: number;
}

/** What `train` is called with, beside device, folder and clock. */
export interface PolicyRun<P extends { readonly prompt: PolicyPrompt }> {
  readonly config: TrainConfig;
  readonly source: RolloutSource<P>;
  /** What workers draw; to be told when the run is finished. */
  readonly rollouts?: WorkerRollouts | undefined;
  readonly objective: ObjectiveDefinition;
  readonly weights: ModelWeights;
}

/**
 * A rate that is low and does not fall, no decay of weights, and snapshots often: updates are slow, and the loss
 * says nothing of when it is enough. A loss that jumps is none of a policy gradient's faults; one that is not
 * finite is.
 */
export const POLICY_TRAINING = {
  learningRate: 1e-5,
  schedule: { kind: 'constant' },
  optimizer: { weightDecay: 0, beta2: 0.99 },
  trainSteps: 100,
  logEvery: 1,
  snapshotEvery: 10,
  spikes: { deviations: 1e6 },
} as const satisfies PolicyTrainingSettings;

/**
 * @throws ConfigError for settings that are wrong, or contradict each other or the model
 */
export function policyRun<P extends { readonly prompt: PolicyPrompt }>({
  task,
  text,
  settings,
  model,
  weights,
  training,
  rows,
  length,
  evaluateEvery,
  workers,
  onFault,
}: PolicyRunOptions<P>): PolicyRun<P> {
  const config = parseTrainConfig(
    {
      ...POLICY_TRAINING,
      ...withoutUndefined(training),
      model,
      rows,
      length,
      evaluateEvery,
      data: { task: task.name, ...flattened(settings) },
    },
    'the run',
  );
  const { seed, trainSteps } = config;
  const reference = settings.policy.klCoefficient > 0 ? weights : undefined;
  const { staleness } = settings;
  const rollouts = workers && new WorkerRollouts({ ...workers, staleness });
  const shared = { task, text, settings, model, rows, length, seed, rollouts, onFault };
  return {
    config,
    source: new RolloutSource({ ...shared, trainSteps, reference }),
    ...(rollouts && { rollouts }),
    objective: policyObjective(settings.policy, model.numLoops, settings.kvPolicy),
    weights,
  };
}

type Setting = string | number | boolean | Settings | undefined;
interface Settings {
  readonly [key: string]: Setting;
}

/** Settings within settings, by a name with dots: so a run that differs can say where. */
function flattened(settings: object, prefix = ''): Readonly<Record<string, string | number>> {
  return Object.fromEntries(
    Object.entries(settings as Settings).flatMap(([key, value]) => {
      const name = `${prefix}${key}`;
      if (typeof value === 'object') {
        return Object.entries(flattened(value, `${name}.`));
      }
      return value === undefined ? [] : [[name, typeof value === 'number' ? value : String(value)]];
    }),
  );
}
