/**
 * How far the trainer's replay is from what the rollouts recorded: the exactness that all else rests on.
 *
 * A difference beyond rounding means that other computations drew the tokens than are trained: other
 * weights, another KV policy, another depth.
 */
import type { TokenOutputs } from '../train/index.js';
import type { PolicySettings } from './objective-settings.js';
import type { ReplayedRollout } from './replay.js';
import { exitLogProbOf } from './replay.js';

export interface Agreement {
  /** Largest difference of a log-probability of a drawn token, of all loops that ran. */
  readonly maxTokenDifference: number;
  /** The same of the log-probability of an exit; 0 for a model without a gate. */
  readonly maxExitDifference: number;
  /**
   * Divergence of what was drawn from what is trained, in nats a token: mean of the log-probability of
   * each token by the rollout, less that by the trainer, which may take it at another depth than the
   * rollout did.
   */
  readonly divergence: number;
}

/** @param outputs - of the batches in which the rollouts are replayed */
export function agreementOf(
  rollouts: readonly ReplayedRollout[],
  outputs: readonly TokenOutputs[],
  { credit }: Pick<PolicySettings, 'credit'>,
): Agreement {
  let [maxTokenDifference, maxExitDifference, gap, count] = [0, 0, 0, 0];
  for (const { record, batch, offset } of rollouts) {
    const { logProbs, exitLogProbs } = outputs[batch]!;
    record.tokenIds.forEach((_, token) => {
      const position = offset + token;
      const depth = record.exitDepths[token]!;
      record.loopLogprobs[token]!.forEach((logprob, loopIndex) => {
        const difference = Math.abs(logprob - logProbs[loopIndex]![position]!);
        maxTokenDifference = Math.max(maxTokenDifference, difference);
      });
      const trained = logProbs.at(credit.kind === 'last-loop' ? -1 : depth - 1)!;
      gap += record.logprobs[token]! - trained[position]!;
      count++;
      if (!record.gateLogits) return;
      const exit = exitLogProbs[depth - 1]![position]!;
      const difference = Math.abs(exitLogProbOf(record, token) - exit);
      maxExitDifference = Math.max(maxExitDifference, difference);
    });
  }
  return { maxTokenDifference, maxExitDifference, divergence: gap / Math.max(1, count) };
}
