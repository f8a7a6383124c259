/** Small sums, plain and in stories. Every value on the way is from 0 to 50, in the first lessons less. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { NAMES } from '../names.js';
import type { Piece, Range, TaskDefinition, Wording } from '../problem.js';
import { itIs } from '../problem.js';
import type { Ways } from '../random.js';
import { chance, pick, pickWeighted, wayOf, within } from '../random.js';

const MAX_VALUE = 50;

type Kind = 'plus' | 'minus' | 'times';
interface Operation {
  readonly kind: Kind;
  readonly operand: number;
}

const apply = (value: number, { kind, operand }: Operation): number =>
  kind === 'plus' ? value + operand : kind === 'minus' ? value - operand : value * operand;

type Say = Readonly<Record<Kind, (operand: number) => string>>;
/** An expression: before the first number, each operation, and the end. */
interface Expression {
  readonly opening: string;
  readonly say: Say;
  readonly end: string;
}

const inWords: Say = {
  plus: (n) => ` plus ${n}`,
  minus: (n) => ` minus ${n}`,
  times: (n) => ` times ${n}`,
};
const inSigns: Say = { plus: (n) => ` + ${n}`, minus: (n) => ` - ${n}`, times: (n) => ` * ${n}` };

const EXPRESSIONS: Ways<Expression> = {
  trained: [
    { opening: 'What is ', say: inWords, end: '?' },
    { opening: "What's ", say: inWords, end: '?' },
    { opening: 'How much is ', say: inWords, end: '?' },
    { opening: 'What is ', say: inSigns, end: '?' },
    { opening: '', say: inSigns, end: ' =' },
    { opening: '', say: inSigns, end: ' = ?' },
    { opening: 'Tell me ', say: inWords, end: '.' },
    { opening: '', say: inSigns, end: '?' },
    { opening: '', say: inWords, end: ' = ?' },
  ],
  heldOut: [
    { opening: '', say: inWords, end: '?' },
    { opening: 'How much is ', say: inSigns, end: '?' },
    { opening: "What's ", say: inSigns, end: ' = ?' },
  ],
};

/** Sentences, each with the value so far. */
interface Story {
  readonly openings: readonly ((value: number) => string)[];
  readonly say: Readonly<Record<Kind, readonly ((operand: number) => string)[]>>;
  readonly question: readonly string[];
}

const COMMANDS: Ways<Story> = {
  trained: [
    {
      openings: [(n) => `Start with ${n}.`],
      say: {
        plus: [(n) => `Add ${n}.`],
        minus: [(n) => `Take away ${n}.`, (n) => `Subtract ${n}.`],
        times: [(n) => (n === 2 ? 'Double it.' : n === 3 ? 'Triple it.' : `Multiply by ${n}.`)],
      },
      question: ['What do you get?', 'What is the result?', 'How much is it?'],
    },
    {
      openings: [(n) => `I have ${n}.`],
      say: {
        plus: [(n) => `I add ${n}.`],
        minus: [(n) => `I take away ${n}.`],
        times: [(n) => (n === 2 ? 'I double it.' : `I multiply by ${n}.`)],
      },
      question: ['What do I get?', 'What do I have now?'],
    },
    {
      openings: [(n) => `Take ${n}.`, (n) => `Begin with ${n}.`],
      say: {
        plus: [(n) => `Now add ${n}.`, (n) => `Then add ${n} more.`],
        minus: [(n) => `Then take away ${n}.`, (n) => `Now subtract ${n}.`],
        times: [(n) => (n === 2 ? 'Now double it.' : `Now multiply it by ${n}.`)],
      },
      question: ['What comes out?', 'How much is it now?'],
    },
  ],
  heldOut: [
    {
      openings: [(n) => `I start with ${n}.`],
      say: {
        plus: [(n) => `Then add ${n}.`],
        minus: [(n) => `Then I subtract ${n}.`, (n) => `Now take away ${n}.`],
        times: [(n) => (n === 2 ? 'Then double it.' : `Then multiply it by ${n}.`)],
      },
      question: ['How much do I get?', 'What is it now?'],
    },
  ],
};

