/** People in an order of age or height, of which neighbours are compared. */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { NAMES } from '../names.js';
import type {
  Lesson,
  Piece,
  Problem,
  Range,
  Reply,
  TaskDefinition,
  Turn,
  Wording,
} from '../problem.js';
import { afterSpace, itIs, question, textOf } from '../problem.js';
import type { Ways } from '../random.js';
import { chance, pick, sample, shuffled, wayOf, within } from '../random.js';

/** Words for more and less, and for most and least. */
interface Order {
  readonly more: string;
  readonly less: string;
  readonly most: string;
  readonly least: string;
}
const ORDERS: readonly Order[] = [
  { more: 'older', less: 'younger', most: 'oldest', least: 'youngest' },
  { more: 'taller', less: 'shorter', most: 'tallest', least: 'shortest' },
];
const RANKS = ['', 'second ', 'third '];

const EXTREMES: Ways<(rank: string) => string> = {
  trained: [
    (rank) => `Who is the ${rank}?`,
    (rank) => `Who's the ${rank}?`,
    (rank) => `Which one is the ${rank}?`,
  ],
  heldOut: [(rank) => `Which person is the ${rank}?`, (rank) => `Now who is the ${rank}?`],
};
const NEXT: Ways<(more: string, other: string) => string> = {
  trained: [
    (more, other) => `Who is just ${more} than ${other}?`,
    (more, other) => `Which one is just ${more} than ${other}?`,
  ],
  heldOut: [(more, other) => `Who's just ${more} than ${other}?`],
};
const LISTS: Ways<(ends: string) => string> = {
  trained: [(ends) => `Name them ${ends}.`, (ends) => `Tell me all ${ends}.`],
  heldOut: [(ends) => `Now name them ${ends}.`],
};
/** Of the questions, those for the one beside and for all; of the others, those that compare two. */
const NEXT_FRACTION = 0.15;
const LIST_FRACTION = 0.15;
const COMPARISON_FRACTION = 0.25;
const COMPARISONS: Ways<(more: string, a: string, b: string) => string> = {
  trained: [
    (more, a, b) => `Who is ${more}, ${a} or ${b}?`,
    (more, a, b) => `Which person is ${more}, ${a} or ${b}?`,
  ],
  heldOut: [
    (more, a, b) => `Who's ${more}, ${a} or ${b}?`,
    (more, a, b) => `Which one is ${more}, ${a} or ${b}?`,
  ],
};

interface Asked {
  readonly pieces: readonly Piece[];
  readonly reply: Reply;
  readonly difficulty: number;
}

/** Somebody who is told of beside the answer: the step of which the other questions need several. */
function askNext(rng: RandomGenerator, order: readonly string[], more: string, wording: Wording) {
  const place = within(rng, [0, order.length - 2]);
  const answer = order[place]!;
  const text = wayOf(rng, NEXT, wording)(more, order[place + 1]!);
  return { pieces: question(text, answer), reply: itIs(answer), difficulty: 1 };
}

/** Which of two is first. */
function askComparison(
  rng: RandomGenerator,
  order: readonly string[],
  more: string,
  [easiest, hardest]: Range,
  wording: Wording,
): Asked {
  const farthest = Math.min(hardest, order.length - 1);
  const distance = within(rng, [Math.min(easiest, farthest), farthest]);
  const first = within(rng, [0, order.length - 1 - distance]);
  const answer = order[first]!;
  const [a, b] = shuffled(rng, [answer, order[first + distance]!]);
  const text = wayOf(rng, COMPARISONS, wording)(more, a!, b!);
  return { pieces: question(text, answer), reply: itIs(answer), difficulty: distance };
}

/** Who has a rank; the labels go there from the first one. */
function askRank(
  rng: RandomGenerator,
  order: readonly string[],
  most: string,
  [easiest, hardest]: Range,
  wording: Wording,
): Asked {
  const last = Math.min(hardest, order.length - 1, RANKS.length);
  const rank = within(rng, [Math.min(easiest, last), last]);
  const text = wayOf(rng, EXTREMES, wording)(RANKS[rank - 1]! + most);
  const pieces: Piece[] = [
    { text: text.slice(0, -1), running: ` ${order[0]!}` },
    { text: text.slice(-1), running: rank > 1 ? ` ${order[1]!}` : undefined },
  ];
  return { pieces, reply: itIs(order[rank - 1]!), difficulty: rank };
}

/** Everybody in order. */
function askList(rng: RandomGenerator, order: readonly string[], ends: string, wording: Wording) {
  const text = wayOf(rng, LISTS, wording)(ends);
  const before = `${order.slice(0, -1).join(', ')},`;
  const reply = { before, answer: ` ${order.at(-1)!}`, after: '.' };
  return { pieces: [{ text }], reply, difficulty: 1 };
}

/** The people from one end to the other, and the words for it. */
function drawDirection(
  rng: RandomGenerator,
  people: readonly string[],
  { more, less, most, least }: Order,
) {
  return chance(rng, 0.5)
    ? { order: people, more, most, ends: `from ${most} to ${least}` }
    : { order: people.toReversed(), more: less, most: least, ends: `from ${least} to ${most}` };
}

/** A question about people from first to last, its answer and how hard it is. */
function askAbout(
  rng: RandomGenerator,
  people: readonly string[],
  words: Order,
  range: Range,
  wording: Wording,
): Asked {
  const { order, more, most, ends } = drawDirection(rng, people, words);
  if (range[0] === 1) {
    const kind = uniformFloat64(rng);
    if (kind < NEXT_FRACTION) return askNext(rng, order, more, wording);
    if (kind < NEXT_FRACTION + LIST_FRACTION) return askList(rng, order, ends, wording);
  }
  if (chance(rng, COMPARISON_FRACTION)) return askComparison(rng, order, more, range, wording);
  return askRank(rng, order, most, range, wording);
}

