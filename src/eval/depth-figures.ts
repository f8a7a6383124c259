/**
 * Accuracy and loss of sets of documents by depth: what each further loop is worth.
 *
 * Only sums are kept, one document after the other, so sets may be large.
 */
import type { TrainingDocument } from '../data/index.js';
import { frontier } from './frontier.js';
import type { LoopReadings, ReadLoopsOptions, ReadModel } from './readings.js';
import { readLoopsByDocument } from './readings.js';

/** Means over the labels of a set; NaN without any. Entry `depth - 1` belongs to `depth`. */
export interface DepthFigures {
  readonly labels: number;
  readonly accuracyByDepth: readonly number[];
  /** Cross-entropy in nats. */
  readonly lossByDepth: readonly number[];
  /** Under Q-exit. The depth is that of the labelled positions; other tokens run loops, too. */
  readonly exit: { readonly accuracy: number; readonly meanDepth: number };
}

export interface DepthFiguresOptions extends ReadLoopsOptions {
  /** q of Q-exit, in (0, 1]. */
  readonly exitThreshold: number;
}

/**
 * Figures of each set. A document counts as often as it has labels; its figures are those it has
 * alone, whatever other documents there are.
 *
 * @throws LoopLMError as `readLoops` does
 */
export async function depthFigures(
  model: ReadModel,
  sets: readonly (readonly TrainingDocument[])[],
  { exitThreshold, ...options }: DepthFiguresOptions,
): Promise<DepthFigures[]> {
  const numLoops = options.numLoops ?? model.config.numLoops;
  const setOf = sets.flatMap((documents, index) => documents.map(() => index));
  const sums = sets.map(() => new DepthSums(numLoops, exitThreshold));
  for await (const readings of readLoopsByDocument(model, sets.flat(), options)) {
    const [first] = readings;
    if (first) sums[setOf[first.documentIndex]!]!.add(readings);
  }
  return sums.map((sum) => sum.figures());
}

class DepthSums {
  readonly #exitThreshold: number;
  readonly #correct: number[];
  readonly #loss: number[];
  #labels = 0;
  #exitCorrect = 0;
  #exitDepth = 0;

  constructor(numLoops: number, exitThreshold: number) {
    this.#exitThreshold = exitThreshold;
    this.#correct = new Array<number>(numLoops).fill(0);
    this.#loss = new Array<number>(numLoops).fill(0);
  }

  add(readings: readonly LoopReadings[]): void {
    for (const { loops } of readings) {
      loops.forEach(({ isCorrect, loss }, loopIndex) => {
        this.#correct[loopIndex]! += Number(isCorrect);
        this.#loss[loopIndex]! += loss;
      });
    }
    const [point] = frontier([readings], 'cdf', [this.#exitThreshold]);
    this.#labels += readings.length;
    this.#exitCorrect += point!.accuracy * readings.length;
    this.#exitDepth += point!.meanDepth * readings.length;
  }

  figures(): DepthFigures {
    const mean = (sum: number) => sum / this.#labels;
    return {
      labels: this.#labels,
      accuracyByDepth: this.#correct.map(mean),
      lossByDepth: this.#loss.map(mean),
      exit: { accuracy: mean(this.#exitCorrect), meanDepth: mean(this.#exitDepth) },
    };
  }
}