const THINGS = ['apples', 'books', 'coins', 'cards', 'eggs', 'balls', 'pens', 'cakes'];

function story(name: string, thing: string): Ways<Story> {
  return {
    trained: [
      {
        openings: [(n) => `${name} has ${n} ${thing}.`],
        say: {
          plus: [
            (n) => `${name} gets ${n} more.`,
            (n) => `${name} buys ${n} more.`,
            (n) => `${name} finds ${n}.`,
          ],
          minus: [
            (n) => `${name} gives ${n} away.`,
            (n) => `${name} loses ${n}.`,
            (n) => `${name} sells ${n}.`,
          ],
          times: [],
        },
        question: [
          `How many ${thing} does ${name} have?`,
          `How many ${thing} does ${name} have now?`,
          'How many are left?',
        ],
      },
      {
        openings: [(n) => `${name} has ${n} ${thing} today.`, (n) => `There are ${n} ${thing}.`],
        say: {
          plus: [(n) => `${name} brings ${n} more.`, (n) => `${name} adds ${n}.`],
          minus: [(n) => `${name} takes ${n}.`, (n) => `${name} takes ${n} away.`],
          times: [],
        },
        question: [`How many ${thing} are there?`, 'How many are there now?'],
      },
    ],
    heldOut: [
      {
        openings: [(n) => `${name} finds ${n} ${thing}.`],
        say: {
          plus: [(n) => `Then ${name} gets ${n}.`, (n) => `${name} buys ${n} ${thing}.`],
          minus: [(n) => `Then ${name} sells ${n}.`, (n) => `${name} gives away ${n} ${thing}.`],
          times: [],
        },
        question: [`How many are left now?`, `Now how many does ${name} have?`],
      },
    ],
  };
}

/** How far the numbers of a chain go. */
interface Bounds {
  readonly kinds: readonly Kind[];
  readonly largestOperand: number;
  readonly largestValue: number;
}

/** Draws an operation that keeps the value in range. */
function drawOperation(
  rng: RandomGenerator,
  value: number,
  { kinds, largestOperand, largestValue }: Bounds,
): Operation {
  const choices = kinds.flatMap((kind): { kind: Kind; range: Range; weight: number }[] => {
    if (kind === 'times') {
      const most = value === 0 ? 3 : Math.min(3, Math.floor(largestValue / value));
      return most >= 2 ? [{ kind, range: [2, most], weight: 1 }] : [];
    }
    const most = Math.min(largestOperand, kind === 'plus' ? largestValue - value : value);
    return most >= 1 ? [{ kind, range: [1, most], weight: 1.5 }] : [];
  });
  const { kind, range } = pickWeighted(rng, choices, ({ weight }) => weight);
  return { kind, operand: within(rng, range) };
}

/** The first number and the operations of a problem. */
function drawChain(
  rng: RandomGenerator,
  count: number,
  kinds: readonly Kind[],
  largestValue: number,
) {
  if (count === 1 && chance(rng, 0.15) && kinds.includes('times')) {
    const start = within(rng, [0, 10]);
    const operand = within(rng, [
      0,
      start === 0 ? 10 : Math.min(10, Math.floor(largestValue / start)),
    ]);
    return { start, operations: [{ kind: 'times', operand }] as Operation[] };
  }
  // Of a single operation any two numbers; in a chain small ones.
  const largestOperand = count === 1 ? largestValue : Math.min(20, largestValue);
  const bounds: Bounds = { kinds, largestOperand, largestValue };
  const start = within(rng, [0, largestValue]);
  const operations: Operation[] = [];
  let value = start;
  for (let index = 0; index < count; index++) {
    operations.push(drawOperation(rng, value, bounds));
    value = apply(value, operations.at(-1)!);
  }
  return { start, operations };
}

