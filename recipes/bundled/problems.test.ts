/**
 * Laws of the bundled problems and of the documents made from them. Every answer is checked by a
 * second, text-only solver that shares no code with the tasks.
 */
import fc from 'fast-check';
import { generatedSource, generatorFor } from 'looplm/data';
import { ConfigError } from 'looplm/errors';
import { describe, expect, test } from 'vitest';
import { bundledDocuments, longestDifficulty, problemEncoder } from './curriculum.js';
import type { Problem, TaskDefinition } from './tasks.js';
import { generateProblem, generateTrainingProblem, isHeldOut, TASKS } from './tasks.js';
import { countProblems, heldOutProblems, startOf, uniformProblems } from './test-problems.js';

const ALL_TASKS = Object.values(TASKS);
const FC_SEED = 20260301;

/** Solves a prefix from its words alone. */
function solve(prefixText: string): string {
  const clauses = prefixText
    .split(';')
    .slice(0, -1)
    .map((clause) => clause.trim().split(' '));
  let now = '';
  for (const words of clauses) {
    const [verb = '', a = '', b = ''] = words;
    if (verb === 'cup' || verb === 'take') now = a;
    else if (verb === 'swap') now = now === a ? b : now === b ? a : now;
    else if (verb === 'plus') now = String((Number(now) + Number(a)) % 10);
    else if (verb === 'minus') now = String((Number(now) - Number(a) + 10) % 10);
    else if (verb === 'times') now = String((Number(now) * Number(a)) % 10);
    else throw new Error(`unknown clause ${words.join(' ')}`);
  }
  return ` ${now}`;
}

/** One token for each word, with its leading space and semicolon; ids by first use. */
function wordEncoder(): (text: string) => number[] {
  const ids = new Map<string, number>();
  return (text) =>
    (text.match(/<\|endoftext\|>| ?[a-z0-9]+;?/g) ?? []).map((word) => {
      if (!ids.has(word)) ids.set(word, ids.size);
      return ids.get(word) ?? -1;
    });
}

const anyProblem = fc
  .record({
    task: fc.constantFrom(...ALL_TASKS),
    difficulty: fc.integer({ min: 1, max: 14 }),
    seed: fc.integer(),
  })
  .map(({ task, difficulty, seed }) => ({
    task,
    problem: generateProblem(task, difficulty, generatorFor(seed)),
  }));

function draw(
  task: TaskDefinition,
  difficulty: number,
  count: number,
  training = false,
): Problem[] {
  const rng = generatorFor(7, difficulty);
  const generate = training ? generateTrainingProblem : generateProblem;
  return Array.from({ length: count }, () => generate(task, difficulty, rng));
}

describe('problems', () => {
  test('every prefix has the answer that its words say', () => {
    fc.assert(
      fc.property(anyProblem, ({ problem }) => {
        for (const { prefixText, answer } of problem.answers) {
          expect(answer).toBe(solve(prefixText));
        }
      }),
      { seed: FC_SEED },
    );
  });

  test('the prefixes grow by one move and end with the problem itself', () => {
    fc.assert(
      fc.property(anyProblem, ({ problem }) => {
        expect(problem.answers.map(({ difficulty }) => difficulty)).toEqual(
          Array.from({ length: problem.difficulty + 1 }, (_, index) => index),
        );
        expect(problem.answers.at(-1)?.prefixText).toBe(problem.text);
        problem.answers.slice(1).forEach(({ prefixText }, index) => {
          const previous = problem.answers[index]?.prefixText ?? '';
          expect(prefixText.startsWith(`${previous} `)).toBe(true);
          expect(prefixText.slice(previous.length)).toMatch(/^ [^;]+;$/);
        });
      }),
      { seed: FC_SEED },
    );
  });

  test('texts read as the language says', () => {
    const forms = {
      cups: /^cup [1-5];( swap ([1-5]) (?!\2)[1-5];){12}$/,
      sums: /^take [0-9];( (plus [1-9]|minus [1-9]|times [2346789]);){12}$/,
    };
    for (const [name, form] of Object.entries(forms)) {
      const task = ALL_TASKS.find((candidate) => candidate.name === name);
      if (task === undefined) throw new Error(`no task ${name}`);
      for (const { text } of draw(task, 12, 100)) expect(text).toMatch(form);
    }
  });

  test('three swaps in four move the ball', () => {
    const problems = draw(TASKS.cups, 10, 1000);
    const moved = problems.flatMap(({ answers }) =>
      answers.slice(1).map(({ answer }, index) => answer !== answers[index]?.answer),
    );
    const fraction = moved.filter(Boolean).length / moved.length;
    expect(Math.abs(fraction - 0.75)).toBeLessThan(0.02); // 10,000 swaps: 4.6 standard errors
  });

  test.each(ALL_TASKS.map((task) => [task.name, task] as const))(
    '%s: no answer is a good guess',
    (_, task) => {
      for (const difficulty of [1, 2, task.maxTrainedDifficulty]) {
        const counts = new Map<string, number>();
        const problems = draw(task, difficulty, 4000, true);
        for (const { text } of problems) {
          counts.set(solve(text), (counts.get(solve(text)) ?? 0) + 1);
        }
        const even = problems.length / (task.name === 'cups' ? 5 : 10);
        expect(counts.size).toBe(problems.length / even);
        for (const count of counts.values()) {
          expect(count).toBeGreaterThan(even * 0.6);
          expect(count).toBeLessThan(even * 1.5);
        }
      }
    },
  );

  test('a difficulty that is no positive whole number is refused', () => {
    for (const difficulty of [0, -1, 1.5, Number.NaN]) {
      expect(() => generateProblem(TASKS.cups, difficulty, generatorFor(1))).toThrow(ConfigError);
      expect(() => heldOutProblems(TASKS.cups, difficulty, 5, 1)).toThrow(/whole number/);
    }
  });
});

