/**
 * The reference for every operation of src/graph: evaluates tensors in float64, one element at a
 * time, straight from the definitions. Slow on purpose; it knows nothing of ONNX or of gradients.
 *
 * An operation is a function of an output index. Reading a value is right-aligned and clamps axes
 * of size 1, so broadcasting needs no code of its own.
 */
import type { Dim, Graph, Tensor } from 'looplm/graph';
import { decodeFloat16 } from '../../src/util/half-float.js';

/** Numbers of any element type (bools are 0 and 1), row-major. */
export interface Value {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

type Index = readonly number[];
type Rule = (node: Tensor, inputs: readonly Value[], dims: readonly number[]) => Value;

export function value(dims: readonly number[], data: ArrayLike<number>): Value {
  return { dims, data: Float64Array.from(data) };
}

/** All outputs of a graph. @param feeds - by input name; they also bind the named sizes */
export function evaluateGraph(
  graph: Graph,
  feeds: Readonly<Record<string, Value>>,
): Readonly<Record<string, Value>> {
  const names = Object.keys(graph.outputs);
  const values = evaluate(Object.values(graph.outputs), feeds);
  return Object.fromEntries(names.map((name, index) => [name, values[index]!]));
}

/** The values of some tensors, each computed once. */
export function evaluate(
  tensors: readonly Tensor[],
  feeds: Readonly<Record<string, Value>>,
): readonly Value[] {
  const known = new Map<Tensor, Value>();
  const sizes = new Map<string, number>();
  const order = topological(tensors);
  for (const node of order) if (node.op === 'input') bindInput(node, feeds, sizes);
  for (const node of order) {
    const inputs = node.inputs.map((x) => known.get(x)!);
    const dims = node.shape.map((dim) => resolve(dim, sizes));
    known.set(node, compute(node, inputs, dims, feeds));
  }
  return tensors.map((tensor) => known.get(tensor)!);
}

function compute(
  node: Tensor,
  inputs: readonly Value[],
  dims: readonly number[],
  feeds: Readonly<Record<string, Value>>,
): Value {
  if (node.op === 'input') return feeds[node.attributes['name'] as string]!;
  if (node.op === 'constant' || node.op === 'parameter') return value(dims, elements(node));
  const rule = RULES[node.op];
  if (!rule) throw new Error(`the interpreter has no rule for op ${node.op}`);
  const result = rule(node, inputs, dims);
  // Integers have no -0.
  return isFloat(node) ? result : { dims, data: result.data.map((x) => x + 0) };
}

function topological(roots: readonly Tensor[]): readonly Tensor[] {
  const done = new Set<Tensor>();
  const open = [...roots];
  while (open.length > 0) {
    const node = open.at(-1)!;
    const missing = done.has(node) ? [] : node.inputs.filter((x) => !done.has(x));
    if (missing.length > 0) open.push(...missing);
    else done.add(open.pop()!);
  }
  return [...done];
}

function bindInput(
  node: Tensor,
  feeds: Readonly<Record<string, Value>>,
  sizes: Map<string, number>,
): void {
  const name = node.attributes['name'] as string;
  const feed = feeds[name];
  if (!feed) throw new Error(`input ${name} is not fed`);
  if (feed.dims.length !== node.shape.length) throw new Error(`input ${name} has another rank`);
  node.shape.forEach((dim, axis) => {
    const size = feed.dims[axis]!;
    const expected = typeof dim === 'number' ? dim : (sizes.get(dim) ?? size);
    if (size !== expected) {
      throw new Error(`input ${name}: axis ${axis} is ${size}, not ${expected}`);
    }
    if (typeof dim === 'string') sizes.set(dim, size);
  });
}

/** A named size; `S+2` is the sum of its parts. */
function resolve(dim: Dim, sizes: ReadonlyMap<string, number>): number {
  if (typeof dim === 'number') return dim;
  return dim.split('+').reduce((sum, part) => {
    const size = /^\d+$/.test(part) ? Number(part) : sizes.get(part);
    if (size === undefined) throw new Error(`size ${part} is not bound by any input`);
    return sum + size;
  }, 0);
}

function elements({ dtype, data }: Tensor): ArrayLike<number> {
  return dtype === 'f16' ? decodeFloat16(data as Uint16Array) : Array.from(data!, Number);
}

const count = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1);

function fill(dims: readonly number[], element: (index: Index) => number): Value {
  const index = new Array<number>(dims.length).fill(0);
  const data = new Float64Array(count(dims));
  for (let flat = 0; flat < data.length; flat++) {
    data[flat] = element(index);
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < dims[axis]!) break;
      index[axis] = 0;
    }
  }
  return { dims, data };
}

function at({ dims, data }: Value, index: Index): number {
  const lead = index.length - dims.length;
  let flat = 0;
  dims.forEach((size, axis) => {
    const position = size === 1 ? 0 : index[axis + lead]!;
    flat = flat * size + position;
  });
  return data[flat]!;
}

