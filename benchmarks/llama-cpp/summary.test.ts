/** From made-up times to figures: two heights of llama.cpp's times, and a memory whose rate moves. */
import { expect, test } from 'vitest';
import {
  FORMAT_PAIRS,
  LLAMA_VARIANTS,
  LOOPLM_VARIANTS,
  SHAPE,
  kvBytesPerPosition,
} from './models.js';
import { skippedShare } from './random-gguf.js';
import { goalsOf, reportText } from './report.js';
import { summarize } from './summary.js';

const CONTEXT = 256;
const [Q4] = FORMAT_PAIRS;

/** Six tokens in two rounds: half of llama.cpp's are ten times slower. */
const BIMODAL = [20, 20, 200, 20, 200, 200];
const SINGLE = [10, 11, 12, 10, 11, 12];

function measured(looplmBytes: number) {
  const times: Record<string, readonly number[]> = {};
  const raw: Record<string, readonly number[]> = {
    busy: [0, 0.1],
    products: [100, 100],
    [`memory at ${CONTEXT}`]: [50, 75],
  };
  const add = (name: string, tokens: readonly number[], medians: readonly number[]) => {
    times[name] = tokens;
    raw[name] = medians;
  };
  for (const name of Object.keys(LLAMA_VARIANTS)) {
    // 'plain' is faster in both of its heights, with a head and without.
    const factor = name.startsWith('plain') ? 1 : 1.5;
    const tokens = BIMODAL.map((time) => factor * time);
    add(`llama.cpp, ${name}, decode at ${CONTEXT}`, tokens, [20 * factor, 200 * factor]);
    add(`llama.cpp, ${name}, prefill`, [3000, 3000], [3000, 3000]);
  }
  for (const [name, depth] of Object.entries(LOOPLM_VARIANTS)) {
    const tokens = SINGLE.map((time) => depth * time);
    add(`looplm, ${name}, decode at ${CONTEXT}`, tokens, [11 * depth, 11 * depth]);
  }
  add('looplm, depth 1, prefill', [1000, 1000], [1000, 1000]);
  return { raw, times, setup: '', contexts: [CONTEXT], prefillTokens: 512, looplmBytes };
}

test('speeds compare distributions level by level, of the faster kind of attention', () => {
  const { decode, prefill } = summarize(Q4, measured(1e9));
  const [entry] = decode;
  expect(entry!.llamaAttention).toBe('plain');
  expect(entry!.llamaMs).toEqual({ min: 20, p25: 20, p50: 110 });
  expect(entry!.looplmMs).toEqual({ min: 10, p25: 10.25, p50: 11 });
  expect(entry!.speed).toEqual({ min: 2, p25: 20 / 10.25, p50: 10 });
  expect(entry!.looplmBodyMs).toBe(10.25); // depth 2 less depth 1, token by token
  expect(entry!.llamaBodyMs).toBeCloseTo(20 / (1 - skippedShare(SHAPE)), 9);
  expect(prefill.speed).toEqual({ min: 3, p25: 3, p50: 3 });
});

test("the share of the memory's rate is of the rate of the same round", () => {
  const bytes = 0.33e9;
  const [entry] = summarize(Q4, measured(bytes)).decode;
  const read = (bytes + CONTEXT * kvBytesPerPosition('i8')) / 1e6; // MB
  // Rounds of 11 ms at 50 and at 75 GB/s; the median of two is their mean.
  const expected = (read / 11 / 50 + read / 11 / 75) / 2;
  expect(entry!.looplmShareOfMemory).toBeCloseTo(expected, 9);
});

test('goals are judged by lower quartiles, and every figure stands in the tables', () => {
  const pairs = FORMAT_PAIRS.map((pair) => summarize(pair, measured(1e9)));
  const goals = goalsOf(pairs);
  expect(goals.find(({ name }) => name === 'q4 decode at 256 over llama.cpp')!.value).toBe(
    20 / 10.25,
  );
  expect(goals.find(({ name }) => name === 'q8 prefill over llama.cpp')!.value).toBe(3);
  const text = reportText({ pairs, goals });
  expect(text).toContain('| 20.0, 20.0, 110.0 | 10.0, 10.3, 11.0 | 2.00 x, 1.95 x, 10.00 x |');
  expect(text).not.toMatch(/NaN|undefined|Infinity/);
});

test('a context that was not measured is an error, no figure', () => {
  const lacking = { ...measured(1e9), contexts: [CONTEXT, 1024] };
  expect(() => summarize(Q4, lacking)).toThrow();
});
