/**
 * Optimizers, step by step against a second implementation in float64, written from their published
 * definitions: AdamW, Loshchilov & Hutter (arXiv 1711.05101), algorithm 2; Muon, Jordan et al. 2024
 * (https://kellerjordan.github.io/posts/muon/), algorithm and Newton-Schulz coefficients, with the decay
 * and the scale of Liu et al. 2025 (arXiv 2502.16982), section 2.2.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { mersenne } from 'pure-rand/generator/mersenne';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LoopLMConfig, ParameterSpec } from '../../src/model/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device, DeviceBuffer, HostTensor } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { OptimizerSettings } from '../../src/train/index.js';
import { CompiledUpdate, optimizerOf } from '../../src/train/index.js';
import { expectClose } from '../parity/fixtures.js';
import { ADAMW, TINY } from './support.js';

type Vector = readonly number[];
type Values = ReadonlyMap<string, Vector>;

const rng = mersenne(5);
const draw = (count: number): Vector =>
  Array.from({ length: count }, () => uniformInt(rng, -(2 ** 20), 2 ** 20) / 2 ** 20);

/** Wide, tall and square matrices. */
const CONFIG: LoopLMConfig = { ...TINY, intermediateSize: 12 };
const SPECS = parameterSpecs(CONFIG);
const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const start: Values = new Map(SPECS.map(({ hfName, shape }) => [hfName, draw(size(shape))]));
/** Gradients of each update. */
const GRADIENTS: readonly Values[] = Array.from(
  { length: 6 },
  () => new Map(SPECS.map(({ hfName, shape }) => [hfName, draw(size(shape))])),
);
const RATES = [0.01, 0.02, 0.02, 0.01, 0.005, 0.001];

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

interface Stepped {
  readonly params: Values;
  /** By `SLOT:NAME`. */
  readonly slots: Values;
}

/** What the programs give after each update. */
async function run(settings: OptimizerSettings): Promise<readonly Stepped[]> {
  const optimizer = optimizerOf(settings);
  const tensor = (shape: readonly number[], values: Vector): HostTensor => ({
    dtype: 'f32',
    dims: shape,
    data: Float32Array.from(values),
  });
  /** By parameter and `param` or slot. */
  const buffers = new Map<string, DeviceBuffer>();
  const names = (spec: ParameterSpec) => ['param', ...optimizer.slots(spec).map((s) => s.name)];
  for (const spec of SPECS) {
    const { hfName, shape } = spec;
    const zero = draw(size(shape)).map(() => 0);
    for (const name of names(spec)) {
      const slot = optimizer.slots(spec).find((s) => s.name === name);
      const values = slot?.starts === 'at zero' ? zero : start.get(hfName)!;
      buffers.set(`${name}:${hfName}`, await device.upload(tensor(shape, values)));
    }
  }
  const update = await CompiledUpdate.compile(device, SPECS, optimizer);
  const bufferOf = (kind: string, hfName: string) => buffers.get(`${kind}:${hfName}`)!;
  const steps: Stepped[] = [];
  for (const [trainStep, grads] of GRADIENTS.entries()) {
    for (const { hfName, shape } of SPECS) {
      const given = await device.upload(tensor(shape, grads.get(hfName)!));
      buffers.set(`total:${hfName}`, given);
    }
    const moment = { trainStep, learningRate: RATES[trainStep]! };
    await device.submit(update.commands(moment, bufferOf));
    for (const { hfName } of SPECS) {
      await device.free(bufferOf('total', hfName));
      buffers.delete(`total:${hfName}`);
    }
    const values = await Promise.all(
      [...buffers].map(async ([name, buffer]) => {
        const { data } = await device.download(buffer);
        return [name, Array.from(data, Number)] as const;
      }),
    );
    const isParam = (name: string) => name.startsWith('param:');
    steps.push({
      params: new Map(
        values.filter(([name]) => isParam(name)).map(([name, v]) => [name.slice(6), v]),
      ),
      slots: new Map(values.filter(([name]) => !isParam(name))),
    });
  }
  for (const buffer of buffers.values()) await device.free(buffer);
  await update.free(device);
  return steps;
}