function replaced(index: Index, axis: number, position: number): Index {
  return index.map((old, other) => (other === axis ? position : old));
}

/** Sum of `term` over all indices of a box. */
function total(dims: readonly number[], term: (index: Index) => number): number {
  return fill(dims, term).data.reduce((sum, x) => sum + x, 0);
}

const unary =
  (f: (x: number) => number): Rule =>
  (_, [x], dims) =>
    fill(dims, (index) => f(at(x!, index)));

const binary =
  (f: (a: number, b: number, node: Tensor) => number): Rule =>
  (node, [a, b], dims) =>
    fill(dims, (index) => f(at(a!, index), at(b!, index), node));

const isFloat = (node: Tensor): boolean => node.dtype === 'f32' || node.dtype === 'f16';
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const same: Rule = (_, [x]) => x!;

function row(x: Value, index: Index): Float64Array {
  const width = x.dims.at(-1)!;
  return Float64Array.from({ length: width }, (_, j) => at(x, [...index, j]));
}

function logSumExp(xs: Float64Array): number {
  const top = Math.max(...xs);
  return top + Math.log(xs.reduce((sum, x) => sum + Math.exp(x - top), 0));
}

const logSoftmaxAt = (x: Value, index: Index): number =>
  at(x, index) - logSumExp(row(x, index.slice(0, -1)));

function convert(x: number, to: string): number {
  if (to === 'bool') return x === 0 ? 0 : 1;
  return to === 'f32' || to === 'f16' ? x : Math.trunc(x);
}

const matmul: Rule = (node, [a, b], dims) => {
  const { transposeA, transposeB, alpha } = node.attributes;
  const inner = a!.dims.at(transposeA ? -2 : -1)!;
  return fill(dims, (index) => {
    const batch = index.slice(0, -2);
    const [i, j] = index.slice(-2) as [number, number];
    const left = (k: number) => at(a!, [...batch, ...(transposeA ? [k, i] : [i, k])]);
    const right = (k: number) => at(b!, [...batch, ...(transposeB ? [j, k] : [k, j])]);
    return (alpha as number) * total([inner], ([k]) => left(k!) * right(k!));
  });
};

const blockLinear: Rule = (node, [x, weight, scales], dims) => {
  const { bits, blockSize } = node.attributes as { bits: number; blockSize: number };
  const perByte = 8 / bits;
  return fill(dims, ([n, o]) =>
    total(x!.dims.slice(1), ([i]) => {
      const [block, inBlock] = [Math.floor(i! / blockSize), i! % blockSize];
      const byte = at(weight!, [o!, block, Math.floor(inBlock / perByte)]);
      const integer = (byte >> (bits * (inBlock % perByte))) % 2 ** bits;
      const w = (integer - 2 ** (bits - 1)) * at(scales!, [o!, block]);
      return at(x!, [n!, i!]) * w;
    }),
  );
};

const storedProduct: Rule = (node, [x, ...tensors], dims) => {
  const { bits, blockSize, columns, transposed } = node.attributes as {
    bits: number;
    blockSize: number;
    columns: number;
    transposed: boolean;
  };
  const perByte = 8 / bits;
  const rows: ((column: number) => number)[] = [];
  for (let piece = 0; piece < tensors.length; piece += bits === 0 ? 1 : 2) {
    const [values, scales] = [tensors[piece]!, tensors[piece + 1]];
    for (let inPiece = 0; inPiece < values.dims[0]!; inPiece++) {
      rows.push((column) => {
        if (bits === 0) return at(values, [inPiece, column]);
        const [block, inBlock] = [Math.floor(column / blockSize), column % blockSize];
        const byte = at(values, [inPiece, block, Math.floor(inBlock / perByte)]);
        const integer = (byte >> (bits * (inBlock % perByte))) % 2 ** bits;
        return (integer - 2 ** (bits - 1)) * at(scales!, [inPiece, block]);
      });
    }
  }
  return fill(dims, ([n, to]) =>
    total([transposed ? rows.length : columns], ([k]) => {
      const w = transposed ? rows[k!]!(to!) : rows[to!]!(k!);
      return at(x!, [n!, k!]) * w;
    }),
  );
};

const reduceSum: Rule = (node, [x], dims) => {
  const { axes, keepDims } = node.attributes as { axes: readonly number[]; keepDims: boolean };
  return fill(dims, (index) => {
    const rest = [...index];
    const kept = x!.dims.map((_, axis) => {
      const reduced = axes.includes(axis);
      const next = reduced && !keepDims ? 0 : rest.shift()!;
      return reduced ? 0 : next;
    });
    const box = x!.dims.map((size, axis) => (axes.includes(axis) ? size : 1));
    return total(box, (offset) =>
      at(
        x!,
        kept.map((position, axis) => position + offset[axis]!),
      ),
    );
  });
};

const concat: Rule = (node, inputs, dims) => {
  const axis = node.attributes['axis'] as number;
  return fill(dims, (index) => {
    let position = index[axis]!;
    for (const part of inputs) {
      if (position < part.dims[axis]!) return at(part, replaced(index, axis, position));
      position -= part.dims[axis]!;
    }
    throw new Error('concat: the parts are shorter than the result');
  });
};