describe('held-out problems', () => {
  test('one problem in eight is held out', () => {
    for (const task of ALL_TASKS) {
      const problems = draw(task, 4, 8000);
      const heldOut = problems.filter(({ text }) => isHeldOut(text)).length;
      expect(Math.abs(heldOut - 1000)).toBeLessThan(150); // 5 standard errors
    }
  });

  test('the choice is fixed for ever', () => {
    // Worked out apart, in Python, from the definition: FNV-1a, MurmurHash3's finaliser, low bits.
    const heldOut = heldOutProblems(TASKS.cups, 1, 256, 5).map(({ text }) => text);
    const ordered = heldOut.filter((text) => /swap (1 [2-5]|2 [3-5]|3 [45]|4 5);/.test(text));
    expect(ordered).toEqual([
      'cup 1; swap 1 5;',
      'cup 1; swap 2 5;',
      'cup 2; swap 2 4;',
      'cup 3; swap 1 3;',
      'cup 3; swap 3 5;',
      'cup 4; swap 3 5;',
      'cup 5; swap 3 5;',
    ]);
    expect(heldOutProblems(TASKS.sums, 1, 256, 5).length).toBe(33);
  });

  test('an order without meaning does not change the choice', () => {
    fc.assert(
      fc.property(anyProblem, fc.integer(), ({ problem }, seed) => {
        const rng = generatorFor(seed);
        const swapped = problem.text.replace(/swap (\d) (\d)/g, (swap, a: string, b: string) =>
          rng.next() < 0 ? swap : `swap ${b} ${a}`,
        );
        const facts = problem.text.match(/[a-z]+ likes [a-z]+; /g) ?? [];
        const rotated = [...facts.slice(2), ...facts.slice(0, 2)].join('');
        const reordered = swapped.replace(facts.join(''), rotated);
        expect(isHeldOut(reordered)).toBe(isHeldOut(problem.text));
      }),
      { seed: FC_SEED },
    );
  });

  test('no prefix of a training problem is held out', () => {
    for (const task of ALL_TASKS) {
      for (let difficulty = 1; difficulty <= task.maxTrainedDifficulty; difficulty++) {
        for (const { answers } of draw(task, difficulty, 300, true)) {
          expect(answers.filter(({ prefixText }) => isHeldOut(prefixText))).toEqual([]);
        }
      }
    }
  });

  test('no opening is held out, so every opening is trained', () => {
    for (const task of ALL_TASKS) {
      const openings = (task.openings ?? []).map(({ clause }) => clause);
      expect(openings.filter((clause) => isHeldOut(clause))).toEqual([]);
      const trained = draw(task, 2, 2000, true).map(({ text }) => text);
      for (const clause of openings) {
        expect(trained.some((text) => text.startsWith(clause))).toBe(true);
      }
    }
  });

  test('test problems are distinct, held out, of the difficulty, and the same for a seed', () => {
    for (const task of ALL_TASKS) {
      for (const difficulty of [3, task.maxTrainedDifficulty, task.maxTrainedDifficulty + 2]) {
        const problems = heldOutProblems(task, difficulty, 64, 5);
        expect(new Set(problems.map(({ text }) => text)).size).toBe(64);
        expect(problems.every(({ text }) => isHeldOut(text))).toBe(true);
        expect(problems.every((problem) => problem.difficulty === difficulty)).toBe(true);
        expect(heldOutProblems(task, difficulty, 64, 5)).toEqual(problems);
        expect(heldOutProblems(task, difficulty, 64, 6)).not.toEqual(problems);
      }
    }
  });

  test('a test problem begins as asked: as training may, or as it never does', () => {
    for (const task of ALL_TASKS) {
      const starts = (start: 'trained' | 'held-out') =>
        heldOutProblems(task, 6, 64, 5, start).map(({ answers }) =>
          answers.slice(0, -1).some(({ prefixText }) => isHeldOut(prefixText)),
        );
      expect(new Set(starts('trained'))).toEqual(new Set([false]));
      expect(new Set(starts('held-out'))).toEqual(new Set([true]));
    }
  });

  test('a small space gives all it has', () => {
    const texts = [1, 2, 3, 4, 5].flatMap((cup) =>
      [1, 2, 3, 4, 5].flatMap((from) =>
        [1, 2, 3, 4, 5].filter((to) => to !== from).map((to) => `cup ${cup}; swap ${from} ${to};`),
      ),
    );
    const expected = texts.filter((text) => isHeldOut(text));
    expect(texts.length).toBe(100);
    expect(expected.length).toBeGreaterThan(0);
    const found = heldOutProblems(TASKS.cups, 1, 256, 5).map(({ text }) => text);
    expect(found.toSorted()).toEqual(expected.toSorted());
  });
});

