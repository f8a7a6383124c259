/** People in an order of age or height, of which neighbours are compared. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { NAMES } from '../names.js';
import type { Piece, Range, TaskDefinition, Turn, Wording } from '../problem.js';
import { itIs, question } from '../problem.js';
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

/** A question about people from first to last, its answer and how hard it is. */
function askAbout(
  rng: RandomGenerator,
  people: readonly string[],
  { more, less, most, least }: Order,
  [easiest, hardest]: Range,
  wording: Wording,
): { readonly text: string; readonly answer: string; readonly difficulty: number } {
  const isFromTop = chance(rng, 0.5);
  const order = isFromTop ? people : people.toReversed();
  if (chance(rng, 0.3)) {
    const farthest = Math.min(hardest, people.length - 1);
    const distance = within(rng, [Math.min(easiest, farthest), farthest]);
    const first = within(rng, [0, people.length - 1 - distance]);
    const answer = order[first]!;
    const [a, b] = shuffled(rng, [answer, order[first + distance]!]);
    const text = wayOf(rng, COMPARISONS, wording)(isFromTop ? more : less, a!, b!);
    return { text, answer, difficulty: distance };
  }
  const last = Math.min(hardest, people.length - 1, RANKS.length);
  const rank = within(rng, [Math.min(easiest, last), last]);
  const word = RANKS[rank - 1]! + (isFromTop ? most : least);
  const text = wayOf(rng, EXTREMES, wording)(word);
  return { text, answer: order[rank - 1]!, difficulty: rank };
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
    { difficulty: [1, 1], size: [2, 3] },
    { difficulty: [1, 2], size: [2, 3] },
    { difficulty: [1, 2], size: [2, 4] },
    { difficulty: [1, 3], size: [2, 5] },
  ],
  words: [
    ...ORDERS.flatMap((order) => Object.values<string>({ ...order })),
    ...RANKS,
    ...[...EXTREMES.trained, ...EXTREMES.heldOut].map((way) => way('')),
    ...[...COMPARISONS.trained, ...COMPARISONS.heldOut].map((way) => way('', '', '')),
    'is than',
  ],
  draw(rng, { difficulty, size }, wording) {
    const order = pick(rng, ORDERS);
    const people = sample(rng, NAMES, Math.max(within(rng, size), difficulty[0] + 1));
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
    const asked = Array.from({ length: numQuestions }, () =>
      askAbout(rng, people, order, difficulty, wording),
    );
    const turns = asked.map(({ text, answer, difficulty: hardness }, index): Turn => ({
      asked:
        index === 0 ? [...factPieces, ...question(` ${text}`, answer)] : question(text, answer),
      reply: itIs(answer),
      difficulty: hardness,
    }));
    const told = [order.more, ...facts.map((fact) => `${fact}.`)].join(' ');
    const keys = asked.map(({ text }) => `${told} ${text}`);
    return { task: ordering.name, turns, keys };
  },
};
