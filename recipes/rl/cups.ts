/**
 * The bundled model, taught by reward alone to follow more swaps than it was trained on, and to stop as soon as it
 * knows: depth is an action, and has a price.
 */
import type { PolicyTask } from 'looplm/rl';
import type { Problem } from '../bundled/tasks.js';
import { TASKS, generateUniformProblem } from '../bundled/tasks.js';

/** Swaps of the shortest problem and of the longest. */
const [FEWEST, MOST] = [4, 16];

export const cupsTask: PolicyTask<{ prompt: string; answer: string }> = {
  name: 'cups',
  maxDifficulty: MOST - FEWEST + 1,
  draw(rng, difficulty) {
    const { text, answers }: Problem = generateUniformProblem(
      TASKS.cups,
      FEWEST + difficulty - 1,
      rng,
    );
    return { prompt: text, answer: answers.at(-1)!.answer };
  },
  reward: ({ text }, { answer }) => (text === answer ? 1 : 0),
};

/** Keys of a run's file, beside the model and the task. */
export const CUPS_SETTINGS = {
  rows: 16,
  length: 96,
  groups: 16,
  groupSize: 8,
  maxNewTokens: 2,
  policy: { credit: { kind: 'depth-action' } },
  depth: { price: 0.2 },
  training: { learningRate: 1e-4, trainSteps: 60 },
} as const;
