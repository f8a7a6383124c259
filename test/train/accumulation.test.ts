/** Gradients added up over micro-batches are the gradients of one big batch. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TrainingBatch } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { TrainState } from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import { TOLERANCE, expectClose } from '../parity/fixtures.js';
import { ADAMW, TINY, documentArbitrary } from './support.js';

const ROWS = 4;
const LENGTH = 6;
const weights = randomWeights(TINY, 2);

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

const stateOf = (rows: number) =>
  TrainState.create({
    device,
    config: TINY,
    rows,
    length: LENGTH,
    objective: { kind: 'stage-1', beta: 0.1 },
    // a large epsilon: moments near zero would turn rounding into whole updates
    optimizer: { ...ADAMW, epsilon: 1e-3 },
    recompute: 'none',
    weights,
  });

/** Rows `[start, end)` of a batch. */
function rowsOf(batch: TrainingBatch, start: number, end: number): TrainingBatch {
  const part = (values: Int32Array) => values.slice(start * LENGTH, end * LENGTH);
  const { ids, targets, segments, positions } = batch;
  return {
    rows: end - start,
    length: LENGTH,
    ids: part(ids),
    targets: part(targets),
    segments: part(segments),
    positions: part(positions),
  };
}

const batches = fc.array(
  fc
    // rows differ in how many targets they count, and the last ones may count none
    .array(documentArbitrary(LENGTH), { minLength: 1, maxLength: 6 })
    .map((docs) => packDocuments(docs, { rows: ROWS, length: LENGTH, padId: 0 }).batch),
  { minLength: 3, maxLength: 3 },
);

it.each([2, 4])('%d micro-batches give the metrics and weights of one batch', async (parts) => {
  await fc.assert(
    fc.asyncProperty(batches, async (updates) => {
      const whole = await stateOf(ROWS);
      const split = await stateOf(ROWS / parts);
      for (const [trainStep, batch] of updates.entries()) {
        const size = ROWS / parts;
        const microBatches = Array.from({ length: parts }, (_, part) =>
          rowsOf(batch, part * size, (part + 1) * size),
        );
        const expected = await whole.update([batch], trainStep, 0.01);
        const actual = await split.update(microBatches, trainStep, 0.01);
        expect(Object.keys(actual)).toEqual(Object.keys(expected));
        expect(actual.countedTargets).toBe(expected.countedTargets);
        for (const [name, value] of Object.entries(expected)) {
          const got = actual[name as keyof typeof actual];
          const tolerance = name === 'gradNorm' ? TOLERANCE.gradNorm : TOLERANCE.loss;
          expectClose([got as number].flat(), [value as number].flat(), tolerance, name);
        }
      }
      const trained = await split.weights();
      for (const [name, values] of await whole.weights()) {
        expect(values, name).not.toEqual(weights.get(name));
        expectClose(trained.get(name)!, values, TOLERANCE.adamWFinal, name);
      }
      await whole.dispose();
      await split.dispose();
    }),
    { numRuns: 3, seed: 4, endOnFailure: true },
  );
  expect(await device.stats()).toEqual({ buffers: 0, bytes: 0, programs: 0 });
});
