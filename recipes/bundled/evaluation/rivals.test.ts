import { expect, test } from 'vitest';
import { SEED } from '../configs.js';
import { TASK_NAMES } from '../tasks/index.js';
import type { Comparison } from './figures.js';
import type { Rival } from './rivals.js';
import { seedSentence, seedTable } from './rivals.js';

/** Cups have two difficulties, one of three times as many questions, of which none is answered. */
function model(seed: number, accuracy: number): Rival {
  const cell = (kind: Rival['cells'][number]['kind'], task: Rival['cells'][number]['task']) => ({
    kind,
    task,
    difficulty: 1,
    n: 10,
    accuracy,
  });
  return {
    variant: 'looped',
    seed,
    parameters: 1,
    numHiddenLayers: 1,
    numLoops: 2,
    flopsPerToken: 1,
    trainSteps: 1,
    tokens: 1,
    cells: [
      ...TASK_NAMES.map((task) => cell('uniform', task)),
      { ...cell('uniform', 'cups'), difficulty: 2, n: 30, accuracy: 0 },
      cell('held-out-wording', 'sums'),
      cell('held-out-start', 'facts'),
    ],
  };
}
const comparison = (...models: Rival[]): Comparison => ({ seed: 1, sha256: '', models });

test('seeds stand side by side, the shipped one first', () => {
  const other = SEED + 1;
  const table = seedTable(comparison(model(other, 0.4), model(SEED, 0.8)));
  expect(table).toContain(`|  | seed ${SEED} (shipped) | seed ${other} | mean |`);
  expect(table).toContain('| cups | 20.0 % | 10.0 % | 15.0 % |');
  expect(table).toContain('| sums | 80.0 % | 40.0 % | 60.0 % |');
  // seven tasks at 0.8 and cups at 0.2
  expect(table).toContain('| mean over tasks | 72.5 % | 36.3 % | 54.4 % |');
  expect(table).toContain('| wordings never trained | 80.0 % | 40.0 % | 60.0 % |');
  expect(table).toContain('| held-out starts | 80.0 % | 40.0 % | 60.0 % |');
});

test('twins stand below, where each seed has one', () => {
  const seeds = [model(SEED, 0.8), model(SEED + 1, 0.4)];
  const twins = seeds.map(
    (of) => ({ ...model(of.seed, of.seed === SEED ? 0.6 : 0.2), variant: 'twin' }) as const,
  );
  const table = seedTable(comparison(...seeds, ...twins));
  expect(table).toContain('| mean over tasks | 72.5 % | 36.3 % | 54.4 % |');
  // seven tasks at 0.6 and cups at 0.15
  expect(table).toContain('| twin, mean over tasks | 54.4 % | 18.1 % | 36.3 % |');
  expect(table).toContain('| twin, held-out starts | 60.0 % | 20.0 % | 40.0 % |');
  expect(seedTable(comparison(...seeds, twins[0]!))).not.toContain('twin');
});

test('the sentence names the means of the others', () => {
  const models = [model(1, 0.4), model(2, 0.8), model(SEED, 0.8)];
  expect(seedSentence(comparison(...models))).toEqual([
    'The mean over tasks is 72.5 %, and 36.3 % and 72.5 % with other seeds.',
  ]);
});

test('one seed, and models that are built otherwise, are nothing to tell', () => {
  const twin: Rival = { ...model(SEED, 1), variant: 'twin' };
  expect(seedTable(comparison(model(SEED, 1), twin))).toBe('');
  expect(seedSentence(comparison(model(SEED, 1), twin))).toEqual([]);
});
