/** Seeded choices: equal seeds and indices give equal choices. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { generatorFor } from '../src/util/random.js';

export class Draw {
  readonly #random: ReturnType<typeof generatorFor>;

  constructor(...words: readonly number[]) {
    this.#random = generatorFor(...words);
  }

  /** A whole number from 0 to `end - 1`. */
  below(end: number): number {
    return uniformInt(this.#random, 0, end - 1);
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
