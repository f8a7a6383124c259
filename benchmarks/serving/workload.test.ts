/** What a load consists of, and what is read off its answers. */
import { expect, test } from 'vitest';
import { figuresOf } from './load.js';
import { BATCH, exitPolicyOf, workload } from './workload.js';

const OPTIONS = { numRequests: 400, promptTokens: 3, newTokens: 20, vocabSize: 50, seed: 4 };

test('requests come at the rate that is asked for, in gaps that are exponential', () => {
  const arrivals = workload({ ...OPTIONS, rate: 5 });
  const gaps = arrivals.slice(1).map(({ atMs }, n) => atMs - arrivals[n]!.atMs);
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  // Mean 1 / rate, and a deviation as large: the mean of n has a standard error of 1 / sqrt(n).
  expect(Math.abs(mean / 200 - 1)).toBeLessThan(4 / Math.sqrt(gaps.length));
  const share = gaps.filter((gap) => gap > 200).length / gaps.length;
  expect(Math.abs(share - Math.exp(-1))).toBeLessThan(4 * Math.sqrt(0.25 / gaps.length));
});

test('rates change when requests come, and nothing else', () => {
  const [slow, fast] = [1, 2].map((rate) => workload({ ...OPTIONS, rate }));
  for (const [n, { atMs, ...rest }] of slow!.entries()) {
    const { atMs: sooner, ...same } = fast![n]!;
    expect(same).toEqual(rest);
    expect(sooner).toBeCloseTo(atMs / 2, 6);
  }
});

test('a batch goes as deep as its deepest, which is no less deep than the token itself', () => {
  const arrivals = workload({ ...OPTIONS, rate: 1 });
  const depths = arrivals.flatMap((arrival) => arrival.depths);
  const batches = arrivals.flatMap((arrival) => arrival.batchDepths);
  for (const [n, depth] of depths.entries()) expect(batches[n]).toBeGreaterThanOrEqual(depth);
  const share = batches.filter((depth) => depth < 4).length / batches.length;
  expect(Math.abs(share - 0.75 ** BATCH)).toBeLessThan(0.01);
  const { depths: own } = arrivals[0]!;
  expect(exitPolicyOf('by depth', arrivals[0]!)).toBe(`replay:${own.join(',')}`);
  expect(exitPolicyOf('full depth', arrivals[0]!)).toBe('full');
});

test('figures are of all tokens, gaps of those within an answer', () => {
  const load = { seconds: 2, answers: [{ tokenMs: [10, 30, 60] }, { tokenMs: [20, 30] }] };
  const { tokensPerSecond, firstToken, betweenTokens } = figuresOf(load);
  expect(tokensPerSecond).toBe(2.5);
  expect(firstToken.p50).toBe(15);
  expect(betweenTokens.p50).toBe(20);
});