describe('uniform problems', () => {
  test('every opening and every move is as likely as any other', () => {
    for (const task of ALL_TASKS) {
      const texts = uniformProblems(task, 9, 3000, 5).map(({ text }) => text);
      const [firsts, moves] = [new Map<string, number>(), new Map<string, number>()];
      const count = (counts: Map<string, number>, clause: string) =>
        counts.set(clause, (counts.get(clause) ?? 0) + 1);
      for (const text of texts) {
        const [first, ...rest] = text.split('; ').map((clause) => clause.replace(';', ''));
        count(firsts, first!);
        for (const move of rest) count(moves, move);
      }
      for (const [counts, total] of [
        [firsts, 3000],
        [moves, 9 * 3000],
      ] as const) {
        const even = total / counts.size;
        // 5 standard errors
        for (const n of counts.values()) expect(Math.abs(n - even)).toBeLessThan(5 * even ** 0.5);
      }
      expect(countProblems(task, 9)).toBe(firsts.size * moves.size ** 9);
    }
  });

  test('two swaps in five move the ball, and beginnings are held out as often as they come', () => {
    const problems = uniformProblems(TASKS.cups, 12, 2000, 5);
    const moved = problems.flatMap(({ answers }) =>
      answers.slice(1).map(({ answer }, index) => answer !== answers[index]!.answer),
    );
    const share = moved.filter(Boolean).length / moved.length;
    expect(Math.abs(share - 0.4)).toBeLessThan(5 * (0.24 / moved.length) ** 0.5);
    const seen = problems.filter((problem) => startOf(problem) === 'trained').length / 2000;
    // each of eleven beginnings is in the training with probability 7/8
    expect(Math.abs(seen - (7 / 8) ** 11)).toBeLessThan(0.05);
  });

  test('they are distinct, of the difficulty, the same for a seed, and all where there are few', () => {
    for (const task of ALL_TASKS) {
      const problems = uniformProblems(task, 4, 64, 5);
      expect(new Set(problems.map(({ text }) => text)).size).toBe(64);
      expect(problems.every((problem) => problem.difficulty === 4)).toBe(true);
      expect(uniformProblems(task, 4, 64, 5)).toEqual(problems);
      expect(uniformProblems(task, 4, 64, 6)).not.toEqual(problems);
      const all = uniformProblems(task, 1, 1000, 5).map(({ text }) => text);
      expect(new Set(all).size).toBe(countProblems(task, 1));
    }
  });
});

