/**
 * Learning-rate schedules: pure functions of the train step.
 * Source: warm-up, cosine and WSD (warm-up, stable, decay) as used by Ouro (arXiv 2510.25741).
 */
import { ConfigError } from '../errors.js';

export type Schedule =
  | { readonly kind: 'constant'; readonly warmupTrainSteps: number }
  | {
      /** Cosine from the peak down to `finalFraction` of it at the last train step. */
      readonly kind: 'cosine';
      readonly warmupTrainSteps: number;
      readonly finalFraction: number;
    }
  | {
      /** Constant after warm-up, then linear down to `finalFraction` over the last `decayTrainSteps`. */
      readonly kind: 'wsd';
      readonly warmupTrainSteps: number;
      readonly decayTrainSteps: number;
      readonly finalFraction: number;
    };

/** A schedule of one's own: what `scheduleFraction` gives for a train step of its stage. */
export type ScheduleFunction = (trainStep: number, totalTrainSteps: number) => number;

/**
 * Fraction of the peak learning rate: above 0 and at most 1, and 0 only where a decay ends in a
 * `finalFraction` of 0.
 *
 * @param trainStep - from 0
 */
export function scheduleFraction(
  schedule: Schedule | ScheduleFunction,
  trainStep: number,
  totalTrainSteps: number,
): number {
  if (typeof schedule === 'function') return schedule(trainStep, totalTrainSteps);
  const { warmupTrainSteps } = schedule;
  if (trainStep < warmupTrainSteps) return (trainStep + 1) / warmupTrainSteps;
  switch (schedule.kind) {
    case 'constant':
      return 1;
    case 'cosine': {
      const span = Math.max(1, totalTrainSteps - 1 - warmupTrainSteps);
      const progress = Math.min(1, (trainStep - warmupTrainSteps) / span);
      const { finalFraction } = schedule;
      return finalFraction + (1 - finalFraction) * 0.5 * (1 + Math.cos(Math.PI * progress));
    }
    case 'wsd': {
      const left = totalTrainSteps - 1 - trainStep;
      if (left >= schedule.decayTrainSteps) return 1;
      const remaining = Math.max(0, left) / schedule.decayTrainSteps;
      return schedule.finalFraction + (1 - schedule.finalFraction) * remaining;
    }
    default:
      return schedule satisfies never;
  }
}

/** @throws ConfigError if the parts of a schedule do not fit into the run */
export function checkSchedule(
  schedule: Schedule | ScheduleFunction,
  totalTrainSteps: number,
): void {
  if (typeof schedule === 'function') return;
  const needed =
    schedule.warmupTrainSteps + (schedule.kind === 'wsd' ? schedule.decayTrainSteps : 0);
  if (needed > totalTrainSteps) {
    throw new ConfigError(
      'schedule',
      `schedule: warm-up and decay take ${needed} train steps but the run has ${totalTrainSteps}; shorten them or train longer.`,
    );
  }
}

const LONGEST_WARMUP = 100;

/** A cosine down to a tenth after a warm-up of a tenth, 100 train steps at most. */
export function defaultSchedule(totalTrainSteps: number): Schedule {
  const warmupTrainSteps = Math.min(LONGEST_WARMUP, Math.floor(totalTrainSteps / 10));
  return { kind: 'cosine', warmupTrainSteps, finalFraction: 0.1 };
}
