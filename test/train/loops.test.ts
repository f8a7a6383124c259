/**
 * Gradients that are cut between loops, and how loops fare, against a model written down a second time in
 * float64 (reference-model.ts).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingDocument } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import { buildGraph } from '../../src/graph/index.js';
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { Objective } from '../../src/train/index.js';
import { TrainState, batchFeeds, gradientOutputs, objectiveGraph } from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import type { ReferenceToken } from '../engine/reference-model.js';
import { referenceRun, softmax } from '../engine/reference-model.js';
import { TOLERANCE, expectClose } from '../parity/fixtures.js';
import { ADAMW, TINY } from './support.js';

const SIZE = { rows: 2, length: 8 };
const BETA = 0.3;
const STAGE_1: Objective = { kind: 'stage-1', beta: BETA };
const documents: readonly TrainingDocument[] = [
  { ids: [1, 5, 2, 9, 10, 3], targets: [-100, 4, 4, 7, -100, 0] },
  { ids: [8, 8, 1], targets: [2, 10, 6] },
];
const { batch } = packDocuments(documents, { ...SIZE, padId: 0 });
const COUNTED = 7;

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

type Row = readonly number[];
/** States after each loop: [document][position][depth - 1]. */
type States = readonly (readonly (readonly Row[])[])[];

/** All documents at full depth; where `frozen` says so, a loop takes that state in place of its own. */
function runAll(
  config: LoopLMConfig,
  weights: ModelWeights,
  frozen?: { readonly states: States; readonly isCut: (depth: number) => boolean },
) {
  const states: Row[][][] = [];
  const tokens = documents.map(({ ids }, document) => {
    states.push(Array.from(ids, () => []));
    const inputs = Array.from(ids, (id) => ({ id, depth: config.numLoops }));
    return referenceRun(config, weights, inputs, (depth) => depth, {
      state(depth, position, row) {
        states[document]![position]!.push(row);
        return frozen?.isCut(depth) ? frozen.states[document]![position]![depth - 1]! : row;
      },
    });
  });
  return { tokens, states: states as States };
}

