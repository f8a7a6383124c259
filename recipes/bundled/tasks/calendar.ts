/** Days of the week and hours of a clock: rings on which one goes forward and back. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { Lesson, Piece, Reply, TaskDefinition, Wording } from '../problem.js';
import { itIs, question } from '../problem.js';
import type { Ways } from '../random.js';
import { chance, pick, wayOf, within } from '../random.js';

interface Ring {
  readonly name: string;
  readonly description: string;
  readonly weight: number;
  /** What stands on it, in a circle. */
  readonly places: readonly string[];
  /** How a place is written after "on" or "at". */
  readonly at: (place: string) => string;
  /** Places that a move may go. */
  readonly largest: number;
  readonly units: readonly [one: string, many: string];
  /** "Today is Monday." */
  readonly now: Ways<(place: string) => string>;
  /** Questions that make one move themselves. */
  readonly ahead: Ways<(amount: string) => string>;
  readonly back: Ways<(amount: string) => string>;
  readonly neighbours: Ways<readonly [forward: boolean, (place: string) => string]>;
  readonly events: readonly string[];
  readonly opening: Ways<(event: string, place: string) => string>;
  readonly later: Ways<(amount: string) => string>;
  readonly earlier: Ways<(amount: string) => string>;
  readonly question: Ways<(event: string) => string>;
  readonly reply: (place: string) => Reply;
}

const WEEK = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const HOURS = Array.from({ length: 12 }, (_, index) => String(index + 1));

const MOVES = {
  later: {
    trained: [
      (n: string) => `It is moved ${n} later.`,
      (n: string) => `It is moved ${n} forward.`,
      (n: string) => `Then it is moved ${n} later.`,
      (n: string) => `Move it ${n} later.`,
      (n: string) => `Now move it ${n} forward.`,
    ],
    heldOut: [
      (n: string) => `Now it is moved ${n} later.`,
      (n: string) => `Then move it ${n} forward.`,
    ],
  },
  earlier: {
    trained: [
      (n: string) => `It is moved ${n} earlier.`,
      (n: string) => `It is moved ${n} back.`,
      (n: string) => `Then it is moved ${n} earlier.`,
      (n: string) => `Move it ${n} earlier.`,
      (n: string) => `Now move it ${n} back.`,
    ],
    heldOut: [
      (n: string) => `Now it is moved ${n} earlier.`,
      (n: string) => `Then move it ${n} back.`,
    ],
  },
} as const;

