/** The loss over all readouts is the same however many rows of logits exist together. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packDocuments } from '../../src/data/index.js';
import { buildGraph, mul } from '../../src/graph/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { Objective, ObjectiveDefinition, ObjectiveOptions } from '../../src/train/index.js';
import { batchFeeds, gradientOutputs, objectiveGraph } from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import { expectClose } from '../parity/fixtures.js';
import { TINY, objectiveRunner } from './support.js';

const SIZE = { rows: 2, length: 7 };
const CONFIG = { ...TINY, tieWordEmbeddings: true };
const weights = randomWeights(CONFIG, 4);
const { batch } = packDocuments(
  [
    { ids: [1, 5, 2, 9, 10, 3], targets: [-100, 4, 4, 7, -100, 0] },
    { ids: [8, 8, 1, 0, 3, 6, 2], targets: [2, 10, 6, -100, -100, -100, 5] },
  ],
  { ...SIZE, padId: 0 },
);

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

type Options = Pick<ObjectiveOptions, 'chunkRows' | 'recompute' | 'trained'>;

async function run(objective: Objective, options: Options = {}, extra = {}) {
  const runner = await objectiveRunner(device, CONFIG, weights, objective, { ...SIZE, ...options });
  const result = await runner.run({ ...batch, extra });
  await runner.free();
  return result;
}

const custom = (fields: Pick<ObjectiveDefinition, 'loss' | 'extraInputs'>): Objective => ({
  kind: 'custom',
  needsGate: false,
  minLoops: 1,
  trains: 'all',
  ...fields,
});
/** Its gradient by a cross-entropy depends on the cross-entropy. */
const SQUARES = custom({
  extraInputs: [],
  loss: ({ tokenLosses, mean }) => mean(mul(tokenLosses.at(-1)!, tokenLosses.at(-1)!)),
});
/** Its gradient by a cross-entropy is given. */
const WEIGHED = custom({
  extraInputs: [{ name: 'rate', dtype: 'f32' }],
  loss: ({ tokenLosses, mean, extra }) => mean(mul(extra('rate'), tokenLosses.at(-1)!)),
});

function expectEqual(actual: Awaited<ReturnType<typeof run>>, expected: typeof actual) {
  expect(Object.keys(actual)).toEqual(Object.keys(expected));
  for (const [name, values] of Object.entries(expected)) {
    const size = Math.max(1, ...values.map(Math.abs));
    expectClose(actual[name]!, values, 1e-6 * size, name);
  }
}

const OBJECTIVES: readonly (readonly [string, Objective])[] = [
  ['stage I', { kind: 'stage-1', beta: 0.1 }],
  ['stage II', { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 }],
  ['the last loop', { kind: 'last-loop' }],
  ['squares of cross-entropies', SQUARES],
];

describe.each(OBJECTIVES)('of %s', (_, objective) => {
  it.each([1, 5, 13])('chunks of %i rows give what all rows at once give', async (chunkRows) => {
    expectEqual(await run(objective, { chunkRows }), await run(objective));
  });

  it('also where loops are computed again', async () => {
    expectEqual(await run(objective, { chunkRows: 5, recompute: 'loop' }), await run(objective));
  });

  it('no logits of more rows than a chunk has are computed', () => {
    const chunkRows = 5;
    const vocabSize = 997;
    const graph = objectiveGraph({ ...CONFIG, vocabSize }, { ...SIZE, objective, chunkRows });
    const { nodes } = buildGraph(gradientOutputs(graph));
    const rows = nodes.flatMap(({ shape }) => (shape.at(-1) === vocabSize ? [shape[0]!] : []));
    const ofLogits = rows.filter((count) => count !== CONFIG.hiddenSize);
    expect(new Set(ofLogits)).toEqual(new Set(['M']));
    const feeds = batchFeeds(batch, { ...CONFIG, vocabSize }, 1, { chunkRows });
    expect(feeds['readout:rows']!.dims).toEqual([3, expect.toSatisfy((m) => m <= chunkRows)]);
  });
});

it('gradients are right where they depend on the cross-entropies', async () => {
  const squares = await run(SQUARES, { chunkRows: 5 });
  const last = squares['tokenLoss']!.slice(-SIZE.rows * SIZE.length);
  const rate = Float32Array.from(last, (loss) => 2 * loss);
  const weighed = await run(WEIGHED, {}, { rate });
  const { loss } = squares;
  expectEqual(squares, { ...weighed, loss: loss! }); // another loss, of the same gradients
});

it('of the gate alone nothing goes back through a readout', () => {
  const objective = { kind: 'stage-1', beta: 0.1 } as const;
  const graph = objectiveGraph(CONFIG, { ...SIZE, objective, trained: 'gate' });
  const { nodes } = buildGraph(gradientOutputs(graph));
  const vocabSize = CONFIG.vocabSize;
  const products = nodes.filter(({ op, shape }) => op === 'matmul' && shape.at(-1) === vocabSize);
  const readers = nodes.filter(
    ({ op, inputs }) => op === 'matmul' && inputs.some((x) => x.op === 'addAt'),
  );
  expect(products).toHaveLength(CONFIG.numLoops);
  expect(readers).toEqual([]);
});
