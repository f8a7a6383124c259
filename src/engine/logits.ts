/**
 * What is asked of rows of logits: softmax normaliser, best entry, distance of two distributions.
 *
 * The one idea: rows come as float32 from the runtime, every sum here is float64. A row with NaN or
 * +Infinity has no softmax and is refused by name instead of turning into an arbitrary token.
 * Knows nothing of sampling settings or exit policies.
 */
import { CheckpointError } from '../errors.js';

/** A row of logits `[V]` in either precision; -Infinity marks an impossible token. */
export type LogitsRow = Float32Array | Float64Array;

/**
 * Token id with the largest logit, the lowest id on ties.
 *
 * @throws CheckpointError if the row holds NaN or +Infinity, or nothing but -Infinity.
 */
export function argmax(logits: LogitsRow): number {
  let best = -1;
  let bestLogit = -Infinity;
  for (let id = 0; id < logits.length; id += 1) {
    const logit = logits[id]!;
    // also true for NaN, which fails every comparison
    if (!(logit < Infinity)) throw unusableLogits(id, logit);
    if (logit > bestLogit) {
      best = id;
      bestLogit = logit;
    }
  }
  if (best < 0) throw unusableLogits(0, -Infinity);
  return best;
}

function unusableLogits(id: number, logit: number): CheckpointError {
  const got =
    logit === -Infinity ? 'Every logit is -Infinity' : `The logit of token ${id} is ${logit}`;
  return new CheckpointError(
    `${got}; logits must be below +Infinity and one of them finite. The weights are damaged or ` +
      'overflow: check them with `looplm inspect`.',
  );
}

/**
 * Natural log of the sum of exponentials of a row, in float64.
 *
 * @throws CheckpointError as `argmax`.
 */
export function logSumExp(logits: LogitsRow): number {
  const largest = logits[argmax(logits)]!;
  let sum = 0;
  for (let id = 0; id < logits.length; id += 1) sum += Math.exp(logits[id]! - largest);
  return largest + Math.log(sum);
}

/** KL(softmax(logits) || softmax(reference)) in nats; infinite if the reference rules a token out. */
export function klDivergence(logits: LogitsRow, reference: LogitsRow): number {
  const logSum = logSumExp(logits);
  const referenceLogSum = logSumExp(reference);
  let divergence = 0;
  for (let id = 0; id < logits.length; id += 1) {
    const logProb = logits[id]! - logSum;
    const prob = Math.exp(logProb);
    if (prob > 0) divergence += prob * (logProb - (reference[id]! - referenceLogSum));
  }
  return divergence;
}

/** Places of the largest values, falling; lower places first on ties. */
export function placesOfLargest(values: ArrayLike<number>, count: number): readonly number[] {
  const best: number[] = [];
  const most = Math.min(count, values.length);
  for (let at = 0; at < values.length && most > 0; at += 1) {
    if (best.length === most && !(values[at]! > values[best.at(-1)!]!)) continue;
    let place = best.length;
    while (place > 0 && values[at]! > values[best[place - 1]!]!) place -= 1;
    best.splice(place, 0, at);
    best.length = Math.min(best.length, most);
  }
  return best;
}