const DAYS: Ring = {
  name: 'days',
  description: 'Days of the week, so many days on or back; which day is it?',
  weight: 0.8,
  places: WEEK,
  at: (place) => `on ${place}`,
  largest: 10,
  units: ['day', 'days'],
  now: {
    trained: [
      (day) => `Today is ${day}.`,
      (day) => `It is ${day}.`,
      (day) => `It's ${day} today.`,
      (day) => `Today it is ${day}.`,
    ],
    heldOut: [(day) => `It is ${day} today.`, (day) => `Now it is ${day}.`],
  },
  ahead: {
    trained: [
      (n) => `What day is it in ${n}?`,
      (n) => `What day will it be in ${n}?`,
      (n) => `Which day is it after ${n}?`,
      (n) => `${n} from now, what day is it?`,
      (n) => `${n} from now, which day will it be?`,
    ],
    heldOut: [(n) => `Which day will it be in ${n}?`, (n) => `What day is it after ${n}?`],
  },
  back: {
    trained: [
      (n) => `What day was it ${n} ago?`,
      (n) => `Which day was ${n} ago?`,
      (n) => `${n} ago, what day was it?`,
      (n) => `${n} ago, which day was it?`,
    ],
    heldOut: [(n) => `Which day was it ${n} ago?`],
  },
  neighbours: {
    trained: [
      [true, (day) => `What day comes after ${day}?`],
      [false, (day) => `What day comes before ${day}?`],
      [true, (day) => `Which day is after ${day}?`],
      [false, (day) => `Which day is before ${day}?`],
      [true, (day) => `Today is ${day}. What day is tomorrow?`],
      [false, (day) => `Today is ${day}. What day was yesterday?`],
    ],
    heldOut: [
      [true, (day) => `Which day comes after ${day}?`],
      [false, (day) => `What day is before ${day}?`],
      [true, (day) => `It is ${day}. Which day is tomorrow?`],
    ],
  },
  events: ['party', 'meeting', 'trip', 'lesson'],
  opening: {
    trained: [
      (event, day) => `The ${event} is on ${day}.`,
      (event, day) => `There is a ${event} on ${day}.`,
      (event, day) => `Our ${event} is on ${day}.`,
      (event, day) => `The ${event} is planned for ${day}.`,
      (event, day) => `On ${day} I have a ${event}.`,
    ],
    heldOut: [
      (event, day) => `I have a ${event} on ${day}.`,
      (event, day) => `On ${day} there is a ${event}.`,
    ],
  },
  ...MOVES,
  question: {
    trained: [
      (event) => `What day is the ${event}?`,
      (event) => `When is the ${event}?`,
      (event) => `Which day is the ${event}?`,
      (event) => `When is the ${event} then?`,
      (event) => `On which day is the ${event}?`,
    ],
    heldOut: [(event) => `Which day is the ${event} on?`, (event) => `When is the ${event} now?`],
  },
  reply: (place) => itIs(place),
};

const CLOCKS: Ring = {
  name: 'clocks',
  description: 'Hours of a clock with twelve; what time is it?',
  weight: 0.8,
  places: HOURS,
  at: (place) => `at ${place} o'clock`,
  largest: 11,
  units: ['hour', 'hours'],
  now: {
    trained: [
      (hour) => `It is ${hour} o'clock.`,
      (hour) => `It's ${hour} o'clock now.`,
      (hour) => `Now it is ${hour} o'clock.`,
    ],
    heldOut: [(hour) => `It is now ${hour} o'clock.`],
  },
  ahead: {
    trained: [
      (n) => `What time is it in ${n}?`,
      (n) => `What time will it be in ${n}?`,
      (n) => `What time is it after ${n}?`,
      (n) => `What is the time in ${n}?`,
      (n) => `What will the time be in ${n}?`,
    ],
    heldOut: [(n) => `What time will it be after ${n}?`],
  },
  back: {
    trained: [
      (n) => `What time was it ${n} ago?`,
      (n) => `What time was it ${n} before?`,
      (n) => `${n} ago, what time was it?`,
    ],
    heldOut: [(n) => `What was the time ${n} ago?`],
  },
  neighbours: {
    trained: [
      [true, (hour) => `What time is it one hour after ${hour} o'clock?`],
      [false, (hour) => `What time is it one hour before ${hour} o'clock?`],
      [true, (hour) => `What time comes one hour after ${hour} o'clock?`],
    ],
    heldOut: [[true, (hour) => `What time is one hour after ${hour} o'clock?`]],
  },
  events: ['train', 'bus', 'show', 'meeting', 'party'],
  opening: {
    trained: [
      (event, hour) => `The ${event} is at ${hour} o'clock.`,
      (event, hour) => `There is a ${event} at ${hour} o'clock.`,
      (event, hour) => `Our ${event} is at ${hour} o'clock.`,
      (event, hour) => `The ${event} starts at ${hour} o'clock.`,
      (event, hour) => `At ${hour} o'clock there is a ${event}.`,
    ],
    heldOut: [(event, hour) => `I have a ${event} at ${hour} o'clock.`],
  },
  ...MOVES,
  question: {
    trained: [
      (event) => `What time is the ${event}?`,
      (event) => `When is the ${event}?`,
      (event) => `When does the ${event} start?`,
      (event) => `At what time is the ${event}?`,
    ],
    heldOut: [(event) => `What time is the ${event} now?`, (event) => `When is the ${event} now?`],
  },
  reply: (place) => itIs(place, { after: " o'clock." }),
};