/** For the one beside or for a rank. */
function askPlain(
  rng: RandomGenerator,
  people: readonly string[],
  words: Order,
  range: Range,
): Asked {
  const { order, more, most } = drawDirection(rng, people, words);
  return range[0] === 1 && chance(rng, 0.5)
    ? askNext(rng, order, more, 'trained')
    : askRank(rng, order, most, range, 'trained');
}

/**
 * Who is at the top and who at the bottom of the chain of comparisons that each pair belongs to when it
 * is told. A pair is the place of its upper one in the order.
 */
function chainEnds(
  people: readonly string[],
  places: readonly number[],
): { readonly top: string; readonly bottom: string }[] {
  const told = new Set<number>();
  return places.map((place) => {
    told.add(place);
    let [top, bottom] = [place, place + 1];
    while (told.has(top - 1)) top--;
    while (told.has(bottom)) bottom++;
    return { top: people[top]!, bottom: people[bottom]! };
  });
}

const MAX_QUESTIONS = 5;

interface Comparison {
  readonly text: string;
  /** Place of the upper one in the order. */
  readonly place: number;
}

/** Comparisons of neighbours, in any order. */
function compareAll(
  rng: RandomGenerator,
  people: readonly string[],
  { more, less }: Order,
): Comparison[] {
  return shuffled(rng, [...people.slice(1).keys()]).map((place) => {
    const [upper, lower] = [people[place]!, people[place + 1]!];
    const isTurned = chance(rng, 0.4);
    const text = isTurned
      ? `${lower} is ${less} than ${upper}`
      : `${upper} is ${more} than ${lower}`;
    return { text, place };
  });
}

/** People of the plain lessons. */
const PLAIN_NAMES = NAMES.slice(0, 24);
const PLAIN_QUESTIONS = 6;

/** Many questions, answered by a name alone: nearly every label is one that has to be found. */
function drawPlain(rng: RandomGenerator, { size, difficulty }: Lesson): Problem {
  const order = pick(rng, ORDERS);
  const people = sample(rng, PLAIN_NAMES, Math.max(within(rng, size), difficulty[0] + 1));
  // A word before the first name: every name then is the token that the questions have.
  const told = compareAll(rng, people, order).map(({ text }, index): Piece => ({
    text: index === 0 ? `Now ${text}.` : ` ${text}.`,
  }));
  const turns = Array.from({ length: PLAIN_QUESTIONS }, (_, index): Turn => {
    const { pieces, reply, difficulty: hardness } = askPlain(rng, people, order, difficulty);
    return {
      asked: index === 0 ? [...told, ...afterSpace(pieces)] : pieces,
      reply: { before: '', answer: reply.answer.trim(), after: '' },
      difficulty: hardness,
    };
  });
  return { task: 'ordering', turns, keys: [], isPlain: true };
}

export const ordering: TaskDefinition = {
  name: 'ordering',
  description: 'People are compared by age or height, two at a time; who is the oldest?',
  weight: 1.2,
  lessons: [
    { difficulty: [1, 1], size: [2, 4], isPlain: true },
    { difficulty: [1, 1], size: [4, 5], isPlain: true },
    { difficulty: [2, 2], size: [4, 5], isPlain: true },
    { difficulty: [3, 3], size: [4, 5], isPlain: true },
    { difficulty: [2, 3], size: [4, 5] },
    { difficulty: [1, 3], size: [2, 5] },
  ],
  words: [
    ...ORDERS.flatMap((order) => Object.values<string>({ ...order })),
    ...RANKS,
    ...[...EXTREMES.trained, ...EXTREMES.heldOut].map((way) => way('')),
    ...[...NEXT.trained, ...NEXT.heldOut].map((way) => way('', '')),
    ...[...LISTS.trained, ...LISTS.heldOut].map((way) => way('from to')),
    ...[...COMPARISONS.trained, ...COMPARISONS.heldOut].map((way) => way('', '', '')),
    'is than',
  ],
  draw(rng, lesson, wording) {
    if (lesson.isPlain) return drawPlain(rng, lesson);
    const { difficulty, size } = lesson;
    const order = pick(rng, ORDERS);
    const people = sample(rng, NAMES, Math.max(within(rng, size), difficulty[0] + 1));
    const facts = compareAll(rng, people, order);
    // The questions alone are few labels; these teach at every fact the order that the questions need.
    const ends = chainEnds(
      people,
      facts.map(({ place }) => place),
    );
    const told = facts.flatMap(({ text }, index): Piece[] => [
      { text: index === 0 ? text : ` ${text}`, running: ` ${ends[index]!.top}` },
      { text: '.', running: ` ${ends[index]!.bottom}` },
    ]);
    const numQuestions = within(rng, [1, MAX_QUESTIONS]);
    const asked = Array.from({ length: numQuestions }, () =>
      askAbout(rng, people, order, difficulty, wording),
    );
    const turns = asked.map(({ pieces, ...rest }, index): Turn => ({
      asked: index === 0 ? [...told, ...afterSpace(pieces)] : pieces,
      ...rest,
    }));
    const all = [order.more, ...facts.map(({ text }) => `${text}.`)].join(' ');
    const keys = asked.map(({ pieces }) => `${all} ${textOf(pieces)}`);
    return { task: ordering.name, turns, keys };
  },
};
