/**
 * Groups of answers to drawn problems, and what each answer is worth.
 *
 * Everything is a function of the weights, the seed and the train step, so a run that is killed draws the
 * same rollouts again. Answers to one prompt share what is computed of it.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { Engine, ExitPolicy, RolloutRecord } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { generatorFor } from '../util/random.js';
import type { DrawnAnswer, GroupAnswer, GroupRequest } from './answers.js';
import { drawAnswers } from './answers.js';
import type { ReplayedKvPolicy } from './objective-settings.js';
import type { Answer, Judgement, PolicyPrompt, PolicyTask } from './task.js';
import { judge } from './task.js';

/** From prompts to token ids, and from those of an answer to its text. */
export interface PolicyText {
  encode(prompt: PolicyPrompt): readonly number[];
  readonly tokenizer: Tokenizer | undefined;
  /** Generating one of them ends an answer. */
  readonly stopIds: readonly number[];
}

/** An answer, what it is worth, and all that is needed to replay it. */
export interface Rollout extends DrawnAnswer {
  readonly answer: Answer;
  readonly judgement: Judgement;
  /** Updates between the weights that drew it and those that it teaches. */
  readonly staleness: number;
}

/** A problem, and what is asked of the policy. */
export interface GroupPlan<P> {
  readonly difficulty: number;
  readonly problem: P;
  readonly request: GroupRequest;
}

/** All answers to one problem. */
export interface RolloutGroup {
  readonly difficulty: number;
  readonly rollouts: readonly Rollout[];
}

export interface GroupPlanOptions<P extends { readonly prompt: PolicyPrompt }> {
  readonly task: PolicyTask<P>;
  readonly text: PolicyText;
  readonly exitPolicy: ExitPolicy;
  readonly kvPolicy: ReplayedKvPolicy;
  readonly groupSize: number;
  readonly maxNewTokens: number;
  /** Longest prompt and answer together that can be replayed. */
  readonly maxLength: number;
  readonly seed: number;
}

export interface JudgeOptions<P extends { readonly prompt: PolicyPrompt }> {
  readonly task: PolicyTask<P>;
  readonly text: PolicyText;
  readonly rewardTimeoutMs: number;
}

export interface DrawOptions<P extends { readonly prompt: PolicyPrompt }>
  extends GroupPlanOptions<P>, JudgeOptions<P> {
  readonly engine: Engine;
  readonly signal?: AbortSignal | undefined;
}

/** Tell draws of problems and of answers from each other. */
const [PROBLEMS, ANSWERS] = [0x70726f62, 0x616e7377];

/**
 * One group for each difficulty.
 *
 * @param step - tells the draws of one update from those of others
 * @throws ConfigError for a prompt that leaves no room for an answer
 */
export function planGroups<P extends { readonly prompt: PolicyPrompt }>(
  step: number,
  difficulties: readonly number[],
  options: GroupPlanOptions<P>,
): readonly GroupPlan<P>[] {
  const { task, text, exitPolicy, kvPolicy, groupSize, seed } = options;
  return difficulties.map((difficulty, group) => {
    const problem = task.draw(generatorFor(seed, PROBLEMS, step, group), difficulty);
    const promptIds = text.encode(problem.prompt);
    const request: GroupRequest = {
      promptIds,
      maxNewTokens: roomFor(promptIds, options),
      stopIds: text.stopIds,
      exitPolicy: exitPolicy.name,
      kvPolicy,
      seeds: Array.from({ length: groupSize }, (_, index) =>
        uniformInt(generatorFor(seed, ANSWERS, step, group, index), 0, 2 ** 32 - 1),
      ),
    };
    return { difficulty, problem, request };
  });
}

/**
 * The groups with their answers and what these are worth. Rewards are found while other answers are still drawn.
 *
 * @throws whatever `answers` throws
 */
export async function judgeGroups<P extends { readonly prompt: PolicyPrompt }>(
  plans: readonly GroupPlan<P>[],
  answers: AsyncIterable<GroupAnswer>,
  options: JudgeOptions<P>,
): Promise<readonly RolloutGroup[]> {
  const judging = plans.map((): Promise<Rollout>[] => []);
  for await (const drawn of answers) {
    const { problem } = plans[drawn.group]!;
    judging[drawn.group]![drawn.index] = judged(drawn, problem, options);
  }
  return Promise.all(
    plans.map(async ({ difficulty }, group) => {
      return { difficulty, rollouts: await Promise.all(judging[group]!) };
    }),
  );
}

/**
 * One group for each difficulty, drawn at the same time, and judged.
 *
 * @throws as `planGroups` and `drawAnswers` do
 */
export async function drawGroups<P extends { readonly prompt: PolicyPrompt }>(
  step: number,
  difficulties: readonly number[],
  options: DrawOptions<P>,
): Promise<readonly RolloutGroup[]> {
  const { engine, signal } = options;
  const plans = planGroups(step, difficulties, options);
  const requests = plans.map(({ request }) => request);
  return judgeGroups(plans, drawAnswers(engine, requests, signal), options);
}

async function judged<P extends { readonly prompt: PolicyPrompt }>(
  { record, executedLoops, fullDepthLoops, staleness }: GroupAnswer,
  problem: P,
  { task, text, rewardTimeoutMs }: JudgeOptions<P>,
): Promise<Rollout> {
  const answer = answerOf(record, text);
  const judgement = await judge(task, answer, problem, rewardTimeoutMs);
  return { record, answer, judgement, executedLoops, fullDepthLoops, staleness };
}

/** What was generated, as a task sees it. */
export function answerOf(
  {
    tokenIds,
    exitDepths,
    finishReason,
  }: Pick<RolloutRecord, 'tokenIds' | 'exitDepths' | 'finishReason'>,
  { tokenizer }: Pick<PolicyText, 'tokenizer'>,
): Answer {
  const shown = finishReason === 'stop-id' ? tokenIds.slice(0, -1) : tokenIds;
  return { text: tokenizer?.decode(shown) ?? '', tokenIds, exitDepths, finishReason };
}

/** Tokens that an answer may have, such that it can be replayed; the last one is not read again. */
function roomFor(
  promptIds: readonly number[],
  {
    task,
    maxNewTokens,
    maxLength,
  }: Pick<GroupPlanOptions<never>, 'maxNewTokens' | 'maxLength'> & {
    readonly task: Pick<PolicyTask<never>, 'name'>;
  },
): number {
  const room = maxLength - promptIds.length + 1;
  if (room >= 1) return Math.min(room, maxNewTokens);
  throw new ConfigError(
    'length',
    `A prompt of the task ${task.name} has ${promptIds.length} tokens, and rows have ${maxLength}; make rows longer, or prompts shorter.`,
  );
}
