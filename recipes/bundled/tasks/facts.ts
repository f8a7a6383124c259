/** Facts about countries, held in the weights, alone and in chains of possessives. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { isHeldOut } from 'looplm/data';
import type { Country, Relation } from '../countries.js';
import { COUNTRIES, RELATIONS } from '../countries.js';
import type { Piece, Problem, Range, TaskDefinition, Wording } from '../problem.js';
import { itIs, question } from '../problem.js';
import type { Ways } from '../random.js';
import { chance, pick, wayOf, within } from '../random.js';

const byName = new Map(COUNTRIES.map((country) => [country.name, country]));
const byCapital = new Map(
  COUNTRIES.flatMap((country) => (country.capital ? [[country.capital, country] as const] : [])),
);

/** Part of the countries with which no trained chain of two or more facts begins. */
const HELD_OUT_STARTS = 0.15;
export const isHeldOutStart = ({ name }: Country): boolean =>
  isHeldOut(`chains from ${name}`, HELD_OUT_STARTS);

const WORDS: Readonly<Record<Relation, readonly string[]>> = {
  capital: ['capital'],
  continent: ['continent'],
  currency: ['currency', 'money'],
  language: ['language'],
  neighbour: ['largest neighbour', 'largest neighbor'],
};

/** Before the chain, and after it. */
const CHAINS: Ways<readonly [string, string]> = {
  trained: [
    ['What is ', '?'],
    ["What's ", '?'],
    ['Tell me ', '.'],
    ['And what is ', '?'],
  ],
  heldOut: [
    ["And what's ", '?'],
    ['And tell me ', '.'],
  ],
};

type Ask = (of: string) => string;
const SINGLES: Readonly<Record<Relation, Ways<Ask>>> = {
  capital: {
    trained: [
      (of) => `What is the capital of ${of}?`,
      (of) => `What's the capital of ${of}?`,
      (of) => `Which city is the capital of ${of}?`,
      (of) => `Tell me the capital of ${of}.`,
    ],
    heldOut: [(of) => `And what is the capital of ${of}?`],
  },
  continent: {
    trained: [(of) => `Which continent is ${of} in?`, (of) => `What is the continent of ${of}?`],
    heldOut: [(of) => `What continent is ${of} in?`],
  },
  currency: {
    trained: [
      (of) => `What is the currency of ${of}?`,
      (of) => `Which currency do they use in ${of}?`,
      (of) => `What money do people use in ${of}?`,
    ],
    heldOut: [(of) => `What currency do people use in ${of}?`],
  },
  language: {
    trained: [
      (of) => `What is the language of ${of}?`,
      (of) => `Which language do they speak in ${of}?`,
      (of) => `What language do people speak in ${of}?`,
    ],
    heldOut: [(of) => `Which language do people speak in ${of}?`],
  },
  neighbour: {
    trained: [
      (of) => `What is the largest neighbour of ${of}?`,
      (of) => `Which country is the largest neighbour of ${of}?`,
    ],
    heldOut: [(of) => `What's the largest neighbour of ${of}?`],
  },
};
const COUNTRY_OF_CAPITAL: Ways<Ask> = {
  trained: [
    (of) => `Which country has the capital ${of}?`,
    (of) => `Which country is ${of} in?`,
    (of) => `What is ${of}'s country?`,
  ],
  heldOut: [(of) => `What country is ${of} in?`],
};

/** One step of a chain: its words, and where it leads. */
interface Step {
  readonly words: string;
  readonly to: string;
  readonly relation: Relation | 'country';
}

const replyOf = (answer: string, relation: Step['relation']) =>
  itIs(answer, { before: relation === 'currency' ? "It's the" : "It's" });

function stepFrom(rng: RandomGenerator, at: Country, relation: Relation): Step | undefined {
  const to = at[relation];
  return to === undefined ? undefined : { words: pick(rng, WORDS[relation]), to, relation };
}

