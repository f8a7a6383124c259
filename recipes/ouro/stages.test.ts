/** The paper's stages in its numbers. */
import { expect, test } from 'vitest';
import { parameterSpecs } from '../../src/model/index.js';
import { accumulateAt, learningRateAt, stagesOf, tokensOf } from '../../src/train/index.js';
import { OURO_SIZES, ouroTrainConfig } from './stages.js';

/** Table of stages of arXiv 2510.25741 v4, and its sections on SFT and stage II. */
const PAPER = [
  { loops: 8, beta: 0.1, rate: 3e-4, length: 4096, theta: 10_000, tokens: 3e12, batch: 2 ** 23 },
  { loops: 4, beta: 0.05, rate: 3e-4, length: 4096, theta: 10_000, tokens: 3e12, batch: 2 ** 23 },
  { loops: 4, beta: 0.05, rate: 3e-5, length: 16_384, theta: 4e4, tokens: 1.4e12, batch: 2 ** 23 },
  { loops: 4, beta: 0.05, rate: 3e-5, length: 65_536, theta: 1e6, tokens: 20e9, batch: 2 ** 23 },
  { loops: 4, beta: 0.05, rate: 1e-5, length: 32_768, theta: 1e6, tokens: 300e9, batch: 2 ** 23 },
  { loops: 4, beta: 0.05, rate: 2e-5, length: 32_768, theta: 1e6 },
  { loops: 4, beta: undefined, rate: undefined, length: undefined, theta: 1e6 },
];

test.each(OURO_SIZES)('Ouro %s has the stages of the paper', (size) => {
  const config = ouroTrainConfig(size);
  const stages = stagesOf(config);
  expect(stages).toHaveLength(PAPER.length);
  stages.forEach((stage, index) => {
    const paper = PAPER[index]!;
    const { model, objective, length, learningRate, trainSteps } = stage;
    expect(model.numLoops).toBe(paper.loops);
    expect(model.ropeTheta).toBe(paper.theta);
    expect(model.numHiddenLayers).toBe(size === '2.6b' && index > 0 ? 48 : 24);
    if (paper.beta !== undefined) expect(objective).toEqual({ kind: 'stage-1', beta: paper.beta });
    if (paper.rate !== undefined) expect(learningRate).toBe(paper.rate);
    if (paper.length !== undefined) expect(length).toBe(paper.length);
    if (paper.tokens === undefined) return;
    expect(tokensOf(stage)! / paper.tokens).toBeCloseTo(1, 3);
    expect(accumulateAt(stage, trainSteps - 1) * length!).toBe(paper.batch);
  });
  const { trainSteps } = stages[0]!;
  expect(accumulateAt(stages[0]!, 0) * 4096).toBe(2 ** 22);
  expect(learningRateAt(stages[0]!, trainSteps - 1)).toBe(3e-4);
  expect(stages.at(-1)!.objective).toMatchObject({ target: 'published', k: 50, gamma: 0.005 });
  const total = stages.slice(0, 5).reduce((sum, stage) => sum + tokensOf(stage)!, 0);
  expect(total / 7.72e12).toBeCloseTo(1, 3);
});

test('the released models have as many parameters as the paper says', () => {
  const numParameters = OURO_SIZES.map((size) => {
    const { model } = stagesOf(ouroTrainConfig(size)).at(-1)!;
    return parameterSpecs(model).reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
      0,
    );
  });
  expect(numParameters).toEqual([1_434_652_673, 2_667_974_657]);
});
