/** People in an order of age or height, of which neighbours are compared. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { NAMES } from '../names.js';
import type { Piece, Reply, TaskDefinition, Turn, Wording } from '../problem.js';
import { UNKNOWN, itIs, question } from '../problem.js';
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

/** Of so many people every rank is asked for; of more the first and the last. */
const RANKED_PEOPLE = 3;
/** Of the questions about two people of an order, and of those for a rank that is not taught. */
const COMPARISON_FRACTION = 0.35;
const UNTAUGHT_FRACTION = 0.08;

interface Asked {
  readonly text: string;
  readonly reply: Reply;
}

/** A question about people from first to last, and what is to be said. */
function askAbout(
  rng: RandomGenerator,
  people: readonly string[],
  { more, less, most, least }: Order,
  wording: Wording,
): Asked {
  const isFromTop = chance(rng, 0.5);
  const order = isFromTop ? people : people.toReversed();
  if (chance(rng, COMPARISON_FRACTION)) {
    const [a, b] = sample(rng, order, 2) as [string, string];
    const text = wayOf(rng, COMPARISONS, wording)(isFromTop ? more : less, a, b);
    return { text, reply: itIs(order.indexOf(a) < order.indexOf(b) ? a : b) };
  }
  const isRanked = people.length <= RANKED_PEOPLE;
  const isTaught = isRanked || !chance(rng, UNTAUGHT_FRACTION);
  const last = Math.min(people.length, RANKS.length);
  const rank = isTaught ? within(rng, [1, isRanked ? last : 1]) : within(rng, [2, last]);
  const text = wayOf(rng, EXTREMES, wording)(RANKS[rank - 1]! + (isFromTop ? most : least));
  return { text, reply: isTaught ? itIs(order[rank - 1]!) : UNKNOWN };
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

const MAX_QUESTIONS = 3;

export const ordering: TaskDefinition = {
  name: 'ordering',
  description: 'People are compared by age or height, two at a time; who is the oldest?',
  weight: 1.2,
  lessons: [
    { difficulty: [1, 1], size: [2, 2] },
    { difficulty: [1, 2], size: [2, 3] },
    { difficulty: [1, 3], size: [2, 4] },
    { difficulty: [1, 4], size: [2, 5] },
  ],
  words: [
    ...ORDERS.flatMap((order) => Object.values<string>({ ...order })),
    ...RANKS,
    ...[...EXTREMES.trained, ...EXTREMES.heldOut].map((way) => way('')),
    ...[...COMPARISONS.trained, ...COMPARISONS.heldOut].map((way) => way('', '', '')),
    'is than',
  ],
  draw(rng, { difficulty }, wording) {
    const order = pick(rng, ORDERS);
    const numComparisons = within(rng, difficulty);
    const people = sample(rng, NAMES, numComparisons + 1);
    const places = shuffled(rng, [...people.slice(1).keys()]);
    const facts = places.map((place) => {
      const [upper, lower] = [people[place]!, people[place + 1]!];
      const isTurned = chance(rng, 0.4);
      return isTurned
        ? `${lower} is ${order.less} than ${upper}`
        : `${upper} is ${order.more} than ${lower}`;
    });
    // The questions alone are few labels; these teach at every fact the order that the questions need.
    const ends = chainEnds(people, places);
    const factPieces = facts.flatMap((fact, index): Piece[] => [
      { text: index === 0 ? fact : ` ${fact}`, running: ` ${ends[index]!.top}` },
      { text: '.', running: ` ${ends[index]!.bottom}` },
    ]);
    const numQuestions = within(rng, [1, MAX_QUESTIONS]);
    const asked = Array.from({ length: numQuestions }, () => askAbout(rng, people, order, wording));
    const turns = asked.map(({ text, reply }, index): Turn => {
      const isFirst = index === 0;
      const pieces = question(isFirst ? ` ${text}` : text, reply.answer.trim());
      return {
        asked: isFirst ? [...factPieces, ...pieces] : pieces,
        reply,
        difficulty: numComparisons,
      };
    });
    const told = [order.more, ...facts.map((fact) => `${fact}.`)].join(' ');
    const keys = asked.map(({ text }) => `${told} ${text}`);
    return { task: ordering.name, turns, keys };
  },
};