function ringTask(ring: Ring): TaskDefinition {
  const { name, description, weight, places, largest, units } = ring;
  const amount = (n: number) => (n === 1 ? `${n} ${units[0]}` : `${n} ${units[1]}`);
  const moved = (place: number, by: number) =>
    (((place + by) % places.length) + 2 * places.length) % places.length;
  const step = (rng: RandomGenerator, { size }: Lesson) =>
    within(rng, size) * (chance(rng, 0.5) ? 1 : -1);

  const single = (rng: RandomGenerator, lesson: Lesson, start: number, wording: Wording) => {
    const place = places[start]!;
    if (chance(rng, 0.3)) {
      const [isForward, ask] = wayOf(rng, ring.neighbours, wording);
      const to = places[moved(start, isForward ? 1 : -1)]!;
      return { asked: question(ask(place), to), to };
    }
    const by = step(rng, lesson);
    const ask = wayOf(rng, by > 0 ? ring.ahead : ring.back, wording);
    const to = places[moved(start, by)]!;
    const asked: Piece[] = [
      { text: wayOf(rng, ring.now, wording)(place), running: ` ${place}` },
      ...question(` ${ask(amount(Math.abs(by)))}`, to),
    ];
    return { asked, to };
  };
  return {
    name,
    description,
    weight,
    lessons: [
      { difficulty: [1, 1], size: [1, 3] },
      { difficulty: [1, 2], size: [1, 3] },
      { difficulty: [1, 2], size: [1, largest] },
      { difficulty: [1, 3], size: [1, largest] },
      { difficulty: [1, 4], size: [1, largest] },
      { difficulty: [1, 5], size: [1, largest] },
    ],
    words: wordsOf(ring),
    draw(rng, lesson, wording) {
      const count = within(rng, lesson.difficulty);
      const start = within(rng, [0, places.length - 1]);
      if (count === 1 && chance(rng, 0.6)) {
        const { asked, to } = single(rng, lesson, start, wording);
        const turn = { asked, reply: ring.reply(to), difficulty: 1 };
        return { task: name, turns: [turn], keys: [] };
      }
      const event = pick(rng, ring.events);
      let [place, form] = [start, `${start}`];
      const keys: string[] = [];
      const moves = Array.from({ length: count }, () => {
        const by = step(rng, lesson);
        place = moved(place, by);
        keys.push((form += ` ${by}`));
        const say = wayOf(rng, by > 0 ? ring.later : ring.earlier, wording);
        return { text: ` ${say(amount(Math.abs(by)))}`, running: ` ${places[place]!}` };
      });
      const asked: Piece[] = [
        {
          text: wayOf(rng, ring.opening, wording)(event, places[start]!),
          running: ` ${places[start]!}`,
        },
        ...moves,
        { text: ` ${wayOf(rng, ring.question, wording)(event)}` },
      ];
      const turn = { asked, reply: ring.reply(places[place]!), difficulty: count };
      return { task: name, turns: [turn], keys: keys.slice(1) };
    },
  };
}

function wordsOf(ring: Ring): readonly string[] {
  const all = <Way>({ trained, heldOut }: Ways<Way>) => [...trained, ...heldOut];
  return [
    ...ring.places,
    ...ring.units,
    ...ring.events,
    ...[ring.now, ring.ahead, ring.back, ring.later, ring.earlier, ring.question].flatMap((ways) =>
      all(ways).map((way) => way('1')),
    ),
    ...all(ring.neighbours).map(([, way]) => way('1')),
    ...all(ring.opening).map((way) => way('1', '1')),
    ring.at('1'),
    "o'clock",
  ];
}

export const days = ringTask(DAYS);
export const clocks = ringTask(CLOCKS);
