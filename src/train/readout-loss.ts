/**
 * The readouts of all loops and their cross-entropies, a chunk of rows after the other, so that the
 * logits of one chunk exist at a time.
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
  concat,
  crossEntropy,
  dependsOn,
  expand,
  greaterOrEqual,
  log,
  mul,
  pick,
  pullback,
  recompute,
  reshape,
  rowMax,
  scalar,
  slice,
  softmax,
  stopGradient,
  sub,
  withGradient,
} from '../graph/index.js';
import type { Weight } from '../model/index.js';
import { readout } from '../model/index.js';

/** Bytes of the logits of a chunk, at most (unless those of one row are more). */
const CHUNK_BYTES = 2 ** 27;

/** Rows of a chunk: of `numRows` about equal ones. */
export function chunkRows(numRows: number, vocabSize: number): number {
  const atMost = Math.max(1, Math.floor(CHUNK_BYTES / (4 * vocabSize)));
  return Math.ceil(numRows / Math.ceil(numRows / atMost));
}

/**
 * How fast the loss grows with each token's cross-entropy, `[N]`: `none` where it does not, `unknown`
 * where that depends on the cross-entropies themselves.
 */
export type LossRate = Tensor | 'none' | 'unknown';

export interface ReadoutOptions {
  readonly head: Weight; // [V, D]
  readonly labels: Tensor; // i32 [N]
  /** One for each loop. */
  readonly rates: readonly LossRate[];
  /** Parameters that are trained. */
  readonly trained: readonly Tensor[];
  readonly chunkRows: number;
}

export interface ReadoutLoss {
  readonly tokenLoss: Tensor; // [N]
  /** 1 where the target has the largest logit, else 0, `[N]`. */
  readonly correct: Tensor;
}

/** @param hidden - of each loop, `[N, D]` */
export function readoutLosses(
  hidden: readonly Tensor[],
  { head, labels, rates, trained, chunkRows: size }: ReadoutOptions,
): readonly ReadoutLoss[] {
  const numRows = labels.shape[0] as number;
  /** Of the parameters, over all chunks so far. */
  let sums: readonly (Tensor | undefined)[] = trained.map(() => undefined);
  /** Is there when the chunk before has been computed. */
  let done: readonly Tensor[] = [];

  function chunk(h: Tensor, rate: LossRate, from: number, to: number) {
    const cut = (x: Tensor) => slice(x, 0, from, to);
    const own = cut(labels);
    const x = barrier(cut(h), ...done);
    const logits = readout(x, head);
    const target = pick(logits, own);
    const largest = rowMax(logits);
    const correct = cast(greaterOrEqual(target, largest), 'f32');
    if (rate === 'unknown') {
      const tokenLoss = recompute(([y]) => crossEntropy(readout(y!, head), own), [x]);
      done = [tokenLoss, correct];
      return { tokenLoss, correct, gradH: undefined };
    }
    const probabilities = softmax(logits);
    // log softmax of the target; that of the largest is the logarithm of the largest probability.
    const tokenLoss = sub(sub(largest, target), log(rowMax(probabilities)));
    done = [tokenLoss, correct];
    if (rate === 'none') return { tokenLoss, correct, gradH: undefined };
    const factor = reshape(cut(rate), [to - from, 1]);
    const gradLogits = addAt(probabilities, own, expand(scalar(-1), [to - from]));
    // Rows are scaled where they are narrow: in h, and in its gradient.
    const leaf = stopGradient(x);
    const needsH = dependsOn(h, trained);
    const [byH] = needsH ? pullback(readout(leaf, head), gradLogits, [leaf]) : [];
    const gradH = byH && mul(byH, factor);
    const scaled = readout(mul(leaf, factor), head);
    sums = pullback(scaled, gradLogits, trained).map((grad, index) => {
      const sum = sums[index];
      return grad && sum ? add(sum, grad) : (grad ?? sum);
    });
    done = [...done, gradH, ...sums].filter((signal) => signal !== undefined);
    return { tokenLoss, correct, gradH };
  }

  const byLoop = hidden.map((h, loopIndex) => {
    const chunks = [];
    for (let from = 0; from < numRows; from += size) {
      chunks.push(chunk(h, rates[loopIndex]!, from, Math.min(numRows, from + size)));
    }
    return {
      tokenLoss: join(chunks.map(({ tokenLoss }) => tokenLoss)),
      correct: join(chunks.map(({ correct }) => correct)),
      gradH: chunks[0]!.gradH && join(chunks.map(({ gradH }) => gradH!)),
    };
  });
  const isKnown = (rate: LossRate) => rate !== 'none' && rate !== 'unknown';
  const last = rates.findLastIndex(isKnown);
  return byLoop.map(({ tokenLoss, correct, gradH }, loopIndex) => {
    const rate = rates[loopIndex]!;
    if (rate === 'unknown') return { tokenLoss, correct };
    if (rate === 'none') return { tokenLoss: stopGradient(tokenLoss), correct };
    // The parameters' gradients are those of all loops: the last one hands them on.
    const ofTrained = loopIndex === last ? sums : trained.map(() => undefined);
    const grads = [gradH, ...ofTrained];
    return {
      tokenLoss: withGradient(tokenLoss, [hidden[loopIndex]!, ...trained], () => grads),
      correct,
    };
  });
}

const join = (parts: readonly Tensor[]): Tensor =>
  parts.length === 1 ? parts[0]! : concat(parts, 0);
