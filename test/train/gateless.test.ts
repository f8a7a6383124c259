/** Training a model without an exit gate: its loss and gradients, and what it cannot be trained for. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingDocument } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import { ConfigError } from '../../src/errors.js';
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { Objective } from '../../src/train/index.js';
import { TrainState, objectiveGraph } from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import { referenceRun, softmax } from '../engine/reference-model.js';
import { TOLERANCE, expectClose } from '../parity/fixtures.js';
import { ADAMW, TINY, objectiveRunner } from './support.js';

const SIZE = { rows: 2, length: 8 };
const LAST_LOOP: Objective = { kind: 'last-loop' };

/** H * Dh is 8 of 10; the two differ in where the final norm stands. */
const CONFIGS = [false, true].map((skips): LoopLMConfig => ({
  ...TINY,
  architecture: 'nanbeige',
  hiddenSize: 10,
  ...(skips && { skipLoopFinalNorm: true }),
}));

const documents: readonly TrainingDocument[] = [
  { ids: [1, 5, 2, 9, 10, 3], targets: [-100, 4, 4, 7, -100, 0] },
  { ids: [8, 8, 1], targets: [2, 10, 6] },
];
const { batch } = packDocuments(documents, { ...SIZE, padId: 0 });

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

/** Mean cross-entropy of the counted targets after each loop, by the definition in float64. */
function lossPerLoop(config: LoopLMConfig, weights: ModelWeights): number[] {
  const losses = documents.flatMap(({ ids, targets }) => {
    const inputs = Array.from(ids, (id) => ({ id, depth: config.numLoops }));
    return referenceRun(config, weights, inputs, (depth) => depth).flatMap(({ logits }, position) =>
      targets[position]! < 0
        ? []
        : [logits.map((row) => -Math.log(softmax(row)[targets[position]!]!))],
    );
  });
  return Array.from(
    { length: config.numLoops },
    (_, loop) => losses.reduce((sum, ce) => sum + ce[loop]!, 0) / losses.length,
  );
}

/** The slope of the loss along one weight, by central differences. */
function slopeOf(config: LoopLMConfig, weights: ModelWeights, name: string, index: number): number {
  const step = 2 ** -12; // exact in float32 beside weights of about 1
  const [above, below] = [step, -step].map((change) => {
    const values = weights.get(name)!.slice();
    const before = values[index]!;
    values[index] = before + change;
    const moved = values[index] - before;
    return { loss: lossPerLoop(config, new Map(weights).set(name, values)).at(-1)!, moved };
  }) as [{ loss: number; moved: number }, { loss: number; moved: number }];
  return (above.loss - below.loss) / (above.moved - below.moved);
}

describe.each(CONFIGS)('skipLoopFinalNorm $skipLoopFinalNorm', (config) => {
  const weights = randomWeights(config, 5);

  it.each(['none', 'loop'] as const)(
    'the last loop has the loss of the definition, keeping values as %s says',
    async (recompute) => {
      const size = { ...SIZE, recompute };
      const runner = await objectiveRunner(device, config, weights, LAST_LOOP, size);
      const result = await runner.run(batch);
      await runner.free();
      const expected = lossPerLoop(config, weights);
      expectClose(result['loss']!, [expected.at(-1)!], TOLERANCE.loss, 'loss');
      expectClose(result['lossPerLoop']!, expected, TOLERANCE.loss, 'loss of every loop');
      expectClose(result['meanExitPdf']!, [0, 0, 1], TOLERANCE.loss, 'exit pdf');
      expect(result['entropy']!.map(Math.abs)).toEqual([0]);
    },
  );

  it('every parameter has the gradient of the definition', async () => {
    const runner = await objectiveRunner(device, config, weights, LAST_LOOP, SIZE);
    const result = await runner.run(batch);
    await runner.free();
    const names = parameterSpecs(config).map(({ hfName }) => hfName);
    expect(Object.keys(result).filter((name) => name.startsWith('grad:'))).toHaveLength(
      names.length,
    );
    for (const name of names) {
      const gradient = result[`grad:${name}`]!;
      for (const index of [0, 3, 9]) {
        const expected = slopeOf(config, weights, name, index);
        expectClose([gradient[index]!], [expected], 1e-4, `${name} at ${index}`);
      }
    }
  });

  it('a run learns to name each token, and its metrics say full depth', async () => {
    const echo = [
      [1, 2, 3, 4, 0],
      [9, 5, 1],
      [7, 8, 6, 10],
    ].map((ids) => ({ ids, targets: ids }));
    const state = await TrainState.create({
      device,
      config,
      ...SIZE,
      objective: LAST_LOOP,
      optimizer: { ...ADAMW, weightDecay: 0 },
      recompute: 'none',
      weights,
    });
    const lesson = packDocuments(echo, { ...SIZE, padId: 0 }).batch;
    let last = await state.update([lesson], 0, 0.03);
    for (let step = 1; step < 60; step++) last = await state.update([lesson], step, 0.03);
    await state.dispose();
    expect(last.accuracyPerLoop.at(-1)).toBe(1);
    expect(last.meanExitPdf.map((p) => Math.round(1e4 * p) / 1e4)).toEqual([0, 0, 1]);
    expect(last.gradNorm).toBeGreaterThan(0);
  });

  it.each<Objective>([
    { kind: 'stage-1', beta: 0.1 },
    { kind: 'stage-2', target: 'published', k: 50, gamma: 0.005 },
    { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 },
  ])('$kind is refused with the objective that works', (objective) => {
    const build = () => objectiveGraph(config, { ...SIZE, objective });
    expect(build).toThrow(ConfigError);
    expect(build).toThrow(/trains an exit gate.*nanbeige have none; use last-loop/);
  });
});
