/**
 * Tensors in line, as one long vector that is computed a stretch at a time.
 *
 * A large tensor is cut, and its stretches are views; small ones share a stretch, into which they are copied, since
 * starting a program takes longer than that.
 */
import { ShapeError } from '../errors.js';
import type { TensorData } from '../graph/index.js';
import type { HostTensor } from './device.js';
import { numElements, zeros } from './host-tensor.js';

/** What an elementwise program reads or writes under a name. */
export interface Line {
  readonly name: string;
  readonly tensors: readonly HostTensor[];
}

/**
 * Elements of a stretch, at most: few enough for the processor's cache, and many enough that starting a program
 * does not count.
 */
const STRETCH = 2 ** 18;

/** Some elements of the tensor at a place in the line. */
interface Part {
  readonly index: number;
  readonly start: number;
  readonly end: number;
}

export interface Stretch {
  readonly parts: readonly Part[];
  readonly size: number;
}

/** Elements of each tensor. @throws ShapeError unless all lines have tensors of one type and of the same sizes */
export function lineSizes(label: string, lines: readonly Line[]): readonly number[] {
  const all = lines.map(({ name, tensors }) => ({
    name,
    sizes: tensors.map(({ dims }) => numElements(dims)),
  }));
  const [first, ...others] = all;
  if (!first || first.sizes.length === 0) {
    throw new ShapeError(`${label} was run elementwise over no tensors. Pass at least one.`);
  }
  const other = others.find(({ sizes }) => sizes.join() !== first.sizes.join());
  if (other) {
    throw new ShapeError(
      `${label} was run elementwise with "${first.name}" of ${showSizes(first.sizes)} elements and "${other.name}" of ${showSizes(other.sizes)}. Pass as many tensors of the same sizes.`,
    );
  }
  for (const { name, tensors } of lines) {
    const types = [...new Set(tensors.map(({ dtype }) => dtype))];
    if (types.length === 1) continue;
    throw new ShapeError(
      `${label} was run elementwise with "${name}" of ${types.join(' and ')}. Pass tensors of one type.`,
    );
  }
  return first.sizes;
}

/** At most some of them. */
const showSizes = (sizes: readonly number[]): string =>
  sizes.slice(0, 4).join(', ') + (sizes.length > 4 ? ', ...' : '');

/** The type and size of all together. */
export function asVector(tensors: readonly HostTensor[]) {
  const size = tensors.reduce((sum, { data }) => sum + data.length, 0);
  return { dtype: tensors[0]!.dtype, dims: [size] };
}

/** @param sizes - elements of each tensor of a line */
export function stretchesOf(sizes: readonly number[]): readonly Stretch[] {
  const stretches: Stretch[] = [];
  let parts: Part[] = [];
  let size = 0;
  const end = () => {
    if (size > 0) stretches.push({ parts, size });
    [parts, size] = [[], 0];
  };
  sizes.forEach((total, index) => {
    if (size + total > STRETCH) end();
    for (let start = 0; start < total; start += STRETCH) {
      const part = { index, start, end: Math.min(total, start + STRETCH) };
      parts.push(part);
      size += part.end - part.start;
      if (total > STRETCH) end();
    }
  });
  end();
  return stretches;
}

/** The elements of a stretch; a view where they are of one tensor. */
export function elementsIn(tensors: readonly HostTensor[], { parts, size }: Stretch): HostTensor {
  const { dtype } = tensors[0]!;
  const dims = [size];
  const viewOf = ({ index, start, end }: Part) => tensors[index]!.data.subarray(start, end);
  if (parts.length === 1) return { dtype, dims, data: viewOf(parts[0]!) };
  const data = zeros(dtype, dims);
  let at = 0;
  for (const part of parts) {
    data.set(viewOf(part) as never, at);
    at += part.end - part.start;
  }
  return { dtype, dims, data };
}

/** Writes `elements` over those of a stretch. */
export function writeInto(
  tensors: readonly HostTensor[],
  { parts }: Stretch,
  elements: TensorData,
): void {
  let at = 0;
  for (const { index, start, end } of parts) {
    tensors[index]!.data.set(elements.subarray(at, at + end - start) as never, start);
    at += end - start;
  }
}
