/** Runs whose optimizer, schedule and objective are values of one's own: they train as these say, and resume. */
import { describe, expect, it } from 'vitest';
import { add, mul, scalar, sub } from '../../src/graph/index.js';
import { initializeWeights } from '../../src/model/index.js';
import type {
  ObjectiveDefinition,
  Optimizer,
  RunParts,
  TrainConfig,
} from '../../src/train/index.js';
import { objectiveOf } from '../../src/train/index.js';
import { expectClose } from '../parity/fixtures.js';
import type { Files } from './run-files.js';
import { folderOf, stoppedAfter } from './run-files.js';
import { RUN_CONFIG, runTiny } from './tiny-run.js';

/** Two layers, of whose matrices most have the same shapes. */
const CONFIG: TrainConfig = { ...RUN_CONFIG, model: { ...RUN_CONFIG.model, numHiddenLayers: 2 } };
const start = initializeWeights(CONFIG.model, 1);

const isSecondLayer = (hfName: string) => hfName.includes('layers.1.');

/** Gradient descent with momentum, faster in the second layer; `isElementwise` changes nothing of what it says. */
function descent(factor: number, isElementwise: boolean, decay = 0): Optimizer {
  const factorOf = (hfName: string) => (isSecondLayer(hfName) ? factor : 1);
  return {
    clipNorm: 'off',
    slots: () => [{ name: 'speed', starts: 'at zero' }],
    scalars: ({ learningRate }) => ({ learningRate }),
    rule: ({ hfName }) => ({ name: `times ${factorOf(hfName)}`, isElementwise }),
    step({ spec, param, grad, slot, scalar: read }) {
      const speed = add(mul(slot('speed'), scalar(decay)), grad);
      const change = mul(speed, mul(read('learningRate'), factorOf(spec.hfName)));
      return { param: sub(param, change), slots: { speed } };
    },
  };
}

const run = (parts: RunParts, config: Partial<TrainConfig> = {}, files: Files = new Map()) =>
  runTiny({ folder: folderOf(files), config: { ...CONFIG, ...config }, weights: start, ...parts });

/** How much each weight changed in one train step. */
async function changes(parts: RunParts, learningRate: number) {
  const schedule = { kind: 'constant', warmupTrainSteps: 0 } as const;
  const { weights } = await run(parts, { trainSteps: 1, learningRate, schedule });
  return new Map(
    [...weights].map(([name, values]) => [name, values.map((v, i) => v - start.get(name)![i]!)]),
  );
}

describe.each([true, false])('an optimizer (element by element: %s)', (isElementwise) => {
  it('steps as it says, by layer where its rules differ by layer', async () => {
    const plain = await changes({ optimizer: descent(1, isElementwise) }, 0.5);
    const faster = await changes({ optimizer: descent(3, isElementwise) }, 0.5);
    const halved = await changes({ optimizer: descent(1, isElementwise) }, 0.25);
    expect([...plain.values()].flatMap((values) => [...values]).some((v) => v !== 0)).toBe(true);
    for (const [name, values] of plain) {
      const factor = isSecondLayer(name) ? 3 : 1;
      expectClose(
        faster.get(name)!,
        [...values].map((v) => factor * v),
        1e-5,
        name,
      );
      expectClose(
        halved.get(name)!,
        [...values].map((v) => v / 2),
        1e-5,
        name,
      );
    }
  });

  it('keeps its slots in snapshots', async () => {
    const parts = { optimizer: descent(2, isElementwise, 0.9) };
    const whole: Files = new Map();
    await run(parts, {}, whole);
    const files: Files = new Map();
    await runTiny({
      folder: folderOf(files),
      config: CONFIG,
      weights: start,
      ...parts,
      ...stoppedAfter(4),
    });
    await run(parts, {}, files);
    expect(files).toEqual(whole);
  });
});

it('a schedule says the rate of each train step', async () => {
  const seen: [number, number][] = [];
  const rates: number[] = [];
  await runTiny({
    folder: folderOf(new Map()),
    schedule(trainStep, totalTrainSteps) {
      seen.push([trainStep, totalTrainSteps]);
      return 1 / (trainStep + 1);
    },
    onProgress: ({ learningRate }) => rates.push(learningRate),
  });
  const { trainSteps, learningRate } = RUN_CONFIG;
  const expected = Array.from({ length: trainSteps }, (_, step) => learningRate * (1 / (step + 1)));
  expect(rates).toEqual(expected);
  expect(new Set(seen.map(([, total]) => total))).toEqual(new Set([trainSteps]));
});

it('an objective that trains less than that of the settings resumes, too', async () => {
  const objective: ObjectiveDefinition = {
    ...objectiveOf({ kind: 'stage-1', beta: 0.1 }),
    kind: 'its own',
    trains: 'gate',
  };
  const whole: Files = new Map();
  const { weights } = await run({ objective }, {}, whole);
  const changed = [...weights]
    .filter(([name, values]) => values.some((value, i) => value !== start.get(name)![i]))
    .map(([name]) => name);
  expect(changed).toEqual(['model.early_exit_gate.weight', 'model.early_exit_gate.bias']);
  const files: Files = new Map();
  await runTiny({
    folder: folderOf(files),
    config: CONFIG,
    weights: start,
    objective,
    ...stoppedAfter(4),
  });
  await run({ objective }, {}, files);
  expect(files).toEqual(whole);
});
