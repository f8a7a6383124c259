/**
 * Rollouts that tell a trainer what is wrong: they run all loops, as engines of fixed depth do, and are
 * handed over as if each token had exited where the gate would have. So what is trained is what nobody
 * drew. Here to show what comes of it; looplm itself replays what was computed.
 */
import type { RolloutRecord } from 'looplm/engine';
import { ExitTracker, sampledExit } from 'looplm/engine';
import { mean } from 'looplm/eval';
import type { GroupAnswer } from 'looplm/rl';
import { LocalRollouts } from 'looplm/rl';

export class PretendedExits extends LocalRollouts {
  override async *answers(
    trainStep: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<GroupAnswer> {
    for await (const answer of super.answers(trainStep, signal)) {
      yield { ...answer, record: pretended(answer.record) };
    }
  }
}

/** The record of a rollout of full depth, its tokens at the depths that the gate would have drawn. */
export function pretended(record: RolloutRecord): RolloutRecord {
  const { gateLogits, numLoops, seed } = record;
  const exitDepths = gateLogits!.map((logits, tokenIndex) => {
    const tracker = new ExitTracker(sampledExit(), { numLoops, seed, tokenIndex });
    logits.find((gateLogit) => tracker.observe({ gateLogit }));
    return tracker.depth;
  });
  return { ...record, exitDepths, meanDepth: mean(exitDepths) };
}
