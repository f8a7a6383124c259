/** Training equals the golden numbers: stage I and II losses, every gradient, and AdamW. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingBatch } from '../../src/data/index.js';
import { buildGraph } from '../../src/graph/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device, HostTensor } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { Objective, ObjectiveOptions } from '../../src/train/index.js';
import {
  TrainState,
  batchFeeds,
  countTargets,
  gradientOutputs,
  objectiveGraph,
} from '../../src/train/index.js';
import type { Fixture } from './fixtures.js';
import { FIXTURES, TOLERANCE, expectChecksum, expectClose, loadFixture } from './fixtures.js';

function goldenBatch({ golden }: Fixture): TrainingBatch {
  const rows = golden.train.ids.length;
  const length = golden.train.ids[0]!.length;
  return {
    rows,
    length,
    ids: Int32Array.from(golden.train.ids.flat()),
    targets: Int32Array.from(golden.train.targets.flat()),
    segments: new Int32Array(rows * length).fill(1),
    positions: Int32Array.from({ length: rows * length }, (_, index) => index % length),
  };
}

async function runObjective(
  device: Device,
  { config, weights }: Fixture,
  batch: TrainingBatch,
  objective: Objective,
  recompute: NonNullable<ObjectiveOptions['recompute']> = 'none',
): Promise<Readonly<Record<string, HostTensor>>> {
  const { rows, length } = batch;
  const graph = objectiveGraph(config, { rows, length, objective, recompute });
  const outputs = { ...gradientOutputs(graph), tokenLoss: graph.tokenLoss };
  const program = await device.compile(buildGraph(outputs));
  const params = parameterSpecs(config).map(({ hfName, shape }): [string, HostTensor] => [
    hfName,
    { dtype: 'f32', dims: shape, data: weights.get(hfName)! },
  ]);
  const known = new Set(program.inputNames);
  const feeds = {
    ...Object.fromEntries(params),
    ...batchFeeds(batch, config, 1 / countTargets(batch)),
  };
  const used = Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name)));
  const [result] = await device.submit([
    { kind: 'run', program, feeds: used, fetch: Object.keys(outputs) },
  ]);
  await device.free(program);
  return result!;
}

describe.each(FIXTURES)('training on %s', (name) => {
  let fixture: Fixture;
  let device: Device;
  let batch: TrainingBatch;
  beforeAll(async () => {
    fixture = await loadFixture(name);
    device = await createInlineDevice({ numThreads: 1 });
    batch = goldenBatch(fixture);
  });
  afterAll(() => device.dispose());

  it.each([0.1, 0.05])('stage I with beta %d gives the golden loss and its parts', async (beta) => {
    const golden = fixture.golden.stage1.find((entry) => entry.beta === beta)!;
    const result = await runObjective(device, fixture, batch, { kind: 'stage-1', beta });
    const at = (key: string) => result[key]!.data as Float32Array;
    expectClose(at('loss'), [golden.loss], TOLERANCE.loss, 'loss');
    expectClose(at('lossPerLoop'), golden.ce_per_loop, TOLERANCE.loss, 'ce_per_loop');
    expectClose(at('entropy'), [golden.entropy], TOLERANCE.loss, 'entropy');
    expectClose(at('meanExitPdf'), golden.mean_pdf, TOLERANCE.probability, 'mean_pdf');
    expectClose(at('tokenLoss'), await fixture.array('train.token_ce'), TOLERANCE.forward, 'ce');
  });

  it.each(['none', 'loop'] as const)(
    'every stage I gradient is golden, recomputing %s',
    async (recompute) => {
      for (const golden of fixture.golden.stage1) {
        const objective: Objective = { kind: 'stage-1', beta: golden.beta };
        const result = await runObjective(device, fixture, batch, objective, recompute);
        let squares = 0;
        for (const { hfName } of parameterSpecs(fixture.config)) {
          const grad = result[`grad:${hfName}`]!.data as Float32Array;
          squares += grad.reduce((sum, value) => sum + value * value, 0);
          const checksum = golden.grad_checksums[hfName]!;
          expectChecksum(grad, checksum, TOLERANCE.gradientChecksum(grad.length), hfName);
          const key = `stage1.beta${golden.beta}.grad.${hfName}`;
          if (fixture.arrayNames.includes(key)) {
            expectClose(grad, await fixture.array(key), TOLERANCE.gradient, key);
          }
        }
        expectClose([Math.sqrt(squares)], [golden.grad_norm], TOLERANCE.gradNorm, 'grad norm');
      }
    },
  );

  it('stage II as published gives the golden loss and gate gradients', async () => {
    const { k, gamma, loss, grad_bias, grad_weight_checksum } = fixture.golden.stage2;
    const objective: Objective = { kind: 'stage-2', target: 'published', k, gamma };
    const result = await runObjective(device, fixture, batch, objective);
    const at = (key: string) => result[key]!.data as Float32Array;
    expectClose(at('loss'), [loss], TOLERANCE.loss, 'loss');
    const weight = at('grad:model.early_exit_gate.weight');
    expectClose(at('grad:model.early_exit_gate.bias'), [grad_bias], TOLERANCE.gradient, 'bias');
    expectChecksum(
      weight,
      grad_weight_checksum,
      TOLERANCE.gradientChecksum(weight.length),
      'gate weight',
    );
    const goldenWeight = await fixture.array('stage2.grad.model.early_exit_gate.weight');
    expectClose(weight, goldenWeight, TOLERANCE.gradient, 'gate weight');
  });

  it('stage II trains nothing but the gate', async () => {
    for (const target of ['published', 'forward'] as const) {
      const objective: Objective = { kind: 'stage-2', target, k: 50, gamma: 0.005 };
      const result = await runObjective(device, fixture, batch, objective);
      const trained = Object.keys(result).filter((key) => key.startsWith('grad:'));
      expect(trained.toSorted()).toEqual([
        'grad:model.early_exit_gate.bias',
        'grad:model.early_exit_gate.weight',
      ]);
    }
  });

  it.each([1, 2])('three AdamW updates are golden with %d micro-batch(es)', async (parts) => {
    const { config, weights, golden } = fixture;
    const batches = splitRows(batch, parts);
    const state = await TrainState.create({
      device,
      config,
      rows: batches[0]!.rows,
      length: batch.length,
      objective: { kind: 'stage-1', beta: 0.1 },
      recompute: 'none',
      optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
      weights,
    });
    for (let trainStep = 0; trainStep < 3; trainStep++) {
      const metrics = await state.update(batches, trainStep, 1e-3);
      const where = `update ${trainStep + 1}`;
      expectClose([metrics.loss], [golden.adamw.losses[trainStep]!], TOLERANCE.loss, where);
      const norm = golden.adamw.grad_norms[trainStep]!;
      expectClose([metrics.gradNorm], [norm], TOLERANCE.gradNorm, `${where}: norm`);
    }
    const trained = await state.weights();
    for (const { hfName } of parameterSpecs(config)) {
      const values = trained.get(hfName)!;
      const tolerance = TOLERANCE.parameterChecksum(values.length);
      expectChecksum(values, golden.adamw.param_checksums[hfName]!, tolerance, hfName);
      const key = `adamw.final.${hfName}`;
      if (fixture.arrayNames.includes(key)) {
        expectClose(values, await fixture.array(key), TOLERANCE.adamWFinal, key);
      }
    }
    const after = await state.update(batches, 3, 0);
    expectClose([after.loss], [golden.adamw.losses[3]!], TOLERANCE.loss, 'loss after 3 updates');
    await state.dispose();
  });
});

/** The rows of a batch as micro-batches of equal size; padding rows count nothing. */
function splitRows(batch: TrainingBatch, parts: number): readonly TrainingBatch[] {
  const { rows, length } = batch;
  const size = Math.ceil(rows / parts);
  return Array.from({ length: parts }, (_, part) => {
    const take = (values: Int32Array, fill: number) => {
      const result = new Int32Array(size * length).fill(fill);
      result.set(values.subarray(part * size * length, (part + 1) * size * length));
      return result;
    };
    return {
      rows: size,
      length,
      ids: take(batch.ids, 0),
      targets: take(batch.targets, -100),
      segments: take(batch.segments, 0),
      positions: take(batch.positions, 0),
    };
  });
}
