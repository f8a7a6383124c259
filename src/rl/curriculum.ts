/**
 * How hard the next problems are: those that the policy solves about 40 % of the time teach it most.
 *
 * For each difficulty it keeps a moving average of the reward; difficulties are drawn the more often, the
 * nearer that is to the target. One that was never tried counts as if it were at the target.
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { z } from 'zod';

export interface CurriculumOptions {
  readonly maxDifficulty: number;
  /** Mean reward that teaches most. */
  readonly target: number;
  /** How fast draws fall off with the distance from it. */
  readonly spread: number;
  /** Share of draws in which all difficulties are as likely, so that none is forgotten. */
  readonly uniformShare: number;
}

/** Weight of the past in an average, by group. */
const DECAY = 0.8;

const savedSchema = z.array(z.number().nullable());

export class Curriculum {
  readonly #options: CurriculumOptions;
  /** Mean reward by difficulty, from 1; undefined for one that was not tried. */
  #means: (number | undefined)[];

  constructor(options: CurriculumOptions) {
    this.#options = options;
    this.#means = Array.from({ length: options.maxDifficulty });
  }

  /** Mean reward by difficulty, NaN for one that was not tried. */
  get means(): readonly number[] {
    return Array.from(this.#means, (mean) => mean ?? NaN);
  }

  /** A difficulty from 1 up. */
  draw(rng: RandomGenerator): number {
    const { target, spread, uniformShare } = this.#options;
    const near = Array.from(this.#means, (mean = target) =>
      Math.exp(-(((mean - target) / spread) ** 2)),
    );
    const total = near.reduce((sum, weight) => sum + weight, 0);
    // where none is near, all are alike
    const weights = near.map((weight) => {
      const share = total > 1e-12 ? weight / total : 1 / near.length;
      return uniformShare / near.length + (1 - uniformShare) * share;
    });
    let left = uniformFloat64(rng);
    const index = weights.findIndex((weight) => (left -= weight) < 0);
    return (index < 0 ? weights.length - 1 : index) + 1;
  }

  /** Takes the mean reward of a group. */
  observe(difficulty: number, reward: number): void {
    const before = this.#means[difficulty - 1];
    this.#means[difficulty - 1] =
      before === undefined ? reward : DECAY * before + (1 - DECAY) * reward;
  }

  /** As JSON, for a snapshot. */
  save(): readonly (number | null)[] {
    return Array.from(this.#means, (mean) => mean ?? null);
  }

  restore(saved: unknown): void {
    const means = savedSchema.length(this.#means.length).parse(saved);
    this.#means = means.map((mean) => mean ?? undefined);
  }
}
