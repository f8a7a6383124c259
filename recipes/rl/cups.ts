/**
 * The bundled model, taught by reward alone to follow more swaps than it was trained on, and to stop as soon as it
 * knows: depth is an action, and has a price.
 */
import type { PolicyTask } from 'looplm/rl';
import type { ChatMessage } from 'looplm/tokenizer';
import { drawAt } from '../bundled/curriculum.js';
import { replyText, textOf } from '../bundled/problem.js';
import { cups } from '../bundled/tasks/cups.js';

/** Swaps of the shortest problem and of the longest. */
const [FEWEST, MOST] = [4, 16];

export const cupsTask: PolicyTask<{ prompt: readonly ChatMessage[]; answer: string }> = {
  name: 'cups',
  maxDifficulty: MOST - FEWEST + 1,
  draw(rng, difficulty) {
    const [turn] = drawAt(rng, cups, cups.lessons.at(-1)!, FEWEST + difficulty - 1).turns;
    const prompt = [{ role: 'user' as const, content: textOf(turn!.asked) }];
    return { prompt, answer: replyText(turn!.reply) };
  },
  reward: ({ text }, { answer }) => (text.trim() === answer ? 1 : 0),
};

/** Keys of a run's file, beside the model and the task. */
export const CUPS_SETTINGS = {
  rows: 8,
  length: 192,
  groups: 16,
  groupSize: 8,
  maxNewTokens: 8,
  policy: { credit: { kind: 'depth-action' } },
  depth: { price: 0.2 },
  training: { learningRate: 1e-4, trainSteps: 60 },
} as const;