/** A chain of so many facts, the first ones from country to country. */
function drawChain(rng: RandomGenerator, start: Country, hops: number, fromCapital: boolean) {
  const steps: Step[] = fromCapital
    ? [{ words: 'country', to: start.name, relation: 'country' }]
    : [];
  let at = start;
  while (steps.length < hops) {
    const isLast = steps.length === hops - 1;
    const step = stepFrom(rng, at, isLast ? pick(rng, RELATIONS) : 'neighbour');
    if (!step) return undefined;
    steps.push(step);
    if (!isLast) at = byName.get(step.to)!;
  }
  return steps;
}

function chainProblem(
  rng: RandomGenerator,
  hops: number,
  starts: readonly Country[],
  wording: Wording,
): Problem {
  for (;;) {
    const start = pick(rng, starts);
    const fromCapital = start.capital !== undefined && chance(rng, 0.15);
    const steps = drawChain(rng, start, hops, fromCapital);
    if (!steps) continue;
    const [before, after] = wayOf(rng, CHAINS, wording);
    const first = fromCapital ? start.capital : start.name;
    const pieces = steps.map(({ words, to }, index): Piece => ({
      text: index === 0 ? `${before}${first}'s ${words}` : `'s ${words}`,
      running: ` ${to}`,
    }));
    const { to, relation } = steps.at(-1)!;
    const asked = [...pieces, { text: after }];
    const turn = { asked, reply: replyOf(to, relation), difficulty: hops };
    return { task: 'facts', turns: [turn], keys: [] };
  }
}

function singleProblem(rng: RandomGenerator, wording: Wording): Problem {
  for (;;) {
    const country = pick(rng, COUNTRIES);
    const relation = pick(rng, RELATIONS);
    const isReverse = chance(rng, 0.15);
    const answer = isReverse ? country.name : country[relation];
    const of = isReverse ? country.capital : country.name;
    if (answer === undefined || of === undefined) continue;
    const ways = isReverse ? COUNTRY_OF_CAPITAL : SINGLES[relation];
    const asked = question(wayOf(rng, ways, wording)(of), answer);
    const reply = replyOf(answer, isReverse ? 'country' : relation);
    return { task: 'facts', turns: [{ asked, reply, difficulty: 1 }], keys: [] };
  }
}

/** A chain from a country, or the capital of one, with which no trained chain begins. */
export function heldOutChain(rng: RandomGenerator, hops: number, wording: Wording): Problem {
  return chainProblem(rng, hops, COUNTRIES.filter(isHeldOutStart), wording);
}

/** Facts of a problem: one oftener than any longer chain, since single facts are what is stored. */
function drawHops(rng: RandomGenerator, [fewest, most]: Range): number {
  if (fewest > 1 || most === 1) return within(rng, [fewest, most]);
  return chance(rng, 0.5) ? 1 : within(rng, [2, most]);
}

const TRAINED_STARTS = COUNTRIES.filter((country) => !isHeldOutStart(country));

export const facts: TaskDefinition = {
  name: 'facts',
  description: "What is France's largest neighbour's capital? The facts are in the weights.",
  weight: 1.5,
  lessons: [1, 2, 3].map((hops) => ({ difficulty: [1, hops], size: [1, 1] })),
  words: [
    ...COUNTRIES.flatMap((country) => Object.values<string | undefined>({ ...country })).filter(
      (word) => word !== undefined,
    ),
    ...Object.values(WORDS).flat(),
    'country',
    ...[...CHAINS.trained, ...CHAINS.heldOut].flat(),
    ...[...Object.values(SINGLES), COUNTRY_OF_CAPITAL].flatMap(({ trained, heldOut }) =>
      [...trained, ...heldOut].map((way) => way('France')),
    ),
  ],
  draw(rng, { difficulty }, wording) {
    const hops = drawHops(rng, difficulty);
    if (hops > 1) return chainProblem(rng, hops, TRAINED_STARTS, wording);
    return chance(rng, 0.5)
      ? singleProblem(rng, wording)
      : chainProblem(rng, 1, COUNTRIES, wording);
  },
};

/** Whether a name is a country or a capital of the list. */
export const isPlace = (name: string): boolean => byName.has(name) || byCapital.has(name);