// The definitions, in float64.

function clipped(grads: Values, clipNorm: number | 'off'): Values {
  const squares = [...grads.values()].flat().reduce((sum, g) => sum + g * g, 0);
  const factor = clipNorm === 'off' ? 1 : Math.min(1, clipNorm / (Math.sqrt(squares) + 1e-6));
  return new Map([...grads].map(([name, values]) => [name, values.map((g) => g * factor)]));
}

interface Adam {
  readonly m: Vector;
  readonly v: Vector;
}

function adamStep(
  settings: OptimizerSettings,
  param: Vector,
  grad: Vector,
  before: Adam | undefined,
  at: { readonly n: number; readonly rate: number; readonly isMatrix: boolean },
): { readonly param: Vector; readonly adam: Adam } {
  const { beta1, beta2, epsilon, weightDecay } = settings;
  const m = grad.map((g, i) => beta1 * (before?.m[i] ?? 0) + (1 - beta1) * g);
  const v = grad.map((g, i) => beta2 * (before?.v[i] ?? 0) + (1 - beta2) * g * g);
  const next = param.map((theta, i) => {
    const mHat = m[i]! / (1 - beta1 ** at.n);
    const vHat = v[i]! / (1 - beta2 ** at.n);
    const decay = at.isMatrix ? at.rate * weightDecay * theta : 0;
    return theta - decay - (at.rate * mHat) / (Math.sqrt(vHat) + epsilon);
  });
  return { param: next, adam: { m, v } };
}

type Matrix = readonly Vector[];
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, x, k) => sum + x * b[k]![j]!, 0)));
const transposed = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));
const combine = (terms: readonly (readonly [number, Matrix])[]): Matrix =>
  terms[0]![1].map((row, i) =>
    row.map((_, j) => terms.reduce((sum, [factor, m]) => sum + factor * m[i]![j]!, 0)),
  );

/** zeropower_via_newtonschulz5 of the post. */
function newtonSchulz(g: Matrix, iterations: number): Matrix {
  const norm = Math.sqrt(g.flat().reduce((sum, x) => sum + x * x, 0));
  let x = combine([[1 / (norm + 1e-7), g]]);
  const isTall = g.length > g[0]!.length;
  if (isTall) x = transposed(x);
  for (let i = 0; i < iterations; i++) {
    const a = product(x, transposed(x));
    const b = combine([
      [-4.775, a],
      [2.0315, product(a, a)],
    ]);
    x = combine([
      [3.4445, x],
      [1, product(b, x)],
    ]);
  }
  return isTall ? transposed(x) : x;
}

function muonStep(
  { momentum, iterations, weightDecay }: Extract<OptimizerSettings, { kind: 'muon' }>,
  param: Vector,
  grad: Vector,
  before: Vector | undefined,
  at: { readonly shape: readonly number[]; readonly rate: number },
): { readonly param: Vector; readonly buffer: Vector } {
  const [rows, columns] = at.shape as [number, number];
  const buffer = grad.map((g, i) => momentum * (before?.[i] ?? 0) + g);
  const ahead = grad.map((g, i) => g + momentum * buffer[i]!);
  const matrix = Array.from({ length: rows }, (_, r) =>
    ahead.slice(r * columns, (r + 1) * columns),
  );
  const update = newtonSchulz(matrix, iterations).flat();
  const scale = 0.2 * Math.sqrt(Math.max(rows, columns));
  const next = param.map((w, i) => w - at.rate * (scale * update[i]! + weightDecay * w));
  return { param: next, buffer };
}

