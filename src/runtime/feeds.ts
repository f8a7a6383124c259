/**
 * Checks what is fed to a program against the inputs that it declares.
 *
 * A named size, such as `N`, is bound by the first input that has it and must be the same in all
 * others; ONNX Runtime would not notice, and compute nonsense or fail far from the mistake.
 */
import { ShapeError } from '../errors.js';
import type { DType, Shape } from '../graph/index.js';
import { showTensor } from './host-tensor.js';

/** An input as the program declares it. */
export interface InputSpec {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Type and shape of something fed. */
export interface Fed {
  readonly dtype: DType;
  readonly dims: readonly number[];
}

/** @throws ShapeError for a missing or unknown input and for a type or size that does not fit */
export function checkFeeds(
  program: string,
  inputs: readonly InputSpec[],
  feeds: Readonly<Record<string, Fed>>,
): void {
  const bound = new Map<string, { readonly size: number; readonly by: string }>();
  for (const spec of inputs) {
    const fed = feeds[spec.name];
    if (!fed) {
      throw new ShapeError(
        `${program} was not fed "${spec.name}"; it takes ${listInputs(inputs)}. Feed all of them.`,
      );
    }
    checkFeed(program, spec, fed, bound);
  }
  const names = Object.keys(feeds);
  if (names.length === inputs.length) return;
  const unknown = names.find((name) => inputs.every((spec) => spec.name !== name));
  throw new ShapeError(
    `${program} was fed "${unknown}"; it takes ${listInputs(inputs)}. Feed only these.`,
  );
}

function checkFeed(
  program: string,
  { name, dtype, shape }: InputSpec,
  fed: Fed,
  bound: Map<string, { readonly size: number; readonly by: string }>,
): void {
  const fail = (why: string): never => {
    throw new ShapeError(
      `${program} was fed "${name}" as ${showTensor(fed.dtype, fed.dims)}; it takes ${showTensor(dtype, shape)}${why}. Feed that shape.`,
    );
  };
  if (fed.dtype !== dtype || fed.dims.length !== shape.length) fail('');
  for (const [axis, dim] of shape.entries()) {
    const size = fed.dims[axis]!;
    if (typeof dim === 'number') {
      if (size !== dim) fail('');
      continue;
    }
    const earlier = bound.get(dim);
    if (!earlier) bound.set(dim, { size, by: name });
    else if (earlier.size !== size) {
      fail(
        `, and ${dim} is ${earlier.size} by ${earlier.by === name ? 'an earlier axis' : `"${earlier.by}"`}`,
      );
    }
  }
}

function listInputs(inputs: readonly InputSpec[]): string {
  return inputs.map(({ name }) => `"${name}"`).join(', ') || 'no input';
}
