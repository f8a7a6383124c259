/** The objectives beyond the golden ones: last loop, stage II with its forward target, entropy. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingBatch, TrainingDocument } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import { ConfigError } from '../../src/errors.js';
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { Objective, UpdateMetrics } from '../../src/train/index.js';
import { TrainState, objectiveGraph } from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import { referenceRun, softmax } from '../engine/reference-model.js';
import { TOLERANCE, expectClose } from '../parity/fixtures.js';
import { ADAMW, TINY, objectiveRunner } from './support.js';

const ROWS = 2;
const LENGTH = 10;
const GATE_BIAS = 'model.early_exit_gate.bias';
const GATE_WEIGHT = 'model.early_exit_gate.weight';

/** Names each token after itself, so that a single loop can learn it. */
const echo = (ids: readonly number[]): TrainingDocument => ({ ids, targets: ids });

const documents: readonly TrainingDocument[] = [
  { ids: [1, 5, 2, 9, 10, 3], targets: [-100, 4, 4, 7, -100, 0] },
  { ids: [8, 8, 1], targets: [2, 10, 6] },
  { ids: [0, 3, 6, 2], targets: [-100, -100, -100, 5] },
];

const packed = (docs: readonly TrainingDocument[]): TrainingBatch =>
  packDocuments(docs, { rows: ROWS, length: LENGTH, padId: 0 }).batch;

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

/** Per counted target: cross-entropy, gate logit and state of every loop, by the definition. */
function countedTargets(config: LoopLMConfig, weights: ModelWeights) {
  return documents.flatMap(({ ids, targets }) => {
    const inputs = Array.from(ids, (id) => ({ id, depth: config.numLoops }));
    const tokens = referenceRun(config, weights, inputs, (depth) => depth);
    return tokens.flatMap(({ logits, gateLogits, hidden }, position) => {
      const target = targets[position]!;
      if (target < 0) return [];
      return [{ ce: logits.map((row) => -Math.log(softmax(row)[target]!)), gateLogits, hidden }];
    });
  });
}

/** Value and gradients of stage II with the forward target, as its definition reads. */
function forwardTarget(config: LoopLMConfig, weights: ModelWeights, k: number, gamma: number) {
  const counted = countedTargets(config, weights);
  const { numLoops, hiddenSize } = config;
  const scale = 1 / ((numLoops - 1) * counted.length);
  let [loss, gradBias] = [0, 0];
  const gradWeight = new Array<number>(hiddenSize).fill(0);
  for (const { ce, gateLogits, hidden } of counted) {
    for (let loop = 0; loop < numLoops - 1; loop++) {
      const gain = Math.max(0, ce[loop]! - Math.min(...ce.slice(loop + 1)));
      const goOn = 1 / (1 + Math.exp(-k * (gain - gamma)));
      const exitProb = 1 / (1 + Math.exp(-gateLogits[loop]!));
      loss -= scale * (goOn * Math.log(1 - exitProb) + (1 - goOn) * Math.log(exitProb));
      const slope = scale * (exitProb - (1 - goOn));
      gradBias += slope;
      hidden[loop]!.forEach((value, i) => (gradWeight[i]! += slope * value));
    }
  }
  return { loss, gradBias, gradWeight };
}

async function trainOn(
  batch: TrainingBatch,
  weights: ModelWeights,
  objective: Objective,
  { trainSteps, learningRate }: { readonly trainSteps: number; readonly learningRate: number },
): Promise<readonly UpdateMetrics[]> {
  const state = await TrainState.create({
    device,
    config: TINY,
    rows: ROWS,
    length: LENGTH,
    objective,
    optimizer: { ...ADAMW, weightDecay: 0 },
    recompute: 'none',
    weights,
  });
  const metrics: UpdateMetrics[] = [];
  for (let trainStep = 0; trainStep < trainSteps; trainStep++) {
    metrics.push(await state.update([batch], trainStep, learningRate));
  }
  await state.dispose();
  return metrics;
}

