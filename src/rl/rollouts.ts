/**
 * Groups of answers to drawn problems, by an engine that shares the weights in training.
 *
 * Everything is a function of the weights, the seed and the train step, so a run that is killed draws the
 * same rollouts again. Answers to one prompt share what is computed of it.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { Engine, ExitPolicy, FinishEvent, RolloutRecord } from '../engine/index.js';
import { parseSamplingOptions } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { generatorFor } from '../util/random.js';
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
export interface Rollout {
  readonly record: RolloutRecord;
  readonly answer: Answer;
  readonly judgement: Judgement;
  /** (token, loop) pairs computed for it, its prompt included. */
  readonly executedLoops: number;
  readonly fullDepthLoops: number;
}

/** All answers to one problem. */
export interface RolloutGroup {
  readonly difficulty: number;
  readonly rollouts: readonly Rollout[];
}

export interface RolloutOptions<P extends { readonly prompt: PolicyPrompt }> {
  readonly task: PolicyTask<P>;
  readonly text: PolicyText;
  readonly engine: Engine;
  readonly exitPolicy: ExitPolicy;
  readonly groupSize: number;
  readonly maxNewTokens: number;
  /** Longest prompt and answer together that can be replayed. */
  readonly maxLength: number;
  readonly rewardTimeoutMs: number;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

/** Tell draws of problems and of answers from each other. */
const [PROBLEMS, ANSWERS] = [0x70726f62, 0x616e7377];

/**
 * One group for each difficulty, all at the same time.
 *
 * @param step - tells the draws of one update from those of others
 * @throws ConfigError for a prompt that leaves no room for an answer
 * @throws the signal's reason when it aborts
 */
export async function drawGroups<P extends { readonly prompt: PolicyPrompt }>(
  step: number,
  difficulties: readonly number[],
  options: RolloutOptions<P>,
): Promise<readonly RolloutGroup[]> {
  const { task, text, engine, exitPolicy, groupSize, seed, signal } = options;
  const problems = difficulties.map((difficulty, group) =>
    task.draw(generatorFor(seed, PROBLEMS, step, group), difficulty),
  );
  const requests = problems.flatMap((problem, group) => {
    const promptIds = text.encode(problem.prompt);
    const maxNewTokens = roomFor(promptIds, options);
    return Array.from({ length: groupSize }, (_, index) => {
      const rng = generatorFor(seed, ANSWERS, step, group, index);
      return {
        promptIds,
        maxNewTokens,
        exitPolicy,
        stopIds: text.stopIds,
        sampling: parseSamplingOptions({ temperature: 1, seed: uniformInt(rng, 0, 2 ** 32 - 1) }),
        record: true,
        ...(signal && { signal }),
      };
    });
  });
  const rollouts: Promise<Rollout>[] = [];
  for await (const event of engine.generate(requests)) {
    if (event.kind !== 'finish') continue;
    const problem = problems[Math.floor(event.requestIndex / groupSize)]!;
    // rewards are found while other answers are still drawn
    rollouts[event.requestIndex] = judged(event, problem, options);
  }
  const all = await Promise.all(rollouts);
  signal?.throwIfAborted();
  return difficulties.map((difficulty, group) => ({
    difficulty,
    rollouts: all.slice(group * groupSize, (group + 1) * groupSize),
  }));
}

async function judged<P extends { readonly prompt: PolicyPrompt }>(
  { rollout, executedLoops, fullDepthLoops }: FinishEvent,
  problem: P,
  { task, text, rewardTimeoutMs }: RolloutOptions<P>,
): Promise<Rollout> {
  const record = rollout!;
  const answer = answerOf(record, text);
  const judgement = await judge(task, answer, problem, rewardTimeoutMs);
  return { record, answer, judgement, executedLoops, fullDepthLoops };
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
  }: Pick<RolloutOptions<never>, 'maxNewTokens' | 'maxLength'> & {
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
