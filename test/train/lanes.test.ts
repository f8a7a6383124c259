/** An update on several devices is that of one, to rounding, and the same to the bit each time. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingBatch } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { Objective } from '../../src/train/index.js';
import { laneCount, TrainState } from '../../src/train/index.js';
import { cutRows, pieceRows } from '../../src/train/lanes.js';
import { randomWeights } from '../engine/random-model.js';
import { expectClose } from '../parity/fixtures.js';
import { ADAMW, TINY } from './support.js';

const SIZE = { rows: 6, length: 5 };
const LEARNING_RATE = 1e-2;
const weights = randomWeights(TINY, 9);
const batches = [0, 1].map((seed): TrainingBatch => {
  const documents = Array.from({ length: SIZE.rows }, (_, row) => {
    const ids = Array.from({ length: SIZE.length }, (_id, i) => (seed + row * 3 + i * i) % 11);
    return { ids, targets: ids.map((id, i) => ((row + i) % 4 === 0 ? -100 : (id * 5 + 1) % 11)) };
  });
  return packDocuments(documents, { ...SIZE, padId: 0 }).batch;
});

let devices: readonly Device[];
beforeAll(async () => {
  devices = await Promise.all([0, 1, 2].map(() => createInlineDevice({ numThreads: 1 })));
});
afterAll(() => Promise.all(devices.map((device) => device.dispose())));

/** Metrics of three updates and the weights after them. */
async function trained(numLanes: number, objective: Objective) {
  const [device, ...others] = devices;
  const state = await TrainState.create({
    device: device!,
    helpers: others.slice(0, numLanes - 1),
    config: TINY,
    ...SIZE,
    objective,
    optimizer: ADAMW,
    recompute: 'none',
    loopCounts: [2, 3],
    weights,
    diagnoses: true,
  });
  const metrics = [];
  for (const [step, numLoops] of [3, 2, 3].entries()) {
    metrics.push(await state.update(batches, step, LEARNING_RATE, numLoops));
  }
  const after = await state.weights();
  await state.dispose();
  return { metrics, after };
}

const OBJECTIVES: readonly (readonly [string, Objective])[] = [
  ['stage I', { kind: 'stage-1', beta: 0.1 }],
  ['stage II', { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 }],
];

describe.each(OBJECTIVES)('%s', (_, objective) => {
  it.each([2, 3])('on %i devices', async (numLanes) => {
    const alone = await trained(1, objective);
    const together = await trained(numLanes, objective);
    for (const [name, values] of alone.after) {
      expectClose(together.after.get(name)!, values, 1e-4, name);
    }
    for (const [step, { loss, gradNorm, lossPerLoop, loops }] of alone.metrics.entries()) {
      const other = together.metrics[step]!;
      expectClose([other.loss, other.gradNorm], [loss, gradNorm], 1e-4, 'loss, gradNorm');
      expectClose(other.lossPerLoop, lossPerLoop, 1e-4, 'lossPerLoop');
      expectClose(other.loops!.stateNorm, loops!.stateNorm, 1e-4, 'stateNorm');
    }
    expect(await trained(numLanes, objective)).toEqual(together);
  });
});

describe('rows', () => {
  it('are dealt out evenly or not at all', () => {
    const counts = fc.record({ rows: fc.integer({ min: 1, max: 64 }), length: fc.nat(2000) });
    fc.assert(
      fc.property(counts, fc.integer({ min: 1, max: 8 }), ({ rows, length }, numLanes) => {
        const size = pieceRows({ rows, length: length + 1 }, numLanes, TINY);
        if (numLanes === 1 || rows % numLanes !== 0) {
          expect(size).toBeUndefined();
          return;
        }
        expect((rows / numLanes) % size!).toBe(0);
        expect(size === 1 || size! * (length + 1) <= 512).toBe(true);
      }),
    );
  });

  it('are not dealt out where weights would take longer than they', () => {
    const large = { ...TINY, vocabSize: 1_000_000 };
    expect(pieceRows({ rows: 2, length: 256 }, 2, large)).toBeUndefined();
    expect(pieceRows({ rows: 2, length: 2048 }, 2, large)).toBe(1);
  });

  it('cut apart are the batch', () => {
    const [batch] = batches;
    const extra = { rate: Float32Array.from({ length: 30 }, (_, index) => index) };
    const pieces = cutRows({ ...batch!, extra }, 2);
    expect(pieces.flatMap(({ ids }) => [...ids])).toEqual([...batch!.ids]);
    expect(pieces.flatMap((piece) => [...piece.extra!['rate']!])).toEqual([...extra.rate]);
    expect(pieces.map(({ rows }) => rows)).toEqual([2, 2, 2]);
  });

  it('choose how many devices there are', () => {
    expect(laneCount([8], 2)).toBe(2);
    expect(laneCount([8, 4], 4)).toBe(4);
    expect(laneCount([7], 2)).toBe(1);
    expect(laneCount([6], 4)).toBe(3);
    expect(laneCount([8], 16)).toBe(1); // eight of sixteen threads would be idle
    expect(laneCount([1], 16)).toBe(1);
  });
});
