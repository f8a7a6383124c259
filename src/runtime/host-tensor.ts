/**
 * Facts about tensors held in typed arrays: which array holds which element type, how many
 * elements a shape has, and the check that the two fit.
 */
import { CapacityError, ShapeError } from '../errors.js';
import type { DType, TensorData } from '../graph/index.js';
import { bytesOf } from '../util/bytes-of.js';
import type { HostTensor } from './device.js';

const ARRAY_OF = {
  f32: Float32Array,
  f16: Uint16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  i8: Int8Array,
  bool: Uint8Array,
} as const satisfies Record<DType, unknown>;

/** `f32 [2, 3]` */
export function showTensor(dtype: DType, dims: readonly (number | string)[]): string {
  return `${dtype} [${dims.join(', ')}]`;
}

/**
 * A zero-filled array for a tensor.
 *
 * @throws ShapeError if a size is not a natural number
 * @throws CapacityError if memory does not suffice
 */
export function zeros(dtype: DType, dims: readonly number[]): TensorData {
  if (!dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) {
    throw new ShapeError(
      `a buffer of ${showTensor(dtype, dims)} was asked for; sizes are whole numbers from 0. Pass the size in elements.`,
    );
  }
  const Elements = ARRAY_OF[dtype];
  const count = numElements(dims);
  try {
    return new Elements(count);
  } catch (cause) {
    throw new CapacityError(
      `a buffer of ${showTensor(dtype, dims)} needs ${count * Elements.BYTES_PER_ELEMENT} bytes, more than can be allocated. Use a smaller batch or context.`,
      { cause },
    );
  }
}

/** @throws ShapeError if the array is of another kind or length than the shape needs */
export function checkHostTensor(what: string, { dtype, dims, data }: HostTensor): void {
  const Elements = ARRAY_OF[dtype];
  if (!(data instanceof Elements)) {
    throw new ShapeError(
      `${what} holds a ${data.constructor.name} as ${dtype}; ${dtype} is held in a ${Elements.name}. Convert it.`,
    );
  }
  if (data.length !== numElements(dims)) {
    throw new ShapeError(
      `${what} has ${data.length} elements; [${dims.join(', ')}] needs ${numElements(dims)}. Pass exactly that many.`,
    );
  }
}

/**
 * The same tensor in an array, and memory, of its own.
 *
 * @throws ShapeError as `checkHostTensor`
 */
export function ownCopy(what: string, tensor: HostTensor): HostTensor {
  checkHostTensor(what, tensor);
  const data = zeros(tensor.dtype, tensor.dims);
  bytesOf(data).set(bytesOf(tensor.data));
  return { dtype: tensor.dtype, dims: tensor.dims, data };
}

export function numElements(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}
