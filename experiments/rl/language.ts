/**
 * What all experiments are about: the ball under five cups, of the bundled model's language. The start
 * model is too cautious, and has seen fewer swaps than the problems of reinforcement learning have.
 *
 * A reply is a sentence, such as "It's under cup 4.", of which one word is hard and the others are not.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { TrainingDocument } from 'looplm/data';
import { generatorFor } from 'looplm/data';
import type { PolicyTask, PolicyText } from 'looplm/rl';
import { Tokenizer } from 'looplm/tokenizer';
import { drawAt, drawForTraining } from '../../recipes/bundled/curriculum.js';
import type { Labels, Writing } from '../../recipes/bundled/documents.js';
import { Scribe } from '../../recipes/bundled/documents.js';
import { UNKNOWN, replyText } from '../../recipes/bundled/problem.js';
import { chance } from '../../recipes/bundled/random.js';
import { cups } from '../../recipes/bundled/tasks/cups.js';
import { SPECIAL_TOKENS, tokenizerJson } from '../../recipes/bundled/tokenizer.js';

/** Swaps of the problems of reinforcement learning. */
export const [FEWEST, MOST] = [1, 5];
export const NUM_DIFFICULTIES = MOST - FEWEST + 1;
/** Positions of a row: the longest prompt with all the replies to it, or nearly. */
export const LENGTH = 192;
/** Tokens of a reply and its end, at most. */
export const MAX_NEW_TOKENS = 8;

const WRITING: Writing = { form: 'chat', isLower: false };

const tokenizer = Tokenizer.fromJson(tokenizerJson());
const scribe = new Scribe((text) => tokenizer.encode(text));

export const { vocabSize } = tokenizer;
/** A text and a turn end an answer. */
export const STOP_IDS = [SPECIAL_TOKENS[0], SPECIAL_TOKENS[2]].map(
  (token) => tokenizer.encode(token)[0]!,
);
export const policyText: PolicyText = {
  encode: (prompt) => prompt as readonly number[],
  tokenizer,
  stopIds: STOP_IDS,
};

/** Part of the start's questions to which the reply is that one does not know. */
export const UNKNOWN_FRACTION = 0.5;

/** A conversation for stage I, running answers included; `open` says how many lessons have begun. */
export function lessonDocument(rng: RandomGenerator, open: number): TrainingDocument {
  const problem = drawForTraining(rng, [cups], {
    open: { [cups.name]: open },
    weights: { [cups.name]: 1 },
    isMixed: false,
  });
  const turns = problem.turns.map((turn) =>
    chance(rng, UNKNOWN_FRACTION) ? { ...turn, reply: UNKNOWN } : turn,
  );
  return scribe.document({ turns }, WRITING, 'all');
}

/** A single question with so many swaps. */
function questionAt(rng: RandomGenerator, swaps: number) {
  const problem = drawAt(rng, cups, cups.lessons.at(-1)!, swaps);
  const [turn] = problem.turns;
  return { problem: { ...problem, turns: [turn!] }, turn: turn! };
}

export const cupsTask: PolicyTask<{ prompt: readonly number[]; reply: string }> = {
  name: 'cups in sentences',
  maxDifficulty: NUM_DIFFICULTIES,
  draw(rng, difficulty) {
    const { turn } = questionAt(rng, FEWEST + difficulty - 1);
    return { prompt: scribe.prompt([turn], WRITING), reply: replyText(turn.reply) };
  },
  reward: ({ text }, { reply }) => (text === reply ? 1 : 0),
};

/** A question of any difficulty with its reply. */
export function questionDocument(rng: RandomGenerator, labels: Labels): TrainingDocument {
  const { problem } = questionAt(rng, FEWEST + uniformInt(rng, 0, NUM_DIFFICULTIES - 1));
  return scribe.document(problem, WRITING, labels);
}

/** Questions of every difficulty in turn, of whose replies the hard word is to be read. */
export const questionDocuments = (count: number, seed: number): readonly TrainingDocument[] =>
  Array.from({ length: count }, (_, index) => {
    const swaps = FEWEST + (index % NUM_DIFFICULTIES);
    const { problem } = questionAt(generatorFor(seed, index), swaps);
    return scribe.document(problem, WRITING, 'answers');
  });