describe('training documents', () => {
  test('a cups problem has its running answer at every move', () => {
    const encode = wordEncoder();
    const text = 'cup 3; swap 1 3; swap 2 5; swap 4 1;';
    const prefixes = ['cup 3;', 'cup 3; swap 1 3;', 'cup 3; swap 1 3; swap 2 5;', text];
    const problem = {
      task: 'cups',
      difficulty: 3,
      text,
      answers: [' 3', ' 1', ' 1', ' 4'].map((answer, difficulty) => ({
        prefixText: prefixes[difficulty] ?? '',
        answer,
        difficulty,
      })),
    };
    const [three, one, four, end] = [' 3', ' 1', ' 4', '<|endoftext|>'].map(
      (word) => encode(word)[0],
    );
    expect(problemEncoder(encode)(problem)).toEqual({
      ids: [...encode(text), four],
      targets: [-100, three, -100, -100, one, -100, -100, one, -100, -100, four, end],
    });
  });

  test('every label stands at the end of the prefix that it answers', () => {
    const encode = wordEncoder();
    const encodeProblem = problemEncoder(encode);
    fc.assert(
      fc.property(anyProblem, ({ problem }) => {
        const { ids, targets } = encodeProblem(problem);
        const expected = Array.from(ids, () => -100);
        for (const { prefixText, answer } of problem.answers) {
          expected[encode(prefixText).length - 1] = encode(answer)[0] ?? -1;
        }
        expected[ids.length - 1] = encode('<|endoftext|>')[0] ?? -1;
        expect(ids).toEqual(encode(problem.text + problem.answers.at(-1)?.answer));
        expect(targets).toEqual(expected);
      }),
      { seed: FC_SEED },
    );
  });

  test('a tokenizer that joins clauses or splits answers is refused', () => {
    const problem = generateProblem(TASKS.cups, 2, generatorFor(1));
    const byLength = (text: string) => (text.length > 15 ? [1] : [2]);
    expect(() => problemEncoder(byLength)(problem)).toThrow(/clause by clause/);
    expect(() => problemEncoder((text) => Array.from(text, () => 1))).toThrow(/exactly 1/);
  });

  test('the longest problems grow from the first to the last length in 35 % of the training', () => {
    for (const task of ALL_TASKS) {
      const lengths = Array.from({ length: 1000 }, (_, index) =>
        longestDifficulty(task, index / 1000),
      );
      expect(lengths[0]).toBe(task.firstTrainedDifficulty);
      expect(lengths[350]).toBe(task.maxTrainedDifficulty);
      expect(lengths.toSorted((a, b) => a - b)).toEqual(lengths);
      expect(new Set(lengths).size).toBe(
        task.maxTrainedDifficulty - task.firstTrainedDifficulty + 1,
      );
    }
  });

  test('documents follow the tasks and the curriculum, never longer than allowed', () => {
    const encode = wordEncoder();
    const documents = bundledDocuments({ encode, tasks: [TASKS.sums], totalTrainSteps: 100 });
    const rng = generatorFor(3);
    const movesAt = (trainStep: number) =>
      Array.from({ length: 2000 }, () => (documents(rng, trainStep).ids.length - 3) / 2);
    expect(Math.max(...movesAt(0))).toBe(2);
    const late = movesAt(80);
    expect([Math.min(...late), Math.max(...late)]).toEqual([1, 8]);
    const longerHalf = late.filter((moves) => moves > 4).length / late.length;
    expect(Math.abs(longerHalf - 0.6)).toBeLessThan(0.05);
  });

  test('a batch of mixed tasks is the same whenever it is asked for', () => {
    const make = () =>
      generatedSource({
        documents: bundledDocuments({
          encode: wordEncoder(),
          tasks: ALL_TASKS,
          totalTrainSteps: 100,
        }),
        rows: 4,
        length: 64,
        seed: 11,
      });
    const source = make();
    const [first, second] = [source.batchAt(5, 0), source.batchAt(60, 1)];
    expect(source.batchAt(5, 0)).toEqual(first);
    expect(second.ids).not.toEqual(first.ids);
  });

  test('an empty task list and a training without updates are refused', () => {
    const encode = wordEncoder();
    expect(() => bundledDocuments({ encode, tasks: [], totalTrainSteps: 1 })).toThrow(ConfigError);
    expect(() => bundledDocuments({ encode, tasks: ALL_TASKS, totalTrainSteps: 0 })).toThrow(
      /at least 1/,
    );
  });
});