function askStory(
  rng: RandomGenerator,
  { openings, say, question }: Story,
  start: number,
  operations: readonly Operation[],
): Piece[] {
  let value = start;
  const sentences = operations.map((operation) => {
    value = apply(value, operation);
    return { text: ` ${pick(rng, say[operation.kind])(operation.operand)}`, running: ` ${value}` };
  });
  return [
    { text: pick(rng, openings)(start), running: ` ${start}` },
    ...sentences,
    { text: ` ${pick(rng, question)}` },
  ];
}

function askExpression(
  { opening, say, end }: Expression,
  start: number,
  operations: readonly Operation[],
): Piece[] {
  let value = start;
  const parts = operations.map((operation) => {
    value = apply(value, operation);
    return { text: say[operation.kind](operation.operand), running: ` ${value}` };
  });
  return [{ text: `${opening}${start}` }, ...parts, { text: end }];
}

function ask(rng: RandomGenerator, count: number, largestValue: number, wording: Wording) {
  const form = pick(rng, ['expression', 'commands', 'story'] as const);
  if (form === 'story') {
    const { start, operations } = drawChain(rng, count, ['plus', 'minus'], largestValue);
    const told = wayOf(rng, story(pick(rng, NAMES), pick(rng, THINGS)), wording);
    return { start, operations, asked: askStory(rng, told, start, operations) };
  }
  if (form === 'commands') {
    const { start, operations } = drawChain(rng, count, ['plus', 'minus', 'times'], largestValue);
    const told = wayOf(rng, COMMANDS, wording);
    return { start, operations, asked: askStory(rng, told, start, operations) };
  }
  // "3 plus 4 times 2" means different things to different people.
  const kinds: readonly Kind[] = count === 1 ? ['plus', 'minus', 'times'] : ['plus', 'minus'];
  const { start, operations } = drawChain(rng, count, kinds, largestValue);
  const asked = askExpression(wayOf(rng, EXPRESSIONS, wording), start, operations);
  return { start, operations, asked };
}

export const sums: TaskDefinition = {
  name: 'sums',
  description: 'Small sums, plain or in a story; what comes out?',
  weight: 1.3,
  lessons: [
    { difficulty: [1, 1], size: [0, 10] },
    { difficulty: [1, 2], size: [0, 10] },
    { difficulty: [1, 2], size: [0, 20] },
    { difficulty: [1, 3], size: [0, 20] },
    { difficulty: [1, 3], size: [0, 35] },
    { difficulty: [1, 4], size: [0, MAX_VALUE] },
  ],
  words: [
    ...[...EXPRESSIONS.trained, ...EXPRESSIONS.heldOut].flatMap(({ opening, say, end }) => [
      opening,
      end,
      ...(['plus', 'minus', 'times'] as const).map((kind) => say[kind](2)),
    ]),
    ...[COMMANDS, story('Ann', THINGS.join(' '))]
      .flatMap(({ trained, heldOut }) => [...trained, ...heldOut])
      .flatMap(({ openings, say, question }) => [
        ...openings.map((opening) => opening(1)),
        ...Object.values(say).flatMap((ways) => ways.flatMap((way) => [way(2), way(3), way(4)])),
        ...question,
      ]),
    ...Array.from({ length: MAX_VALUE + 1 }, (_, value) => String(value)),
  ],
  draw(rng, { difficulty, size: [, largestValue] }, wording) {
    const count = within(rng, difficulty);
    const { start, operations, asked } = ask(rng, count, largestValue, wording);
    let [form, value] = [String(start), start];
    const keys = operations.map((operation) => {
      value = apply(value, operation);
      return (form += ` ${operation.kind} ${operation.operand}`);
    });
    const turn = { asked, reply: itIs(String(value)), difficulty: count };
    return { task: sums.name, turns: [turn], keys };
  },
};
