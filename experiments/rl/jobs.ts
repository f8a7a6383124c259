/** What is to be computed, in which order, and where each part lives. */
import { join } from 'node:path';
import type { ArmName, ExperimentName } from './arms.js';
import { EXPERIMENTS } from './arms.js';

export type Job =
  /** The model that all runs start from. */
  | { readonly kind: 'start' }
  /** Its gates of stage II. */
  | { readonly kind: 'gates' }
  | { readonly kind: 'arm'; readonly arm: ArmName; readonly seed: number }
  /** Times of rollouts, on a machine that does nothing else. */
  | { readonly kind: 'throughput' };

/** How long and how wide; the defaults are those of the published figures. */
export interface Plan {
  /** Folder of all that is computed. */
  readonly out: string;
  /** Seeds are 1 and up. */
  readonly seeds: number;
  readonly updates: number;
  /** Problems of the last look at a policy; looks on the way have a third of them. */
  readonly problems: number;
  /** Updates of the start. */
  readonly startSteps: number;
}

export const DEFAULT_PLAN: Omit<Plan, 'out'> = {
  seeds: 3,
  updates: 120,
  problems: 300,
  startSteps: 900,
};

export const lookProblems = ({ problems }: Pick<Plan, 'problems'>): number =>
  Math.max(1, Math.round(problems / 3));

/** Jobs in stages: those of a stage need what the stages before it have computed, and not each other. */
export function stagesOf(
  experiments: readonly ExperimentName[],
  { seeds }: Pick<Plan, 'seeds'>,
): readonly (readonly Job[])[] {
  const arms = [...new Set<ArmName>(experiments.flatMap((name) => EXPERIMENTS[name]))];
  const runs = Array.from({ length: seeds }, (_, index) =>
    arms.map((arm): Job => ({ kind: 'arm', arm, seed: index + 1 })),
  );
  return [
    [{ kind: 'start' }],
    [...(experiments.includes('rl-depth') ? [{ kind: 'gates' } as const] : []), ...runs.flat()],
    experiments.includes('rl-throughput') ? [{ kind: 'throughput' }] : [],
  ];
}

export function nameOf(job: Job): string {
  return job.kind === 'arm' ? `${job.arm}, seed ${job.seed}` : job.kind;
}

/** Results of other lengths lie elsewhere: what is found in a folder is what was asked for. */
export function folderOf(job: Job, { out, updates, startSteps, problems }: Plan): string {
  const start = join(out, `start-${startSteps}`);
  switch (job.kind) {
    case 'start':
      return start;
    case 'gates':
      return join(start, `gates-${problems}`);
    case 'arm':
      return join(start, `${updates}-updates-${problems}`, `${job.arm}-${job.seed}`);
    case 'throughput':
      return join(start, `${updates}-updates-${problems}`, 'throughput');
    default:
      return job satisfies never;
  }
}
