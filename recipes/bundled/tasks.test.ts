/**
 * Laws of the tasks and of the documents made from them. A reader that knows the text alone checks
 * every answer.
 */
import { IGNORED_TARGET, generatorFor } from 'looplm/data';
import { Tokenizer } from 'looplm/tokenizer';
import { describe, expect, test } from 'vitest';
import {
  drawAt,
  everything,
  drawForTraining,
  isHeldOutProblem,
  newestName,
  openLessons,
} from './curriculum.js';
import { Scribe, drawWriting } from './documents.js';
import type { Problem, TaskDefinition } from './problem.js';
import { replyText, textOf } from './problem.js';
import { TASKS } from './tasks/index.js';
import { facts, heldOutChain } from './tasks/facts.js';
import { ordering } from './tasks/ordering.js';
import { solve } from './test-solver.js';
import { tokenizerJson } from './tokenizer.js';

const tokenizer = Tokenizer.fromJson(tokenizerJson());
const scribe = new Scribe((text) => tokenizer.encode(text));
const SOLVED = TASKS.filter(({ name }) => name !== 'talk');

/** Problems of every lesson, in trained and held-out wording. */
function draws(task: TaskDefinition, count = 150): Problem[] {
  return task.lessons.flatMap((lesson, lessonIndex) =>
    Array.from({ length: count }, (_, index) => {
      const wording = index % 3 === 2 && lesson.form === undefined ? 'held-out' : 'trained';
      return task.draw(generatorFor(3, lessonIndex, index), lesson, wording);
    }),
  );
}

describe.each(SOLVED)('$name', (task) => {
  test('every reply is what a reader of the text finds', () => {
    for (const { turns } of draws(task)) {
      turns.forEach(({ reply }, index) => {
        const asked = turns.slice(0, index + 1).map((turn) => textOf(turn.asked));
        expect(reply.answer.trim(), asked.join(' ')).toBe(solve(asked));
      });
    }
  });

  test('the last running answer is the answer', () => {
    for (const { turns } of draws(task)) {
      for (const { asked, reply } of turns) {
        const running = asked.findLast((piece) => piece.running !== undefined)?.running;
        const isOfQuestion = asked.at(-2)?.running !== undefined;
        if (isOfQuestion) expect(running?.trim()).toBe(reply.answer.trim());
      }
    }
  });

  test('its texts are words of the vocabulary', () => {
    for (const problem of draws(task)) {
      for (const turn of problem.turns) {
        const spelled = scribe.prompt([turn], { form: 'plain', isLower: false });
        const letters = spelled.filter((id) => /^[A-Za-z0-9]$/.test(tokenizer.decode([id])));
        const words = letters.map((id) => tokenizer.decode([id]));
        // A digit or a letter is a token of its own only where it is a word.
        const allowed = textOf(turn.asked).split(/[^A-Za-z0-9]+/);
        for (const word of words) expect(allowed, textOf(turn.asked)).toContain(word);
      }
    }
  });

  test('pieces are the tokens of the whole text', () => {
    for (const { turns } of draws(task, 40)) {
      for (const turn of turns) {
        for (const isLower of [false, true]) {
          const text = isLower ? textOf(turn.asked).toLowerCase() : textOf(turn.asked);
          expect(scribe.prompt([turn], { form: 'plain', isLower })).toEqual(tokenizer.encode(text));
        }
      }
    }
  });
});

test('a comparison says who is at the top and the bottom of those that it is connected with so far', () => {
  const lengths = new Set<number>();
  for (const { turns } of draws(ordering)) {
    const { asked } = turns[0]!;
    const told: { upper: string; lower: string }[] = [];
    asked.forEach(({ text, running }, index) => {
      const fact = /(\w+) is (older|taller|younger|shorter) than (\w+)$/.exec(text);
      if (!fact) return;
      const [, a, word, b] = fact as unknown as [string, string, string, string];
      const isMore = word === 'older' || word === 'taller';
      told.push(isMore ? { upper: a, lower: b } : { upper: b, lower: a });
      const group = new Set([a, b]);
      // Once for each comparison is enough to reach whoever is connected.
      for (let round = 0; round < told.length; round++) {
        for (const { upper, lower } of told) {
          if (group.has(upper) || group.has(lower)) group.add(upper).add(lower);
        }
      }
      const tops = [...group].filter((name) => !told.some(({ lower }) => lower === name));
      const bottoms = [...group].filter((name) => !told.some(({ upper }) => upper === name));
      const context = textOf(asked.slice(0, index + 2));
      expect(
        tops.map((name) => ` ${name}`),
        context,
      ).toEqual([running]);
      expect(asked[index + 1]!.text).toBe('.');
      expect(
        bottoms.map((name) => ` ${name}`),
        context,
      ).toEqual([asked[index + 1]!.running]);
      lengths.add(group.size);
    });
  }
  expect(lengths).toEqual(new Set([2, 3, 4, 5]));
});

