/**
 * Symbolic tensors: immutable nodes of a computation that has not run yet.
 *
 * A tensor names an operation, its inputs and its shape; a graph is whatever is reachable from its
 * outputs. Tensors are numbered in the order of their creation, so an input always has a smaller id
 * than its user; differentiation and the passes rely on that order.
 * This file knows no operation: those are entries of the op table (op.ts).
 */
import { ShapeError } from '../errors.js';

export type DType = 'f32' | 'f16' | 'i32' | 'i64' | 'u8' | 'i8' | 'bool';

/** A size: a number, or a name such as `N` for a size known only when the program runs. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** Bytes of one element. */
export const ELEMENT_BYTES: Readonly<Record<DType, number>> = {
  f32: 4,
  f16: 2,
  i32: 4,
  i64: 8,
  u8: 1,
  i8: 1,
  bool: 1,
};

export type AttributeValue = number | string | boolean | readonly number[] | Shape;
export type Attributes = Readonly<Record<string, AttributeValue>>;

/** Elements of constants and parameters, row-major. */
export type TensorData =
  | Float32Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array
  | Uint16Array;

/** Bytes of a weight in a file, read by the runtime when it compiles the program. */
export interface FileRange {
  /** File name inside the folder of weights that is given when the graph is compiled. */
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

export interface Tensor {
  readonly id: number;
  readonly op: string;
  readonly inputs: readonly Tensor[];
  readonly attributes: Attributes;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Elements, for the leaves `constant` and `parameter` only. */
  readonly data?: TensorData;
  /** Where a `parameter` that is not in memory lies; it has no `data`. */
  readonly range?: FileRange;
  /** Builds the same computation again from other inputs, for `recompute` only (recompute.ts). */
  readonly rebuild?: (inputs: readonly Tensor[]) => Tensor;
  /** Gradients of the inputs from that of the value, for `withGradient` only (custom-gradient.ts). */
  readonly pull?: (grad: Tensor) => readonly (Tensor | undefined)[];
}

let nextId = 0;

export function createTensor(fields: Omit<Tensor, 'id'>): Tensor {
  return Object.freeze({ ...fields, id: nextId++ });
}

/** A value that is fed when the program runs. */
export function input(name: string, dtype: DType, shape: Shape): Tensor {
  return createTensor({ op: 'input', inputs: [], attributes: { name }, dtype, shape });
}

/** A weight that is compiled into the program under its name. `data` is borrowed, not copied. */
export function parameter(
  name: string,
  dtype: DType,
  shape: readonly number[],
  data: TensorData,
): Tensor {
  checkCount(name, shape, data);
  return createTensor({ op: 'parameter', inputs: [], attributes: { name }, dtype, shape, data });
}

/** A weight that stays in its file: row-major little-endian elements. */
export function fileParameter(
  name: string,
  dtype: DType,
  shape: readonly number[],
  range: FileRange,
): Tensor {
  const expected = shape.reduce((product, dim) => product * dim, ELEMENT_BYTES[dtype]);
  if (range.byteLength !== expected) {
    throw new ShapeError(
      `${name} takes ${range.byteLength} bytes of ${range.file}; ${dtype} [${shape.join(', ')}] needs ${expected}.`,
    );
  }
  return createTensor({ op: 'parameter', inputs: [], attributes: { name }, dtype, shape, range });
}

/** A fixed value written into the graph. */
export function constant(data: TensorData, shape: readonly number[], dtype: DType = 'f32'): Tensor {
  checkCount('constant', shape, data);
  return createTensor({ op: 'constant', inputs: [], attributes: {}, dtype, shape, data });
}

/** A single f32 number, broadcast wherever it is used. */
export function scalar(value: number): Tensor {
  return constant(Float32Array.of(value), []);
}

/** A single i32 number. */
export function intScalar(value: number): Tensor {
  return constant(Int32Array.of(value), [], 'i32');
}

function checkCount(name: string, shape: readonly number[], data: TensorData): void {
  const expected = shape.reduce((product, dim) => product * dim, 1);
  if (data.length !== expected) {
    throw new ShapeError(
      `${name} has ${data.length} elements but shape [${shape.join(', ')}] needs ${expected}.`,
    );
  }
}

/** The sizes of a tensor whose shape holds no named size. @throws ShapeError otherwise. */
export function staticShape(tensor: Tensor): readonly number[] {
  return tensor.shape.map((dim) => {
    if (typeof dim === 'number') return dim;
    throw new ShapeError(
      `${tensor.op} has shape ${showShape(tensor.shape)}; this operation needs every size to be a number.`,
    );
  });
}

export function showShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

/** Index of an axis that may be counted from the end (-1 = last). */
export function resolveAxis(axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || resolved < 0 || resolved >= rank) {
    throw new ShapeError(`axis ${axis} is outside a tensor of rank ${rank}.`);
  }
  return resolved;
}

/** Shape of an elementwise operation on two shapes (NumPy broadcasting). */
export function broadcastShapes(a: Shape, b: Shape, what: string): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    throw new ShapeError(`${what}: shapes ${showShape(a)} and ${showShape(b)} do not broadcast.`);
  });
}

/** Sum of two sizes; a named size gives a name such as `S+N`. */
export function addDims(a: Dim, b: Dim): Dim {
  if (a === 0) return b;
  if (b === 0) return a;
  return typeof a === 'number' && typeof b === 'number' ? a + b : `${a}+${b}`;
}
