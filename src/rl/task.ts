/**
 * What a policy is trained on: a task draws problems and says what an answer is worth.
 *
 * A task knows no model: a prompt is text, a conversation or token ids, and an answer is what was
 * generated. All randomness of a problem comes from the generator it is handed.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { ConfigError } from '../errors.js';
import type { FinishReason } from '../engine/index.js';
import type { ChatMessage } from '../tokenizer/index.js';
import { abortable } from '../util/abortable.js';
import { showValue } from '../util/quote.js';

/** A text, a conversation that the model's chat template renders, or token ids. */
export type PolicyPrompt = string | readonly ChatMessage[] | readonly number[];

/** What was generated. */
export interface Answer {
  /** New text, without what ends it; empty for a model without a tokenizer. */
  readonly text: string;
  /** New ids, the stop id included. */
  readonly tokenIds: readonly number[];
  /** Depth of each, 1 to R. */
  readonly exitDepths: readonly number[];
  readonly finishReason: FinishReason;
}

/** A task with problems of type `P`. */
export interface PolicyTask<
  P extends { readonly prompt: PolicyPrompt } = { prompt: PolicyPrompt },
> {
  readonly name: string;
  /** Hardest difficulty, from 1; default 1: all problems are alike. */
  readonly maxDifficulty?: number;
  /** @param difficulty - from 1 to `maxDifficulty` */
  draw(rng: RandomGenerator, difficulty: number): P;
  /** What an answer is worth; 1 counts as solved in what is printed. */
  reward(answer: Answer, problem: P, signal: AbortSignal): number | Promise<number>;
}

/** A reward, or in a sentence why there is none. */
export type Judgement = { readonly reward: number } | { readonly fault: string };

/**
 * The reward of an answer. What a task does wrong (it throws, takes too long, returns no number) is told and
 * ends nothing.
 *
 * @param timeoutMs - for rewards that are promises; one that computes for ever without awaiting cannot be stopped
 */
export async function judge<P extends { readonly prompt: PolicyPrompt }>(
  task: PolicyTask<P>,
  answer: Answer,
  problem: P,
  timeoutMs: number,
): Promise<Judgement> {
  // not AbortSignal.timeout: a process with nothing else to do would end before it
  const controller = new AbortController();
  const { signal } = controller;
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  try {
    const given = task.reward(answer, problem, signal);
    const reward = given instanceof Promise ? await abortable(given, signal) : given;
    if (Number.isFinite(reward)) return { reward };
    return { fault: `it returned ${showValue(reward)}, which is no finite number` };
  } catch (error) {
    if (signal.aborted) return { fault: `it took longer than ${timeoutMs / 1000} s` };
    return { fault: `it threw: ${error instanceof Error ? error.message : showValue(error)}` };
  } finally {
    clearTimeout(timer);
  }
}

/** @throws ConfigError for a task whose difficulties are not whole numbers from 1 up */
export function maxDifficultyOf({
  name,
  maxDifficulty = 1,
}: Pick<PolicyTask, 'name' | 'maxDifficulty'>): number {
  if (Number.isSafeInteger(maxDifficulty) && maxDifficulty >= 1) return maxDifficulty;
  throw new ConfigError(
    'maxDifficulty',
    `maxDifficulty of the task ${name} is ${showValue(maxDifficulty)}; it must be a whole number from 1 up.`,
  );
}
