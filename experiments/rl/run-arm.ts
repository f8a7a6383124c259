/** One run: an arm from the start, with a seed of its own, looked at every so many updates. */
import type { Folder, ModelWeights } from 'looplm/model';
import { RolloutSource, policyRun } from 'looplm/rl';
import type { Device } from 'looplm/runtime';
import type { MetricRecord } from 'looplm/train';
import { train } from 'looplm/train';
import type { ArmName } from './arms.js';
import { armOf } from './arms.js';
import { DEPLOYMENTS, asEvaluation, deployedFigures } from './deployments.js';
import { LENGTH, cupsTask, policyText } from './language.js';
import { PretendedExits } from './pretended-exits.js';
import { MODEL } from './start.js';
import { timed } from './timed-source.js';

const LEARNING_RATE = 3e-4;
/** Updates over which the rate rises; without them the first ones do harm. */
const WARMUP = 10;
/** Of a micro-batch. */
const ROWS = 8;
/** Looks at the policy in the course of a run. */
const LOOKS = 4;

export interface RunArmOptions {
  readonly arm: ArmName;
  readonly seed: number;
  readonly updates: number;
  /** Problems of each look at the policy. */
  readonly problems: number;
  /** The start. */
  readonly weights: ModelWeights;
  readonly device: Device;
  readonly folder: Folder;
  readonly signal: AbortSignal;
  readonly onProgress: (record: MetricRecord, totalTrainSteps: number) => void;
}

/** Trains, or goes on, or reads what was trained. @returns undefined if stopped by the signal */
export async function runArm(options: RunArmOptions): Promise<ModelWeights | undefined> {
  const { arm, seed, updates, problems, weights, device, folder, signal, onProgress } = options;
  const { settings, pretendsExits = false } = armOf(arm);
  const every = Math.max(1, Math.floor(updates / LOOKS));
  const shared = {
    task: cupsTask,
    text: policyText,
    settings,
    model: MODEL,
    rows: ROWS,
    length: LENGTH,
  };
  const run = policyRun({
    ...shared,
    weights,
    training: {
      learningRate: LEARNING_RATE,
      schedule: {
        kind: 'cosine',
        warmupTrainSteps: Math.min(WARMUP, updates - 1),
        finalFraction: 0.1,
      },
      trainSteps: updates,
      seed,
      snapshotEvery: every,
    },
    evaluateEvery: every,
  });
  const source = pretendsExits
    ? new RolloutSource({ ...shared, seed, rollouts: new PretendedExits() })
    : run.source;
  const now = () => performance.now();
  const result = await train({
    ...run,
    source: timed(source, now),
    device,
    folder,
    now,
    memoryBytes: () => process.memoryUsage().rss,
    signal,
    onProgress,
    evaluate: async (trained, _, config) =>
      asEvaluation(
        await deployedFigures({ device, config, weights: trained }, DEPLOYMENTS, {
          problems,
          kvPolicy: settings.kvPolicy,
        }),
      ),
  });
  return result.finished ? result.weights : undefined;
}