/** Parameters and slots after each update, by the definitions. */
function reference(settings: OptimizerSettings): readonly Stepped[] {
  let params = start;
  const adams = new Map<string, Adam>();
  const buffers = new Map<string, Vector>();
  return GRADIENTS.map((gradients, index): Stepped => {
    const grads = clipped(gradients, settings.clipNorm);
    const [n, rate] = [index + 1, RATES[index]!];
    const slots = new Map<string, Vector>();
    const next = SPECS.map(({ hfName, shape }): [string, Vector] => {
      const [param, grad] = [params.get(hfName)!, grads.get(hfName)!];
      // Named by the checkpoint: matrices of layers are the projections.
      if (settings.kind === 'muon' && /^model\.layers\..*_proj\.weight$/.test(hfName)) {
        const step = muonStep(settings, param, grad, buffers.get(hfName), { shape, rate });
        buffers.set(hfName, step.buffer);
        slots.set(`momentum:${hfName}`, step.buffer);
        return [hfName, step.param];
      }
      const at = { n, rate, isMatrix: shape.length === 2 };
      const step = adamStep(settings, param, grad, adams.get(hfName), at);
      adams.set(hfName, step.adam);
      slots.set(`m:${hfName}`, step.adam.m).set(`v:${hfName}`, step.adam.v);
      return [hfName, step.param];
    });
    params = new Map(next);
    return { params, slots };
  });
}

const MUON: OptimizerSettings = { ...ADAMW, kind: 'muon', momentum: 0.95, iterations: 5 };

describe.each<[string, OptimizerSettings]>([
  ['AdamW', ADAMW],
  ['AdamW without clipping', { ...ADAMW, kind: 'adamw', clipNorm: 'off', weightDecay: 0 }],
  ['Muon', MUON],
  ['Muon with other settings', { ...MUON, momentum: 0.8, iterations: 3, clipNorm: 'off' }],
])('%s', (_, settings) => {
  it('is its definition in float64 at every step, and keeps no other slots', async () => {
    const expected = reference(settings);
    const actual = await run(settings);
    actual.forEach(({ params, slots }, index) => {
      const at = (name: string) => `update ${index + 1}: ${name}`;
      for (const [name, values] of expected[index]!.params) {
        expectClose(params.get(name)!, values, 2e-5, at(name));
      }
      expect([...slots.keys()].toSorted()).toEqual([...expected[index]!.slots.keys()].toSorted());
      for (const [name, values] of expected[index]!.slots) {
        expectClose(slots.get(name)!, values, 2e-5, at(name));
      }
    });
  });
});

it('makes singular values of a matrix nearly equal', async () => {
  const [before] = await run({ ...MUON, weightDecay: 0, clipNorm: 'off' });
  const name = 'model.layers.0.mlp.gate_proj.weight';
  const { shape } = SPECS.find(({ hfName }) => hfName === name)!;
  const [rows, columns] = shape as [number, number];
  const scale = RATES[0]! * 0.2 * Math.sqrt(Math.max(rows, columns));
  const change = before!.params.get(name)!.map((w, i) => (start.get(name)![i]! - w) / scale);
  const matrix = Array.from({ length: rows }, (_, r) =>
    change.slice(r * columns, (r + 1) * columns),
  );
  // the trace of (X^T X)^2 over that of X^T X lies between the squares of the extreme singular values
  const gram = product(transposed(matrix), matrix);
  const trace = (a: Matrix) => a.reduce((sum, row, i) => sum + row[i]!, 0);
  const mean = trace(gram) / columns;
  const spread = trace(product(gram, gram)) / columns - mean ** 2;
  expect(mean).toBeGreaterThan(0.5);
  expect(mean).toBeLessThan(1.4);
  expect(Math.sqrt(spread)).toBeLessThan(0.35);
});

it.each<OptimizerSettings>([ADAMW, MUON])(
  '$kind averages the weights beside them',
  async (base) => {
    const decay = 0.3;
    const averaged = await run({ ...base, averageDecay: decay });
    const plain = await run(base);
    let average = start;
    averaged.forEach(({ params, slots }, index) => {
      expect(params).toEqual(plain[index]!.params);
      const n = index + 1;
      const d = Math.min(decay, (1 + n) / (10 + n));
      average = new Map(
        [...average].map(([name, values]) => [
          name,
          values.map((a, i) => d * a + (1 - d) * params.get(name)![i]!),
        ]),
      );
      for (const [name, values] of average) {
        expectClose(slots.get(`average:${name}`)!, values, 1e-5, `update ${n}: ${name}`);
      }
    });
  },
);