const slice: Rule = (node, [x], dims) => {
  const { axis, start } = node.attributes as { axis: number; start: number };
  return fill(dims, (index) => at(x!, replaced(index, axis, index[axis]! + start)));
};

const pad: Rule = (node, [x], dims) => {
  const { axis, before } = node.attributes as { axis: number; before: number };
  return fill(dims, (index) => {
    const position = index[axis]! - before;
    const inside = position >= 0 && position < x!.dims[axis]!;
    return inside ? at(x!, replaced(index, axis, position)) : 0;
  });
};

const addRows: Rule = (_, [indices, rows], dims) => {
  const result = value(dims, new Float64Array(count(dims)));
  const width = count(dims.slice(1));
  indices!.data.forEach((target, source) => {
    for (let j = 0; j < width; j++) {
      result.data[target * width + j]! += rows!.data[source * width + j]!;
    }
  });
  return result;
};

const inverseRms: Rule = (node, [x], dims) =>
  fill(dims, (index) => {
    const squares = row(x!, index.slice(0, -1)).map((v) => v * v);
    const mean = squares.reduce((sum, v) => sum + v, 0) / squares.length;
    return 1 / Math.sqrt(mean + (node.attributes['epsilon'] as number));
  });

const rmsNorm: Rule = (node, [x, weight], dims) => {
  const inverse = inverseRms(node, [x!], [...dims.slice(0, -1), 1]);
  return fill(dims, (index) => at(weight!, index.slice(-1)) * at(x!, index) * at(inverse, index));
};

const rope: Rule = (_, [x, cos, sin], dims) => {
  const half = dims.at(-1)! / 2;
  return fill(dims, (index) => {
    const lead = index.slice(0, -1);
    const j = index.at(-1)!;
    const angle = [...lead, j % half];
    const partner = at(x!, [...lead, (j + half) % (2 * half)]);
    return at(x!, index) * at(cos!, angle) + (j < half ? -1 : 1) * partner * at(sin!, angle);
  });
};

const RULES: Readonly<Record<string, Rule>> = {
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b, node) => (isFloat(node) ? a / b : Math.trunc(a / b))),
  neg: unary((x) => -x),
  exp: unary(Math.exp),
  log: unary(Math.log),
  sqrt: unary(Math.sqrt),
  sigmoid: unary(sigmoid),
  softplus: unary((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  silu: unary((x) => x * sigmoid(x)),
  equal: binary((a, b) => Number(a === b)),
  less: binary((a, b) => Number(a < b)),
  greaterOrEqual: binary((a, b) => Number(a >= b)),
  and: binary((a, b) => a * b),
  where: (_, [condition, a, b], dims) =>
    fill(dims, (index) => (at(condition!, index) ? at(a!, index) : at(b!, index))),
  cast: (node, [x], dims) => fill(dims, (index) => convert(at(x!, index), node.dtype)),
  stopGradient: same,
  barrier: same,
  recompute: same,
  withGradient: same,
  reshape: (_, [x], dims) => ({ dims, data: x!.data }),
  transpose: (node, [x], dims) => {
    const order = node.attributes['permutation'] as readonly number[];
    return fill(dims, (index) =>
      at(
        x!,
        order.map((_, axis) => index[order.indexOf(axis)]!),
      ),
    );
  },
  expand: (_, [x], dims) => fill(dims, (index) => at(x!, index)),
  reduceSum,
  concat,
  slice,
  pad,
  matmul,
  blockLinear,
  storedProduct,
  gatherRows: (_, [table, indices], dims) =>
    fill(dims, (index) => {
      const rank = indices!.dims.length;
      return at(table!, [at(indices!, index.slice(0, rank)), ...index.slice(rank)]);
    }),
  addRows,
  pick: (_, [x, indices], dims) => fill(dims, (index) => at(x!, [...index, at(indices!, index)])),
  addAt: (_, [x, indices, values], dims) =>
    fill(dims, (index) => {
      const lead = index.slice(0, -1);
      const hit = at(indices!, lead) === index.at(-1);
      return at(x!, index) + (hit ? at(values!, lead) : 0);
    }),
  rowMax: (_, [x], dims) => fill(dims, (index) => Math.max(...row(x!, index))),
  softmax: (_, [x], dims) => fill(dims, (index) => Math.exp(logSoftmaxAt(x!, index))),
  logSoftmax: (_, [x], dims) => fill(dims, (index) => logSoftmaxAt(x!, index)),
  crossEntropy: (_, [logits, targets], dims) =>
    fill(dims, (index) => -logSoftmaxAt(logits!, [...index, at(targets!, index)])),
  sumSquares: (_, [x], dims) =>
    fill(dims, (index) => row(x!, index).reduce((sum, v) => sum + v * v, 0)),
  inverseRms,
  rmsNorm,
  rope,
};