/** Stage I, or the last loop's cross-entropy, by the definition. */
function lossOf(
  { numLoops }: LoopLMConfig,
  tokens: readonly (readonly ReferenceToken[])[],
  objective: Objective,
): number {
  const losses = documents.flatMap(({ targets }, document) =>
    tokens[document]!.flatMap(({ logits, gateLogits }, position) => {
      const target = targets[position]!;
      if (target < 0) return [];
      const ce = logits.map((row) => -Math.log(softmax(row)[target]!));
      if (objective.kind === 'last-loop') return [ce.at(-1)!];
      let survival = 1;
      let loss = 0;
      for (let t = 0; t < numLoops; t++) {
        const exit = t === numLoops - 1 ? 1 : 1 / (1 + Math.exp(-gateLogits[t]!));
        const p = exit * survival;
        survival *= 1 - exit;
        loss += p * ce[t]! + BETA * p * Math.log(p);
      }
      return [loss];
    }),
  );
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

async function gradientsOf(
  config: LoopLMConfig,
  weights: ModelWeights,
  options: Parameters<typeof objectiveGraph>[1],
) {
  const outputs = gradientOutputs(objectiveGraph(config, options));
  const program = await device.compile(buildGraph(outputs));
  const params = parameterSpecs(config).map(({ hfName, shape }) => [
    hfName,
    { dtype: 'f32' as const, dims: shape, data: weights.get(hfName)! },
  ]);
  const { chunkRows } = options;
  const feeds = {
    ...Object.fromEntries(params),
    ...batchFeeds(batch, config, 1 / COUNTED, { chunkRows }),
  };
  const [result] = await device.submit([
    { kind: 'run', program, feeds, fetch: Object.keys(outputs) },
  ]);
  await device.free(program);
  return new Map(
    Object.entries(result!).map(([name, { data }]) => [name, Array.from(data, Number)]),
  );
}

describe.each<[string, LoopLMConfig]>([
  ['ouro', { ...TINY, numLoops: 4 }],
  [
    'nanbeige without a norm between loops',
    { ...TINY, architecture: 'nanbeige', numLoops: 4, skipLoopFinalNorm: true },
  ],
])('gradients of %s that are cut', (architecture, config) => {
  const weights = randomWeights(config, 3);
  const objective: Objective = architecture === 'ouro' ? STAGE_1 : { kind: 'last-loop' };
  const { states } = runAll(config, weights);

  it.each([
    { backpropLoops: 1, cuts: [1, 2, 3], recompute: 'none', chunkRows: undefined },
    { backpropLoops: 2, cuts: [2], recompute: 'loop', chunkRows: 1 },
    { backpropLoops: 3, cuts: [1], recompute: 'none', chunkRows: 2 },
    { backpropLoops: 4, cuts: [], recompute: 'none', chunkRows: 3 },
    { backpropLoops: 9, cuts: [], recompute: 'loop', chunkRows: undefined },
  ] as const)(
    'after $backpropLoops loops are those of a loss whose states $cuts are constants',
    async ({ backpropLoops, cuts, recompute, chunkRows }) => {
      const options = {
        ...SIZE,
        objective,
        backpropLoops,
        recompute,
        ...(chunkRows && { chunkRows }),
      };
      const actual = await gradientsOf(config, weights, options);
      const isCut = (depth: number) => cuts.some((cut) => cut === depth);
      const lossAt = (moved: ModelWeights) =>
        lossOf(config, runAll(config, moved, { states, isCut }).tokens, objective);
      expectClose(actual.get('loss')!, [lossAt(weights)], TOLERANCE.loss, 'loss');
      for (const { hfName } of parameterSpecs(config)) {
        for (const index of [0, 3, 7]) {
          const values = weights.get(hfName)!;
          if (index >= values.length) continue;
          const step = 2 ** -12; // exact in float32 beside weights of about 1
          const moved = (change: number) => {
            const to = values.slice();
            to[index] = to[index]! + change;
            return { at: to[index], loss: lossAt(new Map(weights).set(hfName, to)) };
          };
          const [above, below] = [moved(step), moved(-step)];
          const slope = (above.loss - below.loss) / (above.at - below.at);
          const got = actual.get(`grad:${hfName}`)![index]!;
          expectClose([got], [slope], 2e-4, `${hfName} at ${index}`);
        }
      }
    },
  );
});

describe('how loops fare', () => {
  const config: LoopLMConfig = { ...TINY, numLoops: 3 };
  const weights = randomWeights(config, 7);
  const norm = (row: Row) => Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));

  const metricsOf = async (objective: Objective, parts: 1 | 2) => {
    const state = await TrainState.create({
      device,
      config,
      rows: SIZE.rows,
      length: SIZE.length,
      objective,
      optimizer: ADAMW,
      recompute: 'none',
      weights,
      diagnoses: true,
    });
    const batches = Array.from({ length: parts }, () => batch);
    const metrics = await state.update(batches, 0, 0);
    await state.dispose();
    return metrics;
  };

  it('is the norm of states, their change, and the gradient by them', async () => {
    const { tokens, states } = runAll(config, weights);
    const embedding = weights.get('model.embed_tokens.weight')!;
    const [stateNorm, stateChange] = [new Array(3).fill(0), new Array(3).fill(0)] as [
      number[],
      number[],
    ];
    let squares = 0;
    const head = weights.get('lm_head.weight')!;
    const D = config.hiddenSize;
    documents.forEach(({ ids, targets }, document) =>
      Array.from(ids).forEach((id, position) => {
        if (targets[position]! < 0) return;
        const own = states[document]![position]!;
        const before = [Array.from(embedding.slice(id * D, (id + 1) * D)), ...own];
        own.forEach((state, loop) => {
          stateNorm[loop]! += norm(state) / COUNTED;
          const change = state.map((value, i) => value - before[loop]![i]!);
          stateChange[loop]! += norm(change) / norm(before[loop]!) / COUNTED;
        });
        // the gradient of the last loop's cross-entropy by its state: (softmax - one-hot) times the head
        const probs = softmax(tokens[document]![position]!.logits.at(-1)!);
        const errors = probs.map((p, v) => (p - (v === targets[position]! ? 1 : 0)) / COUNTED);
        const byState = Array.from({ length: D }, (_, i) =>
          errors.reduce((sum, error, v) => sum + error * head[v * D + i]!, 0),
        );
        squares += norm(byState) ** 2;
      }),
    );
    const { loops } = await metricsOf({ kind: 'last-loop' }, 1);
    expectClose(loops!.stateNorm, stateNorm, TOLERANCE.loss, 'norm');
    expectClose(loops!.stateChange, stateChange, TOLERANCE.loss, 'change');
    expect(loops!.stateGradNorm).toHaveLength(3);
    expectClose([loops!.stateGradNorm!.at(-1)!], [Math.sqrt(squares)], 1e-5, 'gradient');
    for (const value of loops!.stateGradNorm!) expect(value).toBeGreaterThan(0);
  });

  it('is the same of equal micro-batches together, but for gradients of more tokens', async () => {
    const one = await metricsOf(STAGE_1, 1);
    const two = await metricsOf(STAGE_1, 2);
    expectClose(two.loops!.stateNorm, one.loops!.stateNorm, 1e-5, 'norm');
    expectClose(two.loops!.stateChange, one.loops!.stateChange, 1e-5, 'change');
    // twice as many tokens, each with half the weight
    const halved = one.loops!.stateGradNorm!.map((value) => value / Math.SQRT2);
    expectClose(two.loops!.stateGradNorm!, halved, 1e-5, 'gradient');
  });

  it('has no gradients where the gate alone is trained, which needs none', async () => {
    const objective: Objective = { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 };
    const { loops } = await metricsOf(objective, 1);
    expect(Object.keys(loops!)).toEqual(['stateNorm', 'stateChange']);
  });
});

it('updates may have other numbers of loops, each as a model of so many', async () => {
  const config: LoopLMConfig = { ...TINY, numLoops: 4 };
  const weights = randomWeights(config, 2);
  const options = { device, ...SIZE, objective: STAGE_1, optimizer: ADAMW, weights } as const;
  const mixed = await TrainState.create({
    ...options,
    config,
    recompute: 'none',
    loopCounts: [1, 2, 4],
  });
  for (const numLoops of [1, 4, 2]) {
    const plain = await TrainState.create({
      ...options,
      recompute: 'none',
      config: { ...config, numLoops },
      weights: await mixed.weights(),
    });
    const expected = await plain.update([batch], 0, 0.01);
    const actual = await mixed.update([batch], 0, 0, numLoops);
    expect(actual.lossPerLoop).toHaveLength(numLoops);
    expect(actual).toEqual(expected);
    await plain.dispose();
  }
  await mixed.dispose();
  expect(await device.stats()).toEqual({ buffers: 0, bytes: 0, programs: 0 });
});
