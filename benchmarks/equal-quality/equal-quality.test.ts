/** The dense shapes against published figures, and from made-up times to figures and goals. */
import { expect, test } from 'vitest';
import { tensorsOf } from '../llama-cpp/random-gguf.js';
import { DENSE_SHAPES, namesOf, PAIRS } from './models.js';
import { decodeName, KV_POLICIES, MEAN_DEPTHS } from './protocol.js';
import { equalQualityText, goalsOf } from './report.js';
import { summarize } from './summary.js';

// Model cards of Qwen/Qwen3-4B and -8B: parameters in billions, in all and without embeddings.
test.each([
  ['qwen3-4b', 4.0, 3.6],
  ['qwen3-8b', 8.2, 6.95],
] as const)('%s has as many parameters as its model card says', (name, total, body) => {
  const count = (isCounted: (tensor: string) => boolean) =>
    tensorsOf(DENSE_SHAPES[name], 'q4_0', 0)
      .filter((tensor) => isCounted(tensor.name))
      .reduce((sum, { dimensions }) => sum + dimensions.reduce((a, b) => a * b, 1), 0) / 1e9;
  expect(count(() => true)).toBeCloseTo(total, 1);
  expect(count((tensor) => tensor.startsWith('blk.'))).toBeCloseTo(body, 1);
});

/** A llama.cpp whose tokens have two heights; looplm takes 30 ms a loop, and `slow` times that. */
function measured(slow = 1) {
  const raw: Record<string, readonly number[]> = {
    busy: [0, 0.1],
    'llama.cpp, prefill': [3000, 3000],
    'looplm, prefill': [2000, 2000],
    'llama.cpp, decode': [100, 900, 100, 100, 900, 100],
    'llama.cpp, resident': [5e9],
    'llama.cpp, in use': [3e9],
    'looplm, resident': [2e9],
    'looplm, in use': [1.2e9],
  };
  for (const kvPolicy of KV_POLICIES) {
    for (const meanDepth of MEAN_DEPTHS) {
      raw[`looplm, ${decodeName(kvPolicy, meanDepth)}`] = [30 * slow * meanDepth];
    }
  }
  return raw;
}

const resultsOf = (raw: ReturnType<typeof measured>) =>
  PAIRS.map((pair) => ({ ...summarize(raw), ...namesOf(pair), setup: '', raw }));

test('speeds, the share of memory and goals follow from the times', () => {
  const pairs = resultsOf(measured());
  const [first] = pairs;
  expect(first!.decode.find(({ meanDepth }) => meanDepth === 2.5)!.speed).toBe(100 / 75);
  expect(first!.prefill.speed).toBe(1.5);
  expect(first!.memory.share).toBeCloseTo(0.4, 12);
  const goals = goalsOf(pairs);
  expect(goals).toHaveLength(4 * PAIRS.length);
  expect(goals.slice(0, 4).map(({ name, value }) => [name, Number(value.toFixed(3))])).toEqual([
    ['Ouro 1.4B q4 over Qwen3 4B Q4_0, decode at mean depth 2.5, last-exited', 1.333],
    ['Ouro 1.4B q4 over Qwen3 4B Q4_0, decode at mean depth 2.5, per-loop', 1.333],
    ['Ouro 1.4B q4 over Qwen3 4B Q4_0, prefill', 1.5],
    ['Ouro 1.4B q4 over Qwen3 4B Q4_0, memory', 0.4],
  ]);
  const text = equalQualityText({ pairs, goals });
  expect(text).toContain('Ouro 2.6B q8 over Qwen3 8B Q8_0');
  expect(text).not.toMatch(/missed|NaN|undefined|Infinity/);
});

test('a slower looplm misses what it decodes too slowly, and nothing else', () => {
  const pairs = resultsOf(measured(1.2));
  const missed = equalQualityText({ pairs, goals: goalsOf(pairs) }).match(/\| missed \|/g);
  expect(missed).toHaveLength(2 * PAIRS.length);
});

test('what was not measured is an error, no figure', () => {
  const { 'looplm, prefill': _, ...rest } = measured();
  expect(() => summarize(rest)).toThrow('nothing was measured');
});
