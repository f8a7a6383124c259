/** What is not a problem: greetings, and questions that nothing here can answer. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { COUNTRIES } from '../countries.js';
import { NAMES } from '../names.js';
import type { Problem, Reply, TaskDefinition } from '../problem.js';
import { UNKNOWN } from '../problem.js';
import { chance, pick, sample, within } from '../random.js';

const GREETING: Reply = {
  before: '',
  answer: 'Hello',
  after: '! Ask me about cups, sums, days, people or countries.',
};
const ABOUT: Reply = {
  before: '',
  answer: 'You',
  after: ' can ask me about cups, sums, days, clocks, people or countries.',
};
const WELCOME: Reply = { before: '', answer: 'Glad', after: ' to help.' };
const GOODBYE: Reply = { before: '', answer: 'Goodbye', after: '.' };

const TALK: readonly (readonly [Reply, readonly string[]])[] = [
  [
    GREETING,
    [
      'Hi',
      'Hello',
      'Hey',
      'Good morning',
      'Good evening',
      'Hello there',
      'Hi there',
      'How are you?',
    ],
  ],
  [
    ABOUT,
    [
      'What can you do?',
      'Who are you?',
      'Help',
      'What are you?',
      'What can I ask you?',
      'How can you help me?',
    ],
  ],
  [WELCOME, ['Thanks', 'Thank you', 'Thanks a lot', 'Good', 'Well done', 'Great']],
  [GOODBYE, ['Bye', 'Goodbye', 'Good night', 'See you']],
];

const CONSONANTS = 'bcdfghjklmnprstvwxz'.split('');
const VOWELS = ['a', 'e', 'i', 'o', 'u', 'y', 'or', 'en', 'il', 'ax'];

/** A word that nobody knows, spelled in bytes. */
function strangeWord(rng: RandomGenerator): string {
  const syllables = Array.from(
    { length: within(rng, [1, 3]) },
    () => pick(rng, CONSONANTS) + pick(rng, VOWELS),
  ).join('');
  return chance(rng, 0.6) ? syllables[0]!.toUpperCase() + syllables.slice(1) : syllables;
}

const anybody = (rng: RandomGenerator) => (chance(rng, 0.5) ? pick(rng, NAMES) : strangeWord(rng));
const largeNumber = (rng: RandomGenerator) => within(rng, [100, 9999]);

/** Questions of the usual forms about what was not told or is not known. */
const QUESTIONS: readonly ((rng: RandomGenerator) => string)[] = [
  (rng) =>
    `What is ${anybody(rng)}'s ${pick(rng, ['capital', 'currency', 'language', 'continent', 'largest neighbour'])}?`,
  (rng) =>
    `What is the ${pick(rng, ['capital', 'currency', 'language', 'continent'])} of ${anybody(rng)}?`,
  (rng) =>
    `What is ${pick(rng, COUNTRIES).name}'s ${pick(rng, ['president', 'king', 'flag', 'population', 'boss', 'mother', 'friend'])}?`,
  (rng) =>
    `Who is the ${pick(rng, ['president', 'king', 'boss', 'mother'])} of ${pick(rng, COUNTRIES).name}?`,
  (rng) =>
    `Who is ${anybody(rng)}'s ${pick(rng, ['boss', 'friend', 'teacher', 'sister', 'mother', 'doctor'])}?`,
  (rng) =>
    `Who is ${pick(rng, ['older', 'taller', 'younger', 'shorter'])}, ${anybody(rng)} or ${anybody(rng)}?`,
  (rng) =>
    `Who is the ${pick(rng, ['oldest', 'tallest', 'youngest', 'second oldest', 'shortest'])}?`,
  (rng) => `Swap cups ${within(rng, [1, 3])} and ${within(rng, [4, 5])}. Where is the ball?`,
  () => 'Where is the ball?',
  (rng) =>
    pick(rng, [
      'What day is it?',
      'What time is it?',
      'What day is the party?',
      'When is the meeting?',
    ]),
  (rng) =>
    `What is ${largeNumber(rng)} ${pick(rng, ['plus', 'minus', 'times', '+', '*'])} ${within(rng, [2, 99])}?`,
  (rng) => `What is ${within(rng, [31, 99])} ${pick(rng, ['plus', '+'])} ${within(rng, [30, 99])}?`,
  (rng) => `How many apples does ${anybody(rng)} have?`,
  (rng) =>
    `${pick(rng, ['Who', 'What', 'Why', 'When', 'How', 'Where'])} ${pick(rng, ['is', 'was', 'did', 'can', 'does'])} ${strangeWord(rng)} ${pick(rng, ['a', 'the', 'in', 'of', 'to'])} ${strangeWord(rng)}?`,
  (rng) =>
    `${strangeWord(rng)} ${strangeWord(rng)} ${strangeWord(rng)}${pick(rng, ['', '?', '.'])}`,
  (rng) =>
    `${pick(rng, NAMES)} ${pick(rng, ['is', 'has', 'and', 'likes'])} ${strangeWord(rng)}. ${pick(rng, ['Why', 'What', 'Who', 'How many'])}?`,
];

/** Words of the vocabulary in no order. */
const SALAD = [
  'cup',
  'boss',
  'older',
  'Tuesday',
  'plus',
  'France',
  'ball',
  'is',
  'the',
  'than',
  'seven',
  'apples',
  'who',
  'swap',
  'hours',
  'capital',
  'Ann',
  'Bob',
  '3',
  '12',
  'under',
];

function ask(rng: RandomGenerator): readonly [text: string, reply: Reply] {
  if (chance(rng, 0.25)) {
    const [reply, texts] = pick(rng, TALK);
    const text = pick(rng, texts);
    return [/[.?!]$/.test(text) ? text : text + pick(rng, ['', '!', '.']), reply];
  }
  if (chance(rng, 0.15)) {
    const words = sample(rng, SALAD, within(rng, [1, 8])).join(' ');
    return [words + pick(rng, ['', '?', '.']), UNKNOWN];
  }
  return [pick(rng, QUESTIONS)(rng), UNKNOWN];
}

export const talk: TaskDefinition = {
  name: 'talk',
  description: 'Greetings, and what it cannot know: it says so.',
  weight: 0.6,
  lessons: [{ difficulty: [1, 1], size: [1, 1] }],
  words: [
    ...TALK.flatMap(([{ answer, after }, texts]) => [answer + after, ...texts]),
    UNKNOWN.answer + UNKNOWN.after,
    ...SALAD,
    'Who What Why When How Where is was did can does a the in of to has and likes',
    'president king flag population plus minus times',
  ],
  draw(rng): Problem {
    const [text, reply] = ask(rng);
    return { task: talk.name, turns: [{ asked: [{ text }], reply, difficulty: 1 }], keys: [] };
  },
};
