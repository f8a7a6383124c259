/**
 * Measures a converted model against float32, question by question.
 *
 * The one idea: a full-depth trace of a question holds the outcome of every depth and of Q-exit at once,
 * so one trace of each model for each question tells everything. Only sums are kept.
 */
import type { Trace } from 'looplm/engine';
import { argmax, klDivergence } from 'looplm/engine';
import { meanRows } from 'looplm/eval';
import type { Question } from './question-sets.js';
import { meanOverTasks } from './question-sets.js';
import type { VariantFigures } from './quantization-figures.js';

type Measured = Pick<
  VariantFigures,
  'accuracyByDepth' | 'stateErrorByDepth' | 'klByDepth' | 'exit'
>;

/** What one question says of a variant. */
interface Outcome {
  readonly task: string;
  readonly isCorrect: readonly number[]; // by depth, 0 or 1
  readonly kl: readonly number[]; // by depth
  readonly exitDepth: number;
  readonly plainExitDepth: number;
}

/** Sums up what the questions say of one variant. */
export class VariantTally {
  readonly #exitThreshold: number;
  readonly #outcomes: Outcome[] = [];
  readonly #stateError: number[] = []; // sums of squares, by depth
  readonly #stateSize: number[] = [];

  constructor(exitThreshold: number) {
    this.#exitThreshold = exitThreshold;
  }

  /** Takes the traces of one question by float32 and by the variant. */
  add(
    { task, targets }: Pick<Question, 'targets'> & { readonly task: string },
    plain: Trace,
    variant: Trace,
  ): void {
    const depths = Array.from({ length: plain.numLoops }, (_, loopIndex) => loopIndex + 1);
    const answerId = targets.at(-1)!;
    const logits = depths.map((depth) => answerLogits(variant, depth));
    this.#outcomes.push({
      task,
      isCorrect: logits.map((row) => Number(argmax(row) === answerId)),
      // rounding may leave a divergence of equal rows just below 0
      kl: depths.map((depth, index) =>
        Math.max(0, klDivergence(answerLogits(plain, depth), logits[index]!)),
      ),
      exitDepth: exitDepthOf(variant, this.#exitThreshold),
      plainExitDepth: exitDepthOf(plain, this.#exitThreshold),
    });
    for (const depth of depths) this.#addStates(plain, variant, depth);
  }

  figures(): Measured {
    const outcomes = this.#outcomes;
    const ofTask = (task: string) => outcomes.filter((outcome) => outcome.task === task);
    const meanOf = (value: (outcome: Outcome) => number) => meanOverTasks(outcomes, value);
    const accuracies = [...new Set(outcomes.map(({ task }) => task))].map(
      (task) => [task, meanRows(ofTask(task).map(({ isCorrect }) => isCorrect))] as const,
    );
    return {
      accuracyByDepth: Object.fromEntries(accuracies) as Measured['accuracyByDepth'],
      stateErrorByDepth: this.#stateError.map((error, index) =>
        Math.sqrt(error / this.#stateSize[index]!),
      ),
      klByDepth: meanRows(outcomes.map(({ kl }) => kl)),
      exit: {
        accuracy: meanOf(({ isCorrect, exitDepth }) => isCorrect[exitDepth - 1]!),
        meanDepth: meanOf(({ exitDepth }) => exitDepth),
        equalDepths: meanOf((outcome) => Number(outcome.exitDepth === outcome.plainExitDepth)),
        depthDifference: meanOf((outcome) => Math.abs(outcome.exitDepth - outcome.plainExitDepth)),
      },
    };
  }

  #addStates(plain: Trace, variant: Trace, depth: number): void {
    const others = statesAt(variant, depth);
    let [error, size] = [0, 0];
    statesAt(plain, depth).forEach((value, index) => {
      error += (value - others[index]!) ** 2;
      size += value * value;
    });
    this.#stateError[depth - 1] = (this.#stateError[depth - 1] ?? 0) + error;
    this.#stateSize[depth - 1] = (this.#stateSize[depth - 1] ?? 0) + size;
  }
}

/** Logits of the last position, `[V]`. */
function answerLogits({ logits, numLoops, length }: Trace, depth: number): Float32Array {
  const vocabSize = logits.length / (numLoops * length);
  const end = depth * length * vocabSize;
  return logits.subarray(end - vocabSize, end);
}

/** States of all positions, `[T, D]`. */
function statesAt({ hidden, numLoops }: Trace, depth: number): Float32Array {
  const size = hidden.length / numLoops;
  return hidden.subarray((depth - 1) * size, depth * size);
}

/** Where the last position exits. */
function exitDepthOf({ exitCdf, numLoops, length }: Trace, exitThreshold: number): number {
  for (let depth = 1; depth < numLoops; depth++) {
    if (exitCdf[depth * length - 1]! >= exitThreshold) return depth;
  }
  return numLoops;
}
