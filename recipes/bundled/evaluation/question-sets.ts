/**
 * The questions that the bundled model is measured on: one each, in a chat or as plain text, as somebody
 * types them. Nothing is filtered by what training has seen unless a set says so.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { IGNORED_TARGET, generatorFor } from 'looplm/data';
import { mean } from 'looplm/eval';
import { drawAt, isHeldOutProblem, trainedDifficulties } from '../curriculum.js';
import type { Scribe, Writing } from '../documents.js';
import { drawWriting } from '../documents.js';
import type { Problem, TaskDefinition, Turn, Wording } from '../problem.js';
import { conversationOf } from '../problem.js';
import { pick } from '../random.js';
import { heldOutChain } from '../tasks/facts.js';
import { TASKS } from '../tasks/index.js';

export const EVALUATION_SEED = 11;

/** What sets of questions are about; `in-conversation` follows a question of another problem in its chat. */
export const KINDS = [
  'uniform',
  'held-out-wording',
  'held-out-problem',
  'held-out-start',
  'in-conversation',
  'longer',
] as const;
export type Kind = (typeof KINDS)[number];

/** A question as tokens: the label is the answer's one word, the beginning of the reply given. */
export interface Question {
  readonly turn: Turn;
  readonly writing: Writing;
  readonly ids: readonly number[];
  /** Of `ids`; the answer is that of the last position. */
  readonly targets: readonly number[];
  /** Tokens that are the question, as a request sends it. */
  readonly promptLength: number;
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
  cups: [9, 10, 12, 14, 16],
  sums: [5, 6, 7, 8],
  days: [6, 7, 8],
  clocks: [6, 7, 8],
  ordering: [5, 6],
  facts: [4],
};
/** Tasks whose longer problems are held out by a hash. */
const HASHED: ReadonlySet<string> = new Set(['cups', 'sums', 'days', 'clocks']);
/** Draws for each question that is wanted. */
const MAX_DRAWS = 400;

/** Sets of some kinds with at most `count` questions each, without empty ones. */
export function questionSets(
  scribe: Scribe,
  count: number,
  kinds: readonly Kind[] = KINDS,
): QuestionSet[] {
  return [...drawSets(scribe, count, kinds)];
}

/** As `questionSets`, each drawn when it is asked for: large ones take seconds. */
export function* drawSets(
  scribe: Scribe,
  count: number,
  kinds: readonly Kind[],
): Generator<QuestionSet> {
  for (const kind of kinds) {
    for (const [taskIndex, task] of TASKS.entries()) {
      for (const difficulty of difficultiesOf(task, kind)) {
        const place = [taskIndex, difficulty] as const;
        const { draw, isWanted } = drawerOf(task, kind, difficulty);
        const questions = questionsOf(scribe, count, place, draw, isWanted);
        if (questions.length > 0) yield { kind, task: task.name, difficulty, questions };
      }
    }
  }
}

function difficultiesOf(task: TaskDefinition, kind: Kind): readonly number[] {
  const trained = trainedDifficulties(task);
  switch (kind) {
    case 'uniform':
    case 'in-conversation':
      return trained;
    case 'held-out-wording':
      return task.name === 'talk' ? [] : trained;
    case 'held-out-problem':
      return HASHED.has(task.name) ? trained : [];
    case 'held-out-start':
      return task.name === 'facts' ? trained.slice(1) : [];
    case 'longer':
      return LONGER[task.name] ?? [];
    default:
      return kind satisfies never;
  }
}

type DrawProblem = (rng: RandomGenerator) => Problem;

function drawerOf(
  task: TaskDefinition,
  kind: Kind,
  difficulty: number,
): { readonly draw: DrawProblem; readonly isWanted: (problem: Problem) => boolean } {
  const wording: Wording = kind === 'held-out-wording' ? 'held-out' : 'trained';
  const drawAlone: DrawProblem = (rng) =>
    kind === 'held-out-start'
      ? heldOutChain(rng, difficulty, wording)
      : drawAt(rng, task, task.lessons.at(-1)!, difficulty, wording);
  const drawAfterAnother: DrawProblem = (rng) => {
    const other = pick(rng, TASKS);
    const before = other.draw(rng, other.lessons.at(-1)!, wording);
    return conversationOf([firstQuestion(before), firstQuestion(drawAlone(rng))]);
  };
  return {
    draw: kind === 'in-conversation' ? drawAfterAnother : drawAlone,
    isWanted: ({ keys }) =>
      kind !== 'held-out-problem' || (keys.length > 0 && isHeldOutProblem(keys.at(-1)!)),
  };
}

/** Different questions; fewer where there are not as many. */
function questionsOf(
  scribe: Scribe,
  count: number,
  place: readonly number[],
  draw: DrawProblem,
  isWanted: (problem: Problem) => boolean,
): Question[] {
  const found = new Map<string, Question>();
  for (let index = 0; index < count * MAX_DRAWS && found.size < count; index++) {
    const rng = generatorFor(EVALUATION_SEED, ...place, index);
    const drawn = draw(rng);
    if (!isWanted(drawn)) continue;
    const problem = drawn.isChat ? drawn : firstQuestion(drawn);
    const question = asQuestion(scribe, problem, drawWriting(rng, problem));
    found.set(question.ids.slice(0, question.promptLength).join(), question);
  }
  return [...found.values()];
}

const firstQuestion = (problem: Problem): Problem => ({
  ...problem,
  turns: problem.turns.slice(0, 1),
});

/** The last question of a conversation. */
function asQuestion(scribe: Scribe, { turns }: Pick<Problem, 'turns'>, writing: Writing): Question {
  const { ids, targets } = scribe.document({ turns }, writing, 'answers');
  const last = targets.findLastIndex((target) => target >= 0);
  return {
    turn: turns.at(-1)!,
    writing,
    ids: Array.from(ids.slice(0, last + 1)),
    targets: Array.from({ length: last + 1 }, (_, place) =>
      place < last ? IGNORED_TARGET : targets[last]!,
    ),
    promptLength: scribe.prompt(turns, writing).length,
  };
}

/** Mean of a figure over answers, of which each task's count as much as another's. */
export function meanOverTasks<One extends { readonly task: string }>(
  answers: readonly One[],
  valueOf: (answer: One) => number,
): number {
  const tasks = [...new Set(answers.map(({ task }) => task))];
  return mean(tasks.map((name) => mean(answers.filter(({ task }) => task === name).map(valueOf))));
}
