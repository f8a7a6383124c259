/** Documents that share a row do not see each other, and padding counts nothing. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingBatch, TrainingDocument } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { VOCAB_SIZE, randomWeights } from '../engine/random-model.js';
import { referenceRun, softmax } from '../engine/reference-model.js';
import { TOLERANCE, expectClose } from '../parity/fixtures.js';
import type { ObjectiveRunner } from './support.js';
import { TINY, documentArbitrary, objectiveRunner } from './support.js';

const RUNS = { numRuns: 12, seed: 1 };
const DOCUMENT_LENGTH = 6;
const ROWS = 2;
const LENGTH = 11;

const weights = randomWeights(TINY, 5);
const documents = fc.array(documentArbitrary(DOCUMENT_LENGTH), { minLength: 1, maxLength: 3 });

let device: Device;
let packed: ObjectiveRunner;
let alone: ObjectiveRunner;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  const objective = { kind: 'stage-1', beta: 0.1 } as const;
  const runner = (rows: number, length: number) =>
    objectiveRunner(device, TINY, weights, objective, { rows, length });
  packed = await runner(ROWS, LENGTH);
  alone = await runner(1, DOCUMENT_LENGTH);
}, 60_000);
afterAll(() => device.dispose());

function pack(docs: readonly TrainingDocument[], padId: number) {
  const { batch, leftOver } = packDocuments(docs, { rows: ROWS, length: LENGTH, padId });
  expect(leftOver).toEqual([]); // three documents of six fit two rows of eleven
  return batch;
}

const numCounted = ({ targets }: TrainingDocument): number =>
  [...targets].filter((target) => target >= 0).length;

/** The documents of a batch and where each begins, read off its segment numbers. */
function segmentsOf({ ids, targets, segments }: TrainingBatch) {
  const found: { start: number; document: TrainingDocument }[] = [];
  for (let start = 0, end = 0; start < segments.length; start = end) {
    const sameSegment = (index: number) =>
      segments[index] === segments[start] &&
      Math.floor(index / LENGTH) === Math.floor(start / LENGTH);
    while (sameSegment(end)) end++;
    if (segments[start] === 0) continue;
    found.push({
      start,
      document: { ids: ids.slice(start, end), targets: targets.slice(start, end) },
    });
  }
  return found;
}

/** -log softmax(logits)[target] at every loop, by the definition; 0 where nothing counts. */
function crossEntropies({ ids, targets }: TrainingDocument): readonly (readonly number[])[] {
  const inputs = Array.from(ids, (id) => ({ id, depth: TINY.numLoops }));
  return referenceRun(TINY, weights, inputs, (depth) => depth).map(({ logits }, position) => {
    const target = targets[position]!;
    return logits.map((row) => (target < 0 ? 0 : -Math.log(softmax(row)[target]!)));
  });
}

describe('packed documents', () => {
  it('have the token losses that the definition gives each of them alone', async () => {
    await fc.assert(
      fc.asyncProperty(documents, async (docs) => {
        const batch = pack(docs, 0);
        expect(segmentsOf(batch)).toHaveLength(docs.length);
        const { tokenLoss } = await packed.run(batch);
        const expected = new Array<number>(TINY.numLoops * batch.ids.length).fill(0);
        for (const { start, document } of segmentsOf(batch)) {
          crossEntropies(document).forEach((losses, position) => {
            losses.forEach((loss, loop) => {
              expected[loop * batch.ids.length + start + position] = loss;
            });
          });
        }
        expectClose(tokenLoss!, expected, TOLERANCE.forward, 'token losses');
      }),
      RUNS,
    );
  });

  it('have the loss, metrics and gradients of each alone, weighed by counted targets', async () => {
    await fc.assert(
      fc.asyncProperty(documents, async (docs) => {
        const together = await packed.run(pack(docs, 0));
        const total = docs.reduce((sum, document) => sum + numCounted(document), 0);
        const mean = new Map<string, number[]>();
        for (const document of docs) {
          const size = { rows: 1, length: DOCUMENT_LENGTH, padId: 0 };
          const result = await alone.run(packDocuments([document], size).batch);
          const share = numCounted(document) / total;
          for (const [name, values] of Object.entries(result)) {
            const sums = mean.get(name) ?? values.map(() => 0);
            mean.set(
              name,
              sums.map((sum, index) => sum + share * values[index]!),
            );
          }
        }
        mean.delete('tokenLoss');
        expect(mean.size).toBe(5 + parameterSpecs(TINY).length);
        for (const [name, values] of mean) {
          expectClose(together[name]!, values, TOLERANCE.gradient, name);
        }
      }),
      RUNS,
    );
  });

  it('do not depend on what stands in the padding', async () => {
    await fc.assert(
      fc.asyncProperty(
        documents,
        fc.integer({ min: 1, max: VOCAB_SIZE - 1 }),
        async (docs, padId) => {
          const zero = await packed.run(pack(docs, 0));
          const other = await packed.run(pack(docs, padId));
          for (const [name, values] of Object.entries(zero)) {
            expectClose(other[name]!, values, TOLERANCE.gradient / 10, name);
          }
        },
      ),
      RUNS,
    );
  });
});
