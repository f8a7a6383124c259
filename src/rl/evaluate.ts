/** How well a policy does: greedy answers to problems that are the same each time. */
import type { Engine, ExitPolicy } from '../engine/index.js';
import { parseSamplingOptions } from '../engine/index.js';
import type { KvPolicy } from '../model/index.js';
import { generatorFor } from '../util/random.js';
import type { PolicyText } from './rollouts.js';
import { answerOf } from './rollouts.js';
import type { PolicyPrompt, PolicyTask } from './task.js';
import { judge, maxDifficultyOf } from './task.js';

export interface EvaluatePolicyOptions<P extends { readonly prompt: PolicyPrompt }> {
  readonly task: PolicyTask<P>;
  readonly text: PolicyText;
  readonly engine: Engine;
  /** How answers exit. */
  readonly exitPolicy: ExitPolicy;
  /** Default `per-loop`. */
  readonly kvPolicy?: KvPolicy | undefined;
  readonly maxNewTokens: number;
  /** How many, of all difficulties in turn. */
  readonly problems: number;
  /** Of the problems. Those of training have other draws, whatever the seed. */
  readonly seed: number;
  readonly rewardTimeoutMs: number;
}

export interface PolicyFigures {
  /** Mean over the answers that have one. */
  readonly reward: number;
  /** Mean exit depth of generated tokens. */
  readonly meanDepth: number;
  /** Loops that ran, prompt included, as a part of all that there are. */
  readonly executedShare: number;
}

/** Tells these problems from those of training. */
const EVALUATION = 0x6576616c;

export async function evaluatePolicy<P extends { readonly prompt: PolicyPrompt }>({
  task,
  text,
  engine,
  exitPolicy,
  kvPolicy = 'per-loop',
  maxNewTokens,
  problems,
  seed,
  rewardTimeoutMs,
}: EvaluatePolicyOptions<P>): Promise<PolicyFigures> {
  const maxDifficulty = maxDifficultyOf(task);
  const drawn = Array.from({ length: problems }, (_, index) =>
    task.draw(generatorFor(seed, EVALUATION, index), 1 + (index % maxDifficulty)),
  );
  const requests = drawn.map(({ prompt }, index) => ({
    promptIds: text.encode(prompt),
    maxNewTokens,
    exitPolicy,
    kvPolicy,
    stopIds: text.stopIds,
    sampling: parseSamplingOptions({ seed: index }),
    cachePrefix: false, // all loops that a problem asks for are counted
  }));
  const answers = drawn.map(() => ({ tokenIds: [] as number[], exitDepths: [] as number[] }));
  const rewards: number[] = [];
  let [executed, all] = [0, 0];
  for await (const event of engine.generate(requests)) {
    const { tokenIds, exitDepths } = answers[event.requestIndex]!;
    if (event.kind === 'token') {
      tokenIds.push(event.tokenId);
      exitDepths.push(event.exitDepth);
      continue;
    }
    const { finishReason, executedLoops, fullDepthLoops, requestIndex } = event;
    const answer = answerOf({ tokenIds, exitDepths, finishReason }, text);
    const judgement = await judge(task, answer, drawn[requestIndex]!, rewardTimeoutMs);
    if ('reward' in judgement) rewards.push(judgement.reward);
    executed += executedLoops;
    all += fullDepthLoops;
  }
  const depths = answers.flatMap(({ exitDepths }) => exitDepths);
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  return { reward: mean(rewards), meanDepth: mean(depths), executedShare: executed / all };
}
