/** Rewards: what a task may do wrong is told, and ends nothing. */
import { describe, expect, it } from 'vitest';
import type { Answer, PolicyTask } from './task.js';
import { judge, maxDifficultyOf } from './task.js';

const ANSWER: Answer = { text: ' 7', tokenIds: [7], exitDepths: [2], finishReason: 'stop-id' };
const PROBLEM = { prompt: 'take 3; plus 4;', answer: ' 7' };
const taskOf = (reward: PolicyTask<typeof PROBLEM>['reward']): PolicyTask<typeof PROBLEM> => ({
  name: 'sums',
  draw: () => PROBLEM,
  reward,
});
const judgedBy = (reward: PolicyTask<typeof PROBLEM>['reward'], timeoutMs = 1000) =>
  judge(taskOf(reward), ANSWER, PROBLEM, timeoutMs);

describe('a reward', () => {
  it('is what the task returns, at once or later', async () => {
    const right = ({ text }: Answer, { answer }: typeof PROBLEM) => (text === answer ? 1 : 0);
    expect(await judgedBy(right)).toEqual({ reward: 1 });
    expect(await judgedBy(() => Promise.resolve(-0.5))).toEqual({ reward: -0.5 });
  });

  it('that is none is told', async () => {
    expect(await judgedBy(() => NaN)).toEqual({
      fault: 'it returned NaN, which is no finite number',
    });
    expect(await judgedBy(() => Promise.resolve(Infinity))).toHaveProperty('fault');
    expect(await judgedBy(() => 'yes' as unknown as number)).toHaveProperty('fault');
    const broken = () => {
      throw new TypeError('no such key');
    };
    expect(await judgedBy(broken)).toEqual({ fault: 'it threw: no such key' });
    expect(await judgedBy(() => Promise.reject(new Error('offline')))).toEqual({
      fault: 'it threw: offline',
    });
  });

  it('that never comes is given up, and told to stop', async () => {
    let stopped = false;
    const hanging = (_: Answer, __: unknown, signal: AbortSignal) =>
      new Promise<number>(() => {
        signal.addEventListener('abort', () => (stopped = true));
      });
    expect(await judgedBy(hanging, 20)).toEqual({ fault: 'it took longer than 0.02 s' });
    expect(stopped).toBe(true);
  });
});

it('difficulties are whole numbers', () => {
  expect(maxDifficultyOf({ name: 'x' })).toBe(1);
  expect(() => maxDifficultyOf({ name: 'x', maxDifficulty: 2.5 })).toThrow(/is 2\.5; it must be/);
});
