/**
 * Finds losses that jump up, so that a run can go back to its last good snapshot.
 *
 * The rule: a loss is a spike if it lies more than so many standard deviations above the mean of the
 * losses before it, of which at least half a window must be there; so is one that is not a number. Its
 * state is the list of those losses, which snapshots keep. docs/math.md (spikes).
 * Source of the rule: OLMo 2 (arXiv 2501.00656), spike score.
 */
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import type { ModelWeights } from '../model/index.js';
import type { SpikeSettings, TrainConfig } from './config.js';

/** A spike that a run went back for. */
export const rollbackSchema = z.strictObject({
  /** Train step whose loss it was. */
  trainStep: z.int(),
  /** The loss; null where it was not a number, or the weights after it were not. */
  loss: z.number().nullable(),
  /** Largest loss that would not have been one; null where there was too little to compare with. */
  threshold: z.number().nullable(),
  /** Train steps that the run went back to. */
  backTo: z.int(),
});

export type Rollback = Readonly<z.output<typeof rollbackSchema>>;

/** Standard deviations are at least this part of the mean: equal losses make no spike of rounding. */
const LEAST_DEVIATION = 1e-3;

/** Largest loss that is no spike; undefined while too few are known. */
export function spikeThreshold(
  { window, deviations }: SpikeSettings,
  losses: readonly number[],
): number | undefined {
  if (losses.length < window / 2) return undefined;
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const variance = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / losses.length;
  const deviation = Math.max(Math.sqrt(variance), LEAST_DEVIATION * Math.abs(mean));
  return mean + deviations * deviation;
}

/** An update that went wrong. */
export interface Spike extends Omit<Rollback, 'backTo'> {
  /** What is not finite, if that is the fault: no run can go on from there. */
  readonly fault: string | undefined;
}

/** A spike that a run went on from. */
export interface PassedSpike {
  readonly trainStep: number;
  readonly loss: number;
  /** Largest loss that would not have been one. */
  readonly threshold: number;
}

/** Watches the losses of a stage. */
export class SpikeWatch {
  readonly #settings: SpikeSettings | undefined;
  #losses: readonly number[];

  /** @param losses - of a snapshot that the stage goes on from */
  constructor(settings: TrainConfig['spikes'], losses: readonly number[]) {
    this.#settings = typeof settings === 'object' ? settings : undefined;
    this.#losses = losses;
  }

  /** Losses that the next one is compared with. */
  get losses(): readonly number[] {
    return this.#losses;
  }

  /** Whether an update went wrong. */
  judge(
    trainStep: number,
    { loss, gradNorm }: { readonly loss: number; readonly gradNorm: number },
  ): Spike | undefined {
    if (!Number.isFinite(loss)) return this.failed(trainStep, `the loss is ${loss}`);
    if (!Number.isFinite(gradNorm)) {
      return this.failed(trainStep, `the gradient norm is ${gradNorm}`);
    }
    const threshold = this.#threshold();
    if (threshold === null || loss <= threshold) return undefined;
    return { trainStep, loss, threshold, fault: undefined };
  }

  /** An update after which something is not finite. */
  failed(trainStep: number, fault: string): Spike {
    return { trainStep, loss: null, threshold: this.#threshold(), fault };
  }

  /** Remembers the loss of an update that is trained on from. */
  accept(loss: number): void {
    if (!this.#settings) return;
    this.#losses = [...this.#losses, loss].slice(-this.#settings.window);
  }

  #threshold(): number | null {
    return (this.#settings && spikeThreshold(this.#settings, this.#losses)) ?? null;
  }
}

/** Whether a run that has gone back so often may do so again. */
export function mayGoBack(
  { spikes }: Pick<TrainConfig, 'spikes'>,
  { rollbacks }: { readonly rollbacks: readonly Rollback[] },
): boolean {
  return typeof spikes === 'object' && rollbacks.length < spikes.maxRollbacks;
}

/** What is wrong with the weights after an update, before they replace the last good snapshot. */
export function faultOf(weights: ModelWeights): string | undefined {
  for (const [name, values] of weights) {
    const bad = values.find((value) => !Number.isFinite(value));
    if (bad !== undefined) return `${name} holds ${bad}`;
  }
  return undefined;
}

export function diverged(what: string, trainStep: number): ConfigError {
  return new ConfigError(
    'learningRate',
    `Train step ${trainStep}: ${what}; it must be finite. The last snapshot is kept: lower learningRate, clip gradients or check the data, and start again.`,
  );
}
