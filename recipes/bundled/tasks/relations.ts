/** Who is whose boss, told in the prompt; the question goes from one to the next. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { NAMES } from '../names.js';
import type { Lesson, Piece, Problem, Range, TaskDefinition, Turn, Wording } from '../problem.js';
import { RUNNING_UNKNOWN, UNKNOWN, itIs } from '../problem.js';
import type { Ways } from '../random.js';
import { chance, pick, sample, shuffled, wayOf, within } from '../random.js';

const RELATIONS = ['boss', 'friend', 'teacher', 'doctor', 'sister', 'brother', 'mother', 'father'];

const FACTS: Ways<(person: string, relation: string, other: string) => string> = {
  trained: [
    (person, relation, other) => `${person}'s ${relation} is ${other}.`,
    (person, relation, other) => `${other} is ${person}'s ${relation}.`,
    (person, relation, other) => `The ${relation} of ${person} is ${other}.`,
    (person, relation, other) => `${other} is the ${relation} of ${person}.`,
  ],
  heldOut: [
    (person, relation, other) => `And ${person}'s ${relation} is ${other}.`,
    (person, relation, other) => `So the ${relation} of ${person} is ${other}.`,
    (person, relation, other) => `So ${other} is ${person}'s ${relation}.`,
  ],
};

/** Before the chain, and after it. */
const QUESTIONS: Ways<readonly [string, string]> = {
  trained: [
    ['Who is ', '?'],
    ["Who's ", '?'],
    ['And who is ', '?'],
    ['Tell me who ', ' is.'],
  ],
  heldOut: [
    ['Now who is ', '?'],
    ['And tell me who ', ' is.'],
  ],
};

/** Questions about the same facts. */
const MAX_QUESTIONS = 3;
/** Of the questions that end with somebody of whom nothing is told, those that go one further. */
const UNKNOWN_FRACTION = 0.15;
/** Of the questions, those about what is not told. */
const UNTOLD_FRACTION = 0.06;
/** Somebody's boss is the next one in the row, or else anybody later. */
const NEXT_FRACTION = 0.7;
/** Share of the problems with two relations. */
const TWO_RELATIONS_FRACTION = 0.25;

interface Fact {
  readonly person: string;
  readonly relation: string;
  readonly other: string;
}

function drawFacts(
  rng: RandomGenerator,
  names: readonly string[],
  count: number,
  relations: readonly string[],
): Fact[] {
  const people = sample(rng, names, count + 1);
  const facts = people.slice(0, -1).map((person, index) => {
    const isNext = index === count - 1 || chance(rng, NEXT_FRACTION);
    const other = people[isNext ? index + 1 : within(rng, [index + 1, count])]!;
    return { person, relation: pick(rng, relations), other };
  });
  return shuffled(rng, facts);
}

/** A question of so many hops, if the facts have one. */
function drawChain(rng: RandomGenerator, facts: readonly Fact[], hops: number) {
  const next = (person: string) => facts.find((fact) => fact.person === person);
  const chains = facts.flatMap(({ person }) => {
    const chain: Fact[] = [];
    for (let fact = next(person); fact && chain.length < hops; fact = next(fact.other)) {
      chain.push(fact);
    }
    return chain.length === hops ? [chain] : [];
  });
  return chains.length === 0 ? undefined : pick(rng, chains);
}

/** Facts in which a question of so many hops can be asked. */
function factsWithChain(
  rng: RandomGenerator,
  names: readonly string[],
  wanted: { readonly count: number; readonly relations: readonly string[]; readonly hops: number },
): Fact[] {
  for (;;) {
    const facts = drawFacts(rng, names, wanted.count, wanted.relations);
    if (drawChain(rng, facts, wanted.hops)) return facts;
  }
}

/** "Who is Kate's boss's boss", with who it is after each. */
const possessives = (before: string, chain: readonly Fact[]): readonly Piece[] =>
  chain.map(({ person, relation, other }, index) => ({
    text: index === 0 ? `${before}${person}'s ${relation}` : `'s ${relation}`,
    running: ` ${other}`,
  }));

/** What is not told: somebody of whom nothing is, or another relation of somebody. */
function untold(rng: RandomGenerator, facts: readonly Fact[]): string {
  const { person, relation } = pick(rng, facts);
  if (chance(rng, 0.5)) {
    const strangers = NAMES.filter((name) => !facts.some((fact) => fact.person === name));
    return `${pick(rng, strangers)}'s ${relation}`;
  }
  const others = RELATIONS.filter((other) => other !== relation);
  return `${person}'s ${pick(rng, others)}`;
}

