/** What is compared in the training step: sides that do the same work, against the round's roof. */
import { expect, test } from 'vitest';
import { checkLosses } from './losses.js';
import { summarizeCase, trainStepGoals, trainStepText } from './report.js';

const LOSSES = {
  'looplm f32, default': [8, 7],
  'PyTorch f32, default': [8.004, 6.9955],
  'PyTorch bf16, default': [8.05, 7.04],
};

test('sides whose losses agree within their numbers are compared', () => {
  expect(() => checkLosses(LOSSES)).not.toThrow();
});

test.each([
  ['PyTorch f32, default', [8, 7.01], /Step 2: the loss of "PyTorch f32, default" is 7.01/],
  ['PyTorch bf16, default', [8.2, 7], /Step 1: .*bf16.* they may differ by 0.0800/],
  ['PyTorch bf16, default', [8], /Step 2: .* is undefined/],
  ['PyTorch f32, default', [8, Number.NaN], /Step 2: .* is NaN/],
])('others are refused: %s %s', (name, losses, message) => {
  expect(() => checkLosses({ ...LOSSES, [name]: losses })).toThrow(message);
});

test('without losses nothing is compared', () => {
  expect(() => checkLosses({})).toThrow('no losses');
  expect(() => checkLosses({ 'looplm f32, default': [] })).toThrow('no losses');
});

const RAW = {
  'products, looplm f32': [100, 200],
  'products, PyTorch f32': [50, 400],
  'products, PyTorch bf16': [1000, 1000],
  'looplm f32, default': [1, 1],
  'PyTorch f32, default': [2, 0.5],
  'PyTorch bf16, default': [0.5, 0.5],
};
const EXAMPLE = { name: '10M, a case', rows: 2, length: 8 };

test('a share is of the better library in the same round', () => {
  const { sides, tokensPerStep } = summarizeCase(EXAMPLE, 100e9, RAW, LOSSES);
  expect(tokensPerStep).toBe(16);
  const byName = Object.fromEntries(sides.map((side) => [side.side, side]));
  // 100 of max(100, 50), then 100 of max(200, 400): shares 1 and 0.25.
  expect(byName['looplm f32']).toMatchObject({ shareOfRoof: 0.625, looplmOver: 1, gflops: 100 });
  // 50 of 100, 200 of 400; twice as slow, then twice as fast.
  expect(byName['PyTorch f32']).toMatchObject({ shareOfRoof: 0.5, looplmOver: 1.25 });
  expect(byName['PyTorch bf16']).toMatchObject({
    shareOfRoof: 0.2,
    looplmOver: 0.5,
    lastLoss: 7.04,
  });
});

test('PyTorch counts under its faster allocator, and missed goals are told', () => {
  const raw = { ...RAW, 'PyTorch f32, blocks kept': [0.9, 0.7] };
  const losses = { ...LOSSES, 'PyTorch f32, blocks kept': [8, 7] };
  const profile = { products: 0.75, softmax: 0.25 };
  const cases = [{ ...summarizeCase(EXAMPLE, 100e9, raw, losses), profile }];
  const goals = trainStepGoals(cases);
  expect(goals.map(({ value }) => value)).toEqual([0.8, 0.625]);
  const text = trainStepText({ cases, goals });
  expect(text).toContain(
    '| 10M, a case | 100 | 1000, 1000, 1000 | 700, 750, 800 |  | 500, 500, 500 |  | 0.80 x |  | 0.50 x |  | 63 % | 73 % |',
  );
  expect(text).toContain('| 10M, a case: over PyTorch f32 | 1.25 |  | 0.800 | missed |');
  expect(text).toContain('| 10M, a case | 75 % | 25 % |');
});
