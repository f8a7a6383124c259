/**
 * The readouts of all loops and their cross-entropies, of the rows that count, a chunk after the other, so
 * that the logits of one chunk exist at a time.
 *
 * Where the gradient of the loss by a token's cross-entropy is known before any is computed (exit gates
 * do not read logits), a chunk's gradients are computed with it, at once. Where it depends on the
 * cross-entropies, logits are computed again in the backward pass.
 * Source: docs/math.md (readout-chunks).
 */
import type { Tensor } from '../graph/index.js';
import {
  add,
  addAt,
  barrier,
  cast,
  crossEntropy,
  dependsOn,
  gatherRows,
  greaterOrEqual,
  log,
  matmul,
  mul,
  neg,
  pick,
  pullback,
  recompute,
  reshape,
  rowMax,
  softmax,
  stopGradient,
  sub,
  transpose,
  withGradient,
} from '../graph/index.js';
import type { Weight } from '../model/index.js';
import { readout } from '../model/index.js';
import type { ReadoutChunk, ReadoutRows } from './readout-rows.js';

/**
 * How fast the loss grows with each token's cross-entropy, `[N]`: `none` where it does not, `unknown`
 * where that depends on the cross-entropies themselves.
 */
export type LossRate = Tensor | 'none' | 'unknown';

export interface ReadoutOptions {
  readonly head: Weight; // [V, D]
  readonly rows: ReadoutRows;
  /** One for each loop. */
  readonly rates: readonly LossRate[];
  /** Parameters that are trained. */
  readonly trained: readonly Tensor[];
}

/** Of every position; any number where no target counts. */
export interface ReadoutLoss {
  readonly tokenLoss: Tensor; // [N]
  /** 1 where the target has the largest logit, else 0, `[N]`. */
  readonly correct: Tensor;
}

/** @param hidden - of each loop, `[N, D]` */
export function readoutLosses(
  hidden: readonly Tensor[],
  { head, rows, rates, trained }: ReadoutOptions,
): readonly ReadoutLoss[] {
  /** Where a head that is trained as it is stands among the parameters. */
  const plain = trained.findIndex((parameter) => parameter === head);
  /**
   * Of the parameters, over all chunks so far. That of a plain head is transposed, so that the gradients of the
   * logits need not be, which are larger than hidden states.
   */
  let sums: readonly (Tensor | undefined)[] = trained.map(() => undefined);
  /** Is there when the chunk before has been computed. */
  let done: readonly Tensor[] = [];

  function losses(h: Tensor, rate: LossRate, { rows: own, labels, counts, select }: ReadoutChunk) {
    const x = barrier(gatherRows(h, own), ...done);
    const logits = readout(x, head);
    const target = pick(logits, labels);
    const largest = rowMax(logits);
    const correct = cast(greaterOrEqual(target, largest), 'f32');
    if (rate === 'unknown') {
      const tokenLoss = recompute(([y]) => crossEntropy(readout(y!, head), labels), [x]);
      done = [tokenLoss, correct];
      return { tokenLoss, correct, gradH: undefined };
    }
    const probabilities = softmax(logits);
    // log softmax of the target; that of the largest is the logarithm of the largest probability.
    const tokenLoss = sub(sub(largest, target), log(rowMax(probabilities)));
    done = [tokenLoss, correct];
    if (rate === 'none') return { tokenLoss, correct, gradH: undefined };
    const factor = reshape(select(rate), [...labels.shape, 1]);
    const gradLogits = addAt(probabilities, labels, neg(counts));
    // Rows are scaled where they are narrow: in h, and in its gradient.
    const leaf = stopGradient(x);
    const needsH = dependsOn(h, trained);
    const [byH] = needsH ? pullback(readout(leaf, head), gradLogits, [leaf]) : [];
    const gradH = byH && mul(byH, factor);
    const scaled = mul(leaf, factor);
    const grads =
      plain === -1
        ? pullback(readout(scaled, head), gradLogits, trained)
        : trained.map((_, index) =>
            index === plain ? matmul(scaled, gradLogits, { transposeA: true }) : undefined,
          );
    sums = grads.map((grad, index) => {
      const sum = sums[index];
      return grad && sum ? add(sum, grad) : (grad ?? sum);
    });
    done = [...done, gradH, ...sums].filter((signal) => signal !== undefined);
    return { tokenLoss, correct, gradH };
  }

  const byLoop = hidden.map((h, loopIndex) => {
    const chunks = rows.chunks.map((chunk) => losses(h, rates[loopIndex]!, chunk));
    return {
      tokenLoss: rows.spread(chunks.map(({ tokenLoss }) => tokenLoss)),
      correct: rows.spread(chunks.map(({ correct }) => correct)),
      gradH: chunks[0]!.gradH && rows.spreadVectors(chunks.map(({ gradH }) => gradH!)),
    };
  });
  const isKnown = (rate: LossRate) => rate !== 'none' && rate !== 'unknown';
  const last = rates.findLastIndex(isKnown);
  return byLoop.map(({ tokenLoss, correct, gradH }, loopIndex) => {
    const rate = rates[loopIndex]!;
    if (rate === 'unknown') return { tokenLoss, correct };
    if (rate === 'none') return { tokenLoss: stopGradient(tokenLoss), correct };
    // The parameters' gradients are those of all loops: the last one hands them on.
    const ofTrained = trained.map((_, index) => {
      const sum = loopIndex === last ? sums[index] : undefined;
      return sum && index === plain ? transpose(sum, [1, 0]) : sum;
    });
    const grads = [gradH, ...ofTrained];
    return {
      tokenLoss: withGradient(tokenLoss, [hidden[loopIndex]!, ...trained], () => grads),
      correct,
    };
  });
}