function ask(
  rng: RandomGenerator,
  facts: readonly Fact[],
  [fewest, most]: Range,
  wording: Wording,
): { readonly asked: readonly Piece[]; readonly turn: Omit<Turn, 'asked'> } | undefined {
  const [before, after] = wayOf(rng, QUESTIONS, wording);
  if (fewest === 1 && chance(rng, UNTOLD_FRACTION)) {
    const piece = { text: before + untold(rng, facts), running: RUNNING_UNKNOWN };
    return { asked: [piece, { text: after }], turn: { reply: UNKNOWN, difficulty: 1 } };
  }
  const hops = within(rng, [fewest, most]);
  const chain = drawChain(rng, facts, hops);
  if (!chain) return undefined;
  const pieces = possessives(before, chain);
  const last = chain.at(-1)!.other;
  const isLast = !facts.some(({ person }) => person === last);
  if (isLast && hops < most && chance(rng, UNKNOWN_FRACTION)) {
    const relation = pick(rng, facts).relation;
    const past: Piece = { text: `'s ${relation}`, running: RUNNING_UNKNOWN };
    const asked = [...pieces, past, { text: after }];
    return { asked, turn: { reply: UNKNOWN, difficulty: hops + 1 } };
  }
  return { asked: [...pieces, { text: after }], turn: { reply: itIs(last), difficulty: hops } };
}

/** The facts in a row, most of them in the same way. */
function tell(rng: RandomGenerator, facts: readonly Fact[], wording: Wording): Piece[] {
  const usual = wayOf(rng, FACTS, wording);
  return facts.map(({ person, relation, other }, index) => {
    const way = chance(rng, 0.8) ? usual : wayOf(rng, FACTS, wording);
    return { text: `${index === 0 ? '' : ' '}${way(person, relation, other)}` };
  });
}

/** People of the plain lessons: fewer, since what those are about is to find one of them. */
const PLAIN_NAMES = NAMES.slice(0, 24);
const PLAIN_RELATIONS = RELATIONS.slice(0, 4);
const BARE_QUESTIONS = 6;

/** In one way. A word before the first fact: every name then is the token that the question has. */
const tellPlainly = (facts: readonly Fact[]): Piece[] =>
  facts.map(({ person, relation, other }, index) => ({
    text: `${index === 0 ? 'Now ' : ' '}${FACTS.trained[0]!(person, relation, other)}`,
  }));

/** Answered by a name alone: nearly every label is one that has to be found. */
function drawBare(rng: RandomGenerator, { difficulty, size, form }: Lesson): Problem {
  const isPlain = form === 'plain';
  const count = Math.max(within(rng, size), difficulty[0]);
  const relations = [pick(rng, isPlain ? PLAIN_RELATIONS : RELATIONS)];
  const names = isPlain ? PLAIN_NAMES : NAMES;
  const facts = factsWithChain(rng, names, { count, relations, hops: difficulty[0] });
  const told = isPlain ? tellPlainly(facts) : tell(rng, facts, 'trained');
  const turns: Turn[] = [];
  while (turns.length < BARE_QUESTIONS) {
    const chain = drawChain(rng, facts, within(rng, difficulty));
    if (!chain) continue;
    const [before, after] = isPlain ? QUESTIONS.trained[0]! : wayOf(rng, QUESTIONS, 'trained');
    const isFirst = turns.length === 0;
    const asked = [
      ...(isFirst ? told : []),
      ...possessives(isFirst ? ` ${before}` : before, chain),
      { text: after },
    ];
    const reply = { before: '', answer: chain.at(-1)!.other, after: '' };
    turns.push({ asked, reply, difficulty: chain.length });
  }
  return { task: 'relations', turns, keys: [], isPlain: true };
}

export const relations: TaskDefinition = {
  name: 'relations',
  description: "Who is whose boss is told; who is somebody's boss's boss?",
  weight: 1.6,
  lessons: [
    { difficulty: [1, 1], size: [2, 3], form: 'plain' },
    { difficulty: [1, 2], size: [2, 4], form: 'plain' },
    { difficulty: [1, 2], size: [2, 4], form: 'worded' },
    { difficulty: [1, 2], size: [2, 4] },
    { difficulty: [1, 3], size: [3, 5] },
    { difficulty: [1, 3], size: [3, 8] },
    { difficulty: [1, 4], size: [3, 8] },
  ],
  words: [
    ...RELATIONS,
    ...[...FACTS.trained, ...FACTS.heldOut].map((way) => way('Ann', 'boss', 'Bob')),
    ...[...QUESTIONS.trained, ...QUESTIONS.heldOut].flat(),
  ],
  draw(rng, lesson, wording) {
    if (lesson.form) return drawBare(rng, lesson);
    const { difficulty, size } = lesson;
    const count = Math.max(within(rng, size), difficulty[0]);
    const kinds = sample(rng, RELATIONS, chance(rng, TWO_RELATIONS_FRACTION) ? 2 : 1);
    const facts = factsWithChain(rng, NAMES, { count, relations: kinds, hops: difficulty[0] });
    const told = tell(rng, facts, wording);
    const numQuestions = within(rng, [1, MAX_QUESTIONS]);
    const turns: Turn[] = [];
    const keys: string[] = [];
    while (turns.length < numQuestions) {
      const found = ask(rng, facts, difficulty, wording);
      if (!found) continue;
      const [first, ...rest] = found.asked;
      const isFirst = turns.length === 0;
      const asked = isFirst
        ? [...told, { ...first!, text: ` ${first!.text}` }, ...rest]
        : found.asked;
      turns.push({ asked, ...found.turn });
      keys.push(
        [
          ...facts.map((fact) => Object.values(fact).join(' ')).toSorted(),
          found.asked.map(({ text }) => text).join(''),
        ].join('; '),
      );
    }
    return { task: relations.name, turns, keys };
  },
};
