/** A ball lies under one of five cups, and cups are swapped. */
import type { Piece, TaskDefinition, Turn } from '../problem.js';
import { itIs } from '../problem.js';
import type { Ways } from '../random.js';
import { chance, pick, wayOf, within } from '../random.js';

const CUPS = [1, 2, 3, 4, 5];
const SWAPS = CUPS.flatMap((a) => CUPS.filter((b) => b !== a).map((b) => [a, b] as const));

const OPENINGS: Ways<(cup: number) => string> = {
  trained: [
    (cup) => `The ball is under cup ${cup}.`,
    (cup) => `A ball is under cup ${cup}.`,
    (cup) => `I put a ball under cup ${cup}.`,
    (cup) => `There are five cups. The ball is under cup ${cup}.`,
    (cup) => `Cup ${cup} has the ball.`,
  ],
  heldOut: [
    (cup) => `There is a ball under cup ${cup}.`,
    (cup) => `Now the ball is under cup ${cup}.`,
    (cup) => `There are five cups. I put the ball under cup ${cup}.`,
  ],
};

type Move = (a: number, b: number) => string;
const SENTENCES: Ways<Move> = {
  trained: [
    (a, b) => `Swap cups ${a} and ${b}.`,
    (a, b) => `Swap ${a} and ${b}.`,
    (a, b) => `I swap cups ${a} and ${b}.`,
    (a, b) => `Then swap cup ${a} with cup ${b}.`,
    (a, b) => `Cups ${a} and ${b} are swapped.`,
    (a, b) => `Now swap cups ${a} and ${b}.`,
    (a, b) => `I swap cup ${a} with cup ${b}.`,
  ],
  heldOut: [
    (a, b) => `Now I swap ${a} with ${b}.`,
    (a, b) => `Then cups ${a} and ${b} are swapped.`,
    (a, b) => `Swap ${a} with cup ${b}.`,
  ],
};
/** All moves in one sentence: before the first, and between two. */
const LISTS: Ways<readonly [string, string]> = {
  trained: [
    ['Swap', ', then'],
    ['I swap', ', then'],
    ['Swap cups', ', then'],
  ],
  heldOut: [
    ['Now swap', ', now'],
    ['Then I swap cups', ', then'],
  ],
};

const QUESTIONS: Ways<string> = {
  trained: [
    'Where is the ball?',
    'Where is the ball now?',
    'Which cup is the ball under?',
    'Which cup has the ball?',
  ],
  heldOut: ['Under which cup is the ball?', 'Now which cup has the ball?', 'Where is it now?'],
};

export const cups: TaskDefinition = {
  name: 'cups',
  description: 'A ball lies under one of five cups; where is it after the swaps?',
  weight: 1,
  lessons: [2, 3, 4, 6, 8].map((moves) => ({ difficulty: [1, moves], size: [5, 5] })),
  words: [
    ...[...OPENINGS.trained, ...OPENINGS.heldOut].map((way) => way(1)),
    ...[...SENTENCES.trained, ...SENTENCES.heldOut].map((way) => way(1, 2)),
    ...[...LISTS.trained, ...LISTS.heldOut].flat(),
    ...QUESTIONS.trained,
    ...QUESTIONS.heldOut,
  ],
  draw(rng, { difficulty }, wording) {
    const start = pick(rng, CUPS);
    const numMoves = within(rng, difficulty);
    const keys: string[] = [];
    let form = String(start);
    let ball = start;
    const move = (): readonly [number, number] => {
      const [a, b] = pick(rng, SWAPS);
      ball = ball === a ? b : ball === b ? a : ball;
      form += ` ${Math.min(a, b)}${Math.max(a, b)}`;
      keys.push(form);
      return [a, b];
    };
    const movesText = (count: number): Piece[] => {
      if (chance(rng, 0.35)) {
        const [first, next] = wayOf(rng, LISTS, wording);
        return Array.from({ length: count }, (_, index) => {
          const [a, b] = move();
          const text = ` ${index === 0 ? first : next.slice(2)} ${a} and ${b}`;
          return { text: text + (index === count - 1 ? '.' : ','), running: ` ${ball}` };
        });
      }
      // Who has found a way to say it says it again.
      const usual = wayOf(rng, SENTENCES, wording);
      return Array.from({ length: count }, () => {
        const way = chance(rng, 0.8) ? usual : wayOf(rng, SENTENCES, wording);
        return { text: ` ${way(...move())}`, running: ` ${ball}` };
      });
    };
    const question = (): Piece => ({ text: ` ${wayOf(rng, QUESTIONS, wording)}` });
    const reply = () => itIs(String(ball), { before: "It's under cup" });

    const opening = { text: wayOf(rng, OPENINGS, wording)(start), running: ` ${start}` };
    const asked = [opening, ...movesText(numMoves), question()];
    const turns: Turn[] = [{ asked, reply: reply(), difficulty: numMoves }];
    const more = Math.min(2, difficulty[1] - numMoves);
    if (more > 0 && chance(rng, 0.3)) {
      const [first, ...rest] = movesText(more);
      const again = [{ ...first!, text: first!.text.trimStart() }, ...rest, question()];
      turns.push({ asked: again, reply: reply(), difficulty: numMoves + more });
    }
    return { task: cups.name, turns, keys: keys.slice(2) };
  },
};
