/**
 * What can be put in from outside: objectives of one's own, what is trained, and an exchange of gradients
 * between machines.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingBatch } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import { ConfigError } from '../../src/errors.js';
import { add, buildGraph, cast, input, mul, neg } from '../../src/graph/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device, DeviceBuffer } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type {
  Exchange,
  Objective,
  ObjectiveDefinition,
  TrainStateOptions,
} from '../../src/train/index.js';
import { TrainState, objectiveOf, trainableSpecs } from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import { TOLERANCE, expectClose } from '../parity/fixtures.js';
import { ADAMW, TINY } from './support.js';

const [ROWS, LENGTH] = [2, 8];
const weights = randomWeights(TINY, 9);
const batchOf = (ids: readonly number[]): TrainingBatch =>
  packDocuments([{ ids, targets: ids.map((id) => (id + 1) % 11) }], {
    rows: ROWS,
    length: LENGTH,
    padId: 0,
  }).batch;
const BATCH = batchOf([1, 5, 2, 9, 10, 3]);
const OTHER = batchOf([4, 4, 8, 0, 7, 6]);
const STAGE_1: Objective = { kind: 'stage-1', beta: 0.1 };

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

const stateOf = (options: Partial<TrainStateOptions>) =>
  TrainState.create({
    device,
    config: TINY,
    rows: ROWS,
    length: LENGTH,
    objective: STAGE_1,
    optimizer: { ...ADAMW, epsilon: 1e-3 },
    recompute: 'none',
    weights,
    ...options,
  });

/** Weights after two updates on the same batch. */
async function trainedWith(options: Partial<TrainStateOptions>, batch: TrainingBatch = BATCH) {
  const state = await stateOf(options);
  for (const trainStep of [0, 1]) await state.update([batch], trainStep, 0.01);
  const result = await state.weights();
  await state.dispose();
  return result;
}

describe('an objective of one`s own', () => {
  /** A policy gradient at forced exit depths: what reinforcement learning asks for. */
  const policy: ObjectiveDefinition = {
    kind: 'policy',
    needsGate: false,
    minLoops: 1,
    trains: 'all',
    extraInputs: [
      { name: 'advantage', dtype: 'f32' },
      { name: 'isLast', dtype: 'i32' },
    ],
    loss: ({ tokenLosses, mean, extra }) => {
      const atLast = mul(tokenLosses.at(-1)!, cast(extra('isLast'), 'f32'));
      const isFirst = add(neg(cast(extra('isLast'), 'f32')), 1);
      return mean(mul(add(atLast, mul(tokenLosses[0]!, isFirst)), extra('advantage')));
    },
  };
  const withExtra = (advantage: number, isLast: number): TrainingBatch => ({
    ...BATCH,
    extra: {
      advantage: new Float32Array(ROWS * LENGTH).fill(advantage),
      isLast: new Int32Array(ROWS * LENGTH).fill(isLast),
    },
  });
  const metricsOf = async (objective: Objective, batch: TrainingBatch) => {
    const state = await stateOf({ objective });
    try {
      return await state.update([batch], 0, 0.01);
    } finally {
      await state.dispose();
    }
  };

  it('reads inputs of its own: with advantages of one it is the loss of the last loop', async () => {
    const expected = await metricsOf({ kind: 'last-loop' }, BATCH);
    const { loss, gradNorm } = await metricsOf(policy, withExtra(1, 1));
    expectClose([loss, gradNorm], [expected.loss, expected.gradNorm], 1e-6, 'loss and gradient');
    const twice = await metricsOf(policy, withExtra(-2, 1));
    expectClose([-twice.loss, twice.gradNorm], [2 * loss, 2 * gradNorm], 1e-5, 'twice, negative');
    const first = await metricsOf(policy, withExtra(1, 0));
    expectClose([first.loss], [expected.lossPerLoop[0]!], 1e-6, 'the first loop');
  });

  it('that a batch does not serve says what it reads', async () => {
    const without = metricsOf(policy, BATCH);
    await expect(without).rejects.toThrow(ConfigError);
    await expect(without).rejects.toThrow(/reads "advantage", 16 numbers of type f32.*has none/);
    const extra = { ...withExtra(1, 1).extra, advantage: new Float32Array(3) };
    await expect(metricsOf(policy, { ...BATCH, extra })).rejects.toThrow(/has 3 as Float32Array/);
  });
});