test('half of the draws of facts are of one, and a length that is asked for is drawn', () => {
  const hops = (difficulty: readonly [number, number]) =>
    Array.from({ length: 2000 }, (_, index) => {
      const problem = facts.draw(generatorFor(5, index), { difficulty, size: [1, 1] }, 'trained');
      return problem.turns[0]!.difficulty;
    });
  const all = hops([1, 3]);
  const share = (length: number) => all.filter((hop) => hop === length).length / all.length;
  expect(share(1)).toBeCloseTo(1 / 2, 1);
  expect(share(2)).toBeCloseTo(1 / 4, 1);
  expect(share(3)).toBeCloseTo(1 / 4, 1);
  for (const length of [1, 2, 3]) {
    expect(new Set(hops([length, length]))).toEqual(new Set([length]));
  }
});

/** Problems of a training that has opened everything. */
const trained = (count: number) =>
  Array.from({ length: count }, (_, index) => {
    const rng = generatorFor(11, index);
    return { problem: drawForTraining(rng, TASKS, everything(TASKS)), rng };
  });

test('training poses no problem that is held out, nor one that begins with it', () => {
  const problems = trained(3000);
  for (const { problem } of problems) {
    expect(problem.keys.filter(isHeldOutProblem)).toEqual([]);
  }
  // Draws that do not look at it pose some.
  const free = SOLVED.flatMap((task) => draws(task)).flatMap(({ keys }) => keys);
  expect(free.filter(isHeldOutProblem).length / free.length).toBeCloseTo(1 / 16, 1);
});

test('no trained chain of facts begins with a held-out country, and every such chain can be drawn', () => {
  const countryOf = (text: string) => text.replace(/^.*?(?:is|'s|me) /i, '').split("'s")[0]!;
  const heldOut = new Set<string>();
  for (let index = 0; index < 400; index++) {
    const [turn] = heldOutChain(generatorFor(2, index), 2, 'trained').turns;
    heldOut.add(countryOf(textOf(turn!.asked)));
  }
  expect(heldOut.size).toBeGreaterThan(10);
  for (const { problem } of trained(6000)) {
    const [turn] = problem.turns;
    if (problem.task !== 'facts' || turn!.difficulty < 2) continue;
    expect(heldOut).not.toContain(countryOf(textOf(turn!.asked)));
  }
});

test('a label is the running answer at the last token of its piece, or the next token of a reply', () => {
  for (const { problem, rng } of trained(400)) {
    const writing = drawWriting(rng, problem);
    const { ids, targets } = scribe.document(problem, writing, 'all');
    const text = tokenizer.decode([...ids]);
    const expected = problem.turns.flatMap(({ asked, reply }) => [
      ...asked.flatMap(({ running }) => (running === undefined ? [] : [running])),
      writing.form === 'plain' ? ` ${replyText(reply)}` : replyText(reply),
      writing.form === 'plain' ? '<|endoftext|>' : '<|im_end|>',
    ]);
    const labels = targets.filter((id) => id !== IGNORED_TARGET);
    expect(tokenizer.decode([...labels]), text).toBe(expected.join(''));
    // The reply is in the text where its labels are.
    const answers = scribe.document(problem, writing, 'answers');
    answers.targets.forEach((target, index) => {
      if (target !== IGNORED_TARGET) expect(ids[index + 1], text).toBe(target);
    });
    expect(answers.targets.filter((id) => id !== IGNORED_TARGET)).toHaveLength(
      problem.turns.length,
    );
  }
});

describe('the curriculum', () => {
  const options = {
    tasks: TASKS,
    first: { task: 'relations', lesson: 3, latest: 1000 },
    learnt: 0.85,
    mixedFrom: 1000,
  };
  const record = (trainStep: number, evaluation: Record<string, number>) => ({
    trainStep,
    evaluation,
  });
  const relations = newestName('relations');

  test('begins with the first task alone, and opens a lesson when the one before is learnt', () => {
    const records = [record(100, { [relations]: 0.9 }), record(200, { [relations]: 0.5 })];
    expect(openLessons(options, [], 500)).toMatchObject({ relations: 1, cups: 0 });
    expect(openLessons(options, records, 500)).toMatchObject({ relations: 2, cups: 0 });
  });

  test('lets the others begin when the first one has come to its lesson', () => {
    const records = [100, 200, 300].map((step) =>
      record(step, { [relations]: 0.9, [newestName('cups')]: 1 }),
    );
    expect(openLessons(options, records, 201)).toMatchObject({ relations: 3, cups: 1, sums: 1 });
    expect(openLessons(options, records, 301)).toMatchObject({ relations: 4, cups: 2, sums: 1 });
  });

  test('lets them begin at its latest, whatever has been learnt', () => {
    const records = [record(900, { [relations]: 0 }), record(1000, { [relations]: 0 })];
    expect(openLessons(options, records, 1000)).toMatchObject({ relations: 1, cups: 0 });
    expect(openLessons(options, records, 1001)).toMatchObject({ relations: 1, cups: 1 });
  });

  test('does not count a measurement for the batch that was drawn before it', () => {
    const records = [record(100, { [relations]: 0.9 })];
    expect(openLessons(options, records, 100)['relations']).toBe(1);
    expect(openLessons(options, records, 101)['relations']).toBe(2);
  });

  test('the hardest problems of a lesson are of its greatest difficulty', () => {
    for (const task of SOLVED) {
      const lesson = task.lessons.at(-1)!;
      for (let index = 0; index < 30; index++) {
        const { turns } = drawAt(generatorFor(1, index), task, lesson);
        expect(turns[0]!.difficulty, task.name).toBe(lesson.difficulty[1]);
      }
    }
  });
});