describe('stage II with the forward target', () => {
  // two loops have a single term, that of lambda_1; the published target has none for it
  it.each([2, 3])(
    'has the value and gradients of its definition with %d loops',
    async (numLoops) => {
      const config = { ...TINY, numLoops };
      for (const seed of [1, 2]) {
        const weights = randomWeights(config, seed);
        const [k, gamma] = [7, 0.05];
        const objective: Objective = { kind: 'stage-2', target: 'forward', k, gamma };
        const size = { rows: ROWS, length: LENGTH };
        const runner = await objectiveRunner(device, config, weights, objective, size);
        const result = await runner.run(packed(documents));
        await runner.free();
        const expected = forwardTarget(config, weights, k, gamma);
        expectClose(result['loss']!, [expected.loss], TOLERANCE.loss, 'loss');
        const bias = result[`grad:${GATE_BIAS}`]!;
        expectClose(bias, [expected.gradBias], TOLERANCE.gradient, 'bias');
        const weight = result[`grad:${GATE_WEIGHT}`]!;
        expectClose(weight, expected.gradWeight, TOLERANCE.gradient, 'weight');
      }
    },
  );

  it.each([
    { says: 'go on', gamma: -100, closer: 0 },
    { says: 'stop', gamma: 100, closer: 1 },
  ])('moves lambda_1 where the labels say $says', async ({ gamma, closer }) => {
    const objective: Objective = { kind: 'stage-2', target: 'forward', k: 1, gamma };
    const run = { trainSteps: 30, learningRate: 0.1 };
    const metrics = await trainOn(packed(documents), randomWeights(TINY, 1), objective, run);
    const first = metrics[0]!.meanExitPdf[0]!;
    const last = metrics.at(-1)!.meanExitPdf[0]!;
    expect(Math.abs(last - closer)).toBeLessThan(0.5 * Math.abs(first - closer));
  });

  it.each(['published', 'forward'] as const)('refuses one loop, target %s', (target) => {
    const objective: Objective = { kind: 'stage-2', target, k: 50, gamma: 0.005 };
    const config = { ...TINY, numLoops: 1 };
    const size = { rows: ROWS, length: LENGTH };
    expect(() => objectiveGraph(config, { ...size, objective })).toThrow(ConfigError);
  });
});

it('the last-loop objective is the cross-entropy of the last loop', async () => {
  for (const numLoops of [1, 3]) {
    const config = { ...TINY, numLoops };
    const weights = randomWeights(config, 3);
    const size = { rows: ROWS, length: LENGTH };
    const runner = await objectiveRunner(device, config, weights, { kind: 'last-loop' }, size);
    const result = await runner.run(packed(documents));
    await runner.free();
    const losses = countedTargets(config, weights).map(({ ce }) => ce);
    const mean = (loop: number) => losses.reduce((sum, ce) => sum + ce[loop]!, 0) / losses.length;
    const perLoop = Array.from({ length: numLoops }, (_, loop) => mean(loop));
    expectClose(result['loss']!, [perLoop.at(-1)!], TOLERANCE.loss, 'loss');
    expectClose(result['lossPerLoop']!, perLoop, TOLERANCE.loss, 'loss of every loop');
    const gate = [...result[`grad:${GATE_WEIGHT}`]!, ...result[`grad:${GATE_BIAS}`]!];
    expect(gate.every((slope) => slope === 0)).toBe(true);
  }
});

it('stage I with a larger beta keeps more entropy', async () => {
  const batch = packed([echo([1, 2, 3, 4]), echo([9, 5, 1]), echo([7, 8])]);
  const run = { trainSteps: 40, learningRate: 0.03 };
  const entropies: number[] = [];
  for (const beta of [0, 0.1, 1]) {
    const objective: Objective = { kind: 'stage-1', beta };
    const metrics = await trainOn(batch, randomWeights(TINY, 4), objective, run);
    entropies.push(metrics.at(-1)!.entropy);
  }
  const [none, some, much] = entropies as [number, number, number];
  expect(some).toBeGreaterThan(none + 0.02);
  expect(much).toBeGreaterThan(some + 0.02);
  expect(much).toBeLessThanOrEqual(Math.log(TINY.numLoops) + 1e-5);
});

it.each([{ kind: 'stage-1', beta: 0.05 }, { kind: 'last-loop' }] as const)(
  '$kind learns to name each token',
  async (objective) => {
    const batch = packed([echo([1, 2, 3, 4, 0]), echo([9, 5, 1]), echo([7, 8, 6, 10])]);
    const run = { trainSteps: 80, learningRate: 0.03 };
    const metrics = await trainOn(batch, randomWeights(TINY, 6), objective, run);
    expect(metrics[0]!.lossPerLoop.at(-1)).toBeGreaterThan(1.5);
    expect(metrics.at(-1)!.lossPerLoop.at(-1)).toBeLessThan(0.5);
    expect(metrics.at(-1)!.accuracyPerLoop.at(-1)).toBe(1);
  },
);
