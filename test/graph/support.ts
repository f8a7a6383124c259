/**
 * What the graph tests share: running a graph in ONNX Runtime, comparing values, and gradients by
 * central finite differences in the interpreter.
 */
import type * as Ort from 'onnxruntime-node';
import * as ort from '../../src/runtime/ort-node.js';
import { expect } from 'vitest';
import type { DType, Graph, Tensor } from 'looplm/graph';
import { buildGraph, writeOnnx } from 'looplm/graph';
import { decodeFloat16, encodeFloat16 } from '../../src/util/half-float.js';
import type { Value } from './interpreter.js';
import { evaluate } from './interpreter.js';

export type Feeds = Readonly<Record<string, Value>>;

/** float32 against float64: the relative error allowed, measured on the largest element. */
const FLOAT32_TOLERANCE = 2e-5;
const FINITE_DIFFERENCE_TOLERANCE = 1e-6;
const DIFFERENCE = 1e-5;

const ORT_TYPE = {
  f32: 'float32',
  f16: 'float16',
  i32: 'int32',
  i64: 'int64',
  u8: 'uint8',
  i8: 'int8',
  bool: 'bool',
} as const satisfies Record<DType, string>;

export const SESSION_OPTIONS: Ort.InferenceSession.SessionOptions = {
  intraOpNumThreads: 1,
  logSeverityLevel: 3,
};

/** Compiles and runs a graph once in ONNX Runtime. */
export async function runOnnx(
  graph: Graph,
  feeds: Feeds,
): Promise<Readonly<Record<string, Value>>> {
  const program = await ort.InferenceSession.create(writeOnnx(graph).bytes, SESSION_OPTIONS);
  try {
    return await runSession(program, graph, feeds);
  } finally {
    await program.release();
  }
}

/** Runs an open session of a graph. */
export async function runSession(
  program: Ort.InferenceSession,
  graph: Graph,
  feeds: Feeds,
): Promise<Readonly<Record<string, Value>>> {
  const tensors = graph.inputs.map((node) => {
    const name = node.attributes['name'] as string;
    return [name, toOrt(node.dtype, feeds[name]!)] as const;
  });
  const results = await program.run(Object.fromEntries(tensors));
  return Object.fromEntries(Object.entries(results).map(([name, x]) => [name, fromOrt(x)]));
}

function toOrt(dtype: DType, { dims, data }: Value): Ort.Tensor {
  return new ort.Tensor(ORT_TYPE[dtype], typedArray(dtype, data) as Float32Array, dims);
}

function typedArray(dtype: DType, data: Float64Array) {
  switch (dtype) {
    case 'f32':
      return Float32Array.from(data);
    case 'f16':
      return encodeFloat16(Float32Array.from(data));
    case 'i32':
      return Int32Array.from(data);
    case 'i64':
      return BigInt64Array.from([...data].map(BigInt));
    case 'i8':
      return Int8Array.from(data);
    case 'u8':
    case 'bool':
      return Uint8Array.from(data);
    default:
      return dtype satisfies never;
  }
}

function fromOrt(tensor: Ort.Tensor): Value {
  const raw = tensor.data as Float32Array | BigInt64Array | Uint16Array;
  const data = tensor.type === 'float16' ? decodeFloat16(Uint16Array.from(raw, Number)) : raw;
  return { dims: tensor.dims, data: Float64Array.from(data, Number) };
}

/** Same dims, and the same elements: exactly for integers, to float32 precision for floats. */
export function expectClose(actual: Value, expected: Value, dtype: DType = 'f32'): void {
  expect(actual.dims).toEqual(expected.dims);
  if (dtype !== 'f32') return expect(actual.data).toEqual(expected.data);
  const scale = expected.data.reduce((top, x) => Math.max(top, Math.abs(x)), 1);
  expected.data.forEach((x, index) => {
    const error = Math.abs(actual.data[index]! - x);
    if (!(error <= FLOAT32_TOLERANCE * scale)) {
      expect.fail(`element ${index} is ${actual.data[index]}, expected ${x} (scale ${scale})`);
    }
  });
}

/** Checks derivatives of a scalar by central differences over every element of an input. */
export function expectDerivative(loss: Tensor, gradient: Value, feeds: Feeds, name: string): void {
  const feed = feeds[name]!;
  expect(gradient.dims).toEqual(feed.dims);
  const numeric = feed.data.map((x, index) => {
    const lossAt = (moved: number) => {
      const data = feed.data.slice();
      data[index] = moved;
      return evaluate([loss], { ...feeds, [name]: { dims: feed.dims, data } })[0]!.data[0]!;
    };
    return (lossAt(x + DIFFERENCE) - lossAt(x - DIFFERENCE)) / (2 * DIFFERENCE);
  });
  const scale = numeric.reduce((top, x) => Math.max(top, Math.abs(x)), 1);
  numeric.forEach((x, index) => {
    const error = Math.abs(gradient.data[index]! - x);
    if (!(error <= FINITE_DIFFERENCE_TOLERANCE * scale)) {
      expect.fail(`d/d${name}[${index}] is ${gradient.data[index]}, differences give ${x}`);
    }
  });
}

/** Checks the derivative of a scalar along one direction through all inputs at once. */
export function expectDerivativeAlong(
  loss: Tensor,
  gradients: Feeds,
  feeds: Feeds,
  direction: Feeds,
): void {
  const lossAt = (distance: number) => {
    const moved = Object.entries(feeds).map(([name, { dims, data }]) => {
      const along = direction[name]!.data;
      return [name, { dims, data: data.map((x, index) => x + distance * along[index]!) }] as const;
    });
    return evaluate([loss], Object.fromEntries(moved))[0]!.data[0]!;
  };
  const numeric = (lossAt(DIFFERENCE) - lossAt(-DIFFERENCE)) / (2 * DIFFERENCE);
  let exact = 0;
  for (const [name, { data }] of Object.entries(gradients)) {
    data.forEach((x, index) => (exact += x * direction[name]!.data[index]!));
  }
  const error = Math.abs(exact - numeric) / Math.max(1, Math.abs(numeric));
  expect(error).toBeLessThan(FINITE_DIFFERENCE_TOLERANCE);
}

/** Evaluates tensors in ONNX Runtime, in the given order. */
export async function runTensors(
  tensors: readonly Tensor[],
  feeds: Feeds,
): Promise<readonly Value[]> {
  const named = Object.fromEntries(tensors.map((tensor, index) => [`out${index}`, tensor]));
  const results = await runOnnx(buildGraph(named), feeds);
  return tensors.map((_, index) => results[`out${index}`]!);
}