describe('what is trained', () => {
  const changed = async (options: Partial<TrainStateOptions>) => {
    const result = await trainedWith(options);
    return [...result]
      .filter(([name, values]) =>
        values.some((value, index) => value !== weights.get(name)![index]),
      )
      .map(([name]) => name);
  };
  const all = parameterSpecs(TINY).map(({ hfName }) => hfName);

  it('is what the objective says, all or the gate', async () => {
    expect(objectiveOf(STAGE_1).trains).toBe('all');
    expect(await changed({})).toEqual(all);
    const objective: Objective = { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 };
    const gate = all.filter((name) => name.includes('early_exit_gate'));
    expect(await changed({ objective })).toEqual(gate);
  });

  it('may be said otherwise, and all else stays to the bit', async () => {
    const names = ['*.self_attn.*', 'lm_head.weight'];
    const expected = all.filter((name) => /self_attn|lm_head/.test(name));
    expect(await changed({ trained: names })).toEqual(expected);
    const gate = all.filter((name) => name.includes('early_exit_gate'));
    expect(await changed({ trained: 'gate' })).toEqual(gate);
  });

  it('a name that fits nothing is refused with one that does', () => {
    for (const names of [['model.layer.*'], ['lm_head.weight', 'lm_head'], ['model.layers.(0)*']]) {
      expect(() => trainableSpecs(TINY, names)).toThrow(
        /fits no parameter of the model, such as model\.embed_tokens/,
      );
    }
    expect(() => trainableSpecs({ ...TINY, architecture: 'nanbeige' }, 'gate')).toThrow(/no such/);
  });
});

describe('weights that are set', () => {
  it('are there for whoever shares them, and what the optimizer keeps stays', async () => {
    const state = await stateOf({});
    const { residentWeights } = state;
    await state.update([BATCH], 0, 0.01);
    const [slots, before] = [await state.slots(), await state.weights()];
    const { version } = residentWeights;
    const [name, ...others] = [...weights.keys()];
    const value = before.get(name!)!.map((_, i) => i / 7);
    await state.setWeights(new Map([[name!, value]]));
    value.fill(NaN); // the caller's own
    const after = await state.weights();
    expect(after.get(name!)).toEqual(value.map((_, i) => i / 7));
    for (const other of others) expect(after.get(other)).toEqual(before.get(other));
    expect(await state.slots()).toEqual(slots);
    const shared = await device.download(residentWeights.buffers.get(name!)!);
    expect(shared.data).toEqual(after.get(name!));
    expect(residentWeights.version).toBeGreaterThan(version);
    const { buffers } = await device.stats();
    await state.setWeights(after);
    expect((await device.stats()).buffers).toBe(buffers);
    await state.dispose();
  });
});

describe('an exchange of gradients', () => {
  it('that does nothing changes no bit', async () => {
    const calls: number[] = [];
    const exchange: Exchange = async ({ trainStep, buffers }) => {
      calls.push(trainStep);
      expect([...buffers.keys()]).toEqual(parameterSpecs(TINY).map(({ hfName }) => hfName));
    };
    expect(await trainedWith({ exchange })).toEqual(await trainedWith({}));
    expect(calls).toEqual([0, 1]);
  });

  it('that takes the mean makes two machines one, and keeps them equal to the bit', async () => {
    const { exchange, free } = await meanOfTwo();
    const machines = [await stateOf({ exchange }), await stateOf({ exchange })] as const;
    const whole = await stateOf({});
    for (const trainStep of [0, 1, 2]) {
      await Promise.all([
        machines[0].update([BATCH], trainStep, 0.01),
        machines[1].update([OTHER], trainStep, 0.01),
      ]);
      await whole.update([BATCH, OTHER], trainStep, 0.01);
    }
    const [first, second] = [await machines[0].weights(), await machines[1].weights()];
    expect(first).toEqual(second);
    for (const [name, values] of await whole.weights()) {
      expectClose(first.get(name)!, values, TOLERANCE.adamWFinal, name);
    }
    for (const state of [...machines, whole]) await state.dispose();
    await free();
    expect(await device.stats()).toEqual({ buffers: 0, bytes: 0, programs: 0 });
  });

  /** Waits for both, then writes the mean of their gradients into both. */
  async function meanOfTwo() {
    const specs = parameterSpecs(TINY);
    const outputs = specs.flatMap(({ hfName, shape }) => {
      const sum = add(input(`a:${hfName}`, 'f32', shape), input(`b:${hfName}`, 'f32', shape));
      return [
        [`next:a:${hfName}`, mul(sum, 0.5)],
        [`next:b:${hfName}`, mul(sum, 0.5)],
      ] as const;
    });
    const program = await device.compile(buildGraph(Object.fromEntries(outputs)));
    let first: { buffers: ReadonlyMap<string, DeviceBuffer>; done: () => void } | undefined;
    const exchange: Exchange = async ({ buffers }) => {
      if (!first) {
        return new Promise<void>((done) => {
          first = { buffers, done };
        });
      }
      const named = Object.entries({ a: first.buffers, b: buffers }).flatMap(([side, of]) =>
        [...of].map(([name, buffer]) => [`${side}:${name}`, buffer] as const),
      );
      const store = named.map(([name, buffer]) => [`next:${name}`, buffer] as const);
      const feeds = Object.fromEntries(named);
      await device.submit([{ kind: 'run', program, feeds, store: Object.fromEntries(store) }]);
      first.done();
      first = undefined;
    };
    return { exchange, free: () => device.free(program) };
  }
});
