/**
 * The problems that a model is measured on: one question each, in a chat or as plain text, as somebody
 * types them. Nothing is filtered by what training has seen unless a set says so.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { generatorFor } from 'looplm/data';
import { drawAt, isHeldOutProblem } from '../curriculum.js';
import type { Scribe, Writing } from '../documents.js';
import { drawWriting } from '../documents.js';
import type { Problem, Turn, Wording } from '../problem.js';
import { TASKS } from '../tasks/index.js';
import { heldOutChain } from '../tasks/facts.js';

export const EVALUATION_SEED = 11;

/** What sets of problems are about. */
export const KINDS = [
  'uniform',
  'held-out wording',
  'held-out problem',
  'held-out start',
  'longer',
] as const;
export type Kind = (typeof KINDS)[number];

export interface Question {
  readonly turn: Turn;
  readonly writing: Writing;
  readonly document: ReturnType<Scribe['document']>;
  readonly promptIds: readonly number[];
}

/** Questions of one task and difficulty. */
export interface QuestionSet {
  readonly kind: Kind;
  readonly task: string;
  readonly difficulty: number;
  readonly questions: readonly Question[];
}

/** Difficulties beyond the trained ones that are tried. */
const LONGER: Readonly<Record<string, readonly number[]>> = {
  relations: [5],
  cups: [11, 12, 13, 14, 16],
  sums: [7, 8, 9],
  days: [6, 7, 8],
  clocks: [6, 7, 8],
  facts: [4],
};
/** Draws for each problem that is wanted. */
const MAX_DRAWS = 400;

/** All sets, with at most `count` questions each; without those that nothing could be drawn for. */
export function questionSets(scribe: Scribe, count: number): QuestionSet[] {
  const sets = TASKS.flatMap((task) => {
    const lesson = task.lessons.at(-1)!;
    const [easiest, hardest] = lesson.difficulty;
    const difficulties = Array.from(
      { length: hardest - easiest + 1 },
      (_, index) => easiest + index,
    );
    const draw = (difficulty: number, wording: Wording) => (rng: RandomGenerator) =>
      drawAt(rng, task, lesson, difficulty, wording);
    const isHeldOut = ({ keys }: Problem) => keys.length > 0 && isHeldOutProblem(keys.at(-1)!);
    const hasWordings = task.name !== 'talk';
    const hasKeys = ['cups', 'sums', 'days', 'clocks'].includes(task.name);
    const set = (
      kind: Kind,
      difficulty: number,
      one: (rng: RandomGenerator) => Problem,
      isWanted: (problem: Problem) => boolean = () => true,
    ): QuestionSet => ({
      kind,
      task: task.name,
      difficulty,
      questions: questionsOf(scribe, count, [TASKS.indexOf(task), difficulty], one, isWanted),
    });
    return [
      ...difficulties.map((difficulty) => set('uniform', difficulty, draw(difficulty, 'trained'))),
      ...(hasWordings ? difficulties : []).map((difficulty) =>
        set('held-out wording', difficulty, draw(difficulty, 'held-out')),
      ),
      ...(hasKeys ? difficulties : []).map((difficulty) =>
        set('held-out problem', difficulty, draw(difficulty, 'trained'), isHeldOut),
      ),
      ...(task.name === 'facts' ? difficulties.slice(1) : []).map((hops) =>
        set('held-out start', hops, (rng) => heldOutChain(rng, hops, 'trained')),
      ),
      ...(LONGER[task.name] ?? []).map((difficulty) =>
        set('longer', difficulty, draw(difficulty, 'trained')),
      ),
    ];
  });
  return sets.filter(({ questions }) => questions.length > 0);
}

/** Different questions; fewer where there are not as many. */
function questionsOf(
  scribe: Scribe,
  count: number,
  place: readonly number[],
  draw: (rng: RandomGenerator) => Problem,
  isWanted: (problem: Problem) => boolean,
): Question[] {
  const found = new Map<string, Question>();
  for (let index = 0; index < count * MAX_DRAWS && found.size < count; index++) {
    const rng = generatorFor(EVALUATION_SEED, ...place, index);
    const problem = draw(rng);
    if (!isWanted(problem)) continue;
    const [turn] = problem.turns;
    const writing = drawWriting(rng, problem);
    const promptIds = scribe.prompt(turn!, writing);
    const document = scribe.document({ ...problem, turns: [turn!] }, writing, 'answers');
    found.set(promptIds.join(), { turn: turn!, writing, document, promptIds });
  }
  return [...found.values()];
}
