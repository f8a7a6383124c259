/**
 * Weights as a graph multiplies with them: floats, or small integers in blocks.
 *
 * Model code asks for a weight by its parameter and multiplies with `project`; where the numbers come
 * from (arrays in memory, a converted file, inputs of the program) and in which format they are is
 * decided here, once.
 * Source: formats of weight-format.ts.
 */
import { assert } from '../errors.js';
import type { FileRange, StoredMatrix, StoredRows, Tensor } from '../graph/index.js';
import {
  add,
  blockLinear,
  blockRowMultiple,
  cast,
  fileParameter,
  input,
  linear,
  matmul,
  parameter,
  slice,
  storedLinear,
} from '../graph/index.js';
import type { ModelWeights, ParameterSpec } from './params.js';
import { HEAD_NAME } from './params.js';
import type { ModelFormat, WeightFormat } from './weight-format.js';
import { scalesName } from './weight-format.js';

/** A matrix `[out, in]`, or a vector where the format is float. */
export type Weight = Tensor | BlockWeight | FrozenWeight | AdaptedWeight;

/** A matrix of integers in blocks, each with its scale. */
export interface BlockWeight {
  readonly packed: Tensor; // u8 [out, numBlocks, blockSize * bits / 8]
  readonly scales: Tensor; // [out, numBlocks]
  readonly bits: 4 | 8;
  readonly blockSize: number;
}

/** A matrix that stays in the format of its file while gradients flow through it. */
export interface FrozenWeight {
  readonly frozen: StoredMatrix;
}

/** A matrix W with an adapter beside it: W + scale * B A. */
export interface AdaptedWeight {
  readonly adapted: Weight;
  readonly a: Tensor; // [r, in]
  readonly b: Tensor; // [out, r]
  readonly scale: number;
}

type PlainWeight = Exclude<Weight, AdaptedWeight>;

/** What a graph is built from: constants, ranges of a file, or inputs. */
export interface WeightSource {
  /** The same weight each time it is asked; norms and the exit gate are float32 tensors. */
  leaf(spec: ParameterSpec): Weight;
  /** The embedding `[V, D]` as it is stored, f32 or f16: rows are widened after they are picked. */
  table(spec: ParameterSpec): Tensor;
  /** Folder of the files that the tensors name, if they do. */
  readonly folder?: string;
  /**
   * A row's products have the same bits in any company if the number of rows is a multiple of this:
   * batches are padded to it. Default 1.
   */
  readonly rowMultiple?: 1 | 2;
}

/** A weight whose format is float. */
export function floatWeight(weight: Weight): Tensor {
  assert('op' in weight, 'norms, gates and trained weights are float');
  return weight;
}

/**
 * `x @ W^T` for several weights that read the same input. Quantised weights that lie one behind the
 * other in their file are multiplied as one matrix.
 *
 * @param x - `[N, in]`
 * @returns `[N, out]` each
 */
export function project(x: Tensor, weights: readonly Weight[]): readonly Tensor[] {
  if (weights.some((weight) => 'adapted' in weight)) return projectAdapted(x, weights);
  const joined = weights.length > 1 ? joinBlocks(weights) : undefined;
  if (!joined) return weights.map((weight) => times(x, weight as PlainWeight));
  const all = times(x, joined);
  let end = 0;
  return weights.map((weight) => {
    const start = end;
    end += (weight as BlockWeight).packed.shape[0] as number;
    return slice(all, 1, start, end);
  });
}

function projectAdapted(x: Tensor, weights: readonly Weight[]): readonly Tensor[] {
  const products = project(
    x,
    weights.map((weight) => ('adapted' in weight ? weight.adapted : weight)),
  );
  return weights.map((weight, index) => {
    const product = products[index]!;
    if (!('adapted' in weight)) return product;
    const { a, b, scale } = weight;
    return add(product, linear(matmul(x, a, { transposeB: true, alpha: scale }), b));
  });
}

function times(x: Tensor, weight: PlainWeight): Tensor {
  if ('op' in weight) return linear(x, weight);
  if ('frozen' in weight) return storedLinear(x, weight.frozen);
  const { packed, scales, bits, blockSize } = weight;
  return blockLinear(x, packed, scales, { bits, blockSize });
}

/** One weight over the outputs of all; undefined where they are not one piece of a file. */
function joinBlocks(weights: readonly Weight[]): BlockWeight | undefined {
  const blocks = weights.filter((weight) => 'packed' in weight);
  if (blocks.length < weights.length) return undefined;
  const packed = joinRows(blocks.map((weight) => weight.packed));
  const scales = joinRows(blocks.map((weight) => weight.scales));
  const [first] = blocks;
  return first && packed && scales && { ...first, packed, scales };
}

function joinRows(parts: readonly Tensor[]): Tensor | undefined {
  const ranges = parts.map(({ range }) => range);
  let byteLength = 0;
  for (const range of ranges) {
    const follows =
      range?.file === ranges[0]!.file && range.offset === ranges[0]!.offset + byteLength;
    if (!follows) return undefined;
    byteLength += range.byteLength;
  }
  const first = parts[0]!;
  const rows = parts.reduce((sum, { shape }) => sum + (shape[0] as number), 0);
  const shape = [rows, ...first.shape.slice(1)] as readonly number[];
  const name = parts.map(({ attributes }) => attributes['name'] as string).join('+');
  return fileParameter(name, first.dtype, shape, { ...ranges[0]!, byteLength });
}

/** Float32 weights in memory, compiled into the programs; others are returned as they are. */
export function weightSource(weights: ModelWeights | WeightSource): WeightSource {
  if ('leaf' in weights) return weights;
  const leaf = once(({ hfName, shape }) => parameter(hfName, 'f32', shape, weights.get(hfName)!));
  return { leaf, table: leaf };
}

/**
 * Float32 weights that a program gets when it runs, as inputs with their names. ONNX Runtime cannot
 * pack them in advance, and multiplies a single row with another kernel than more rows.
 */
export function inputWeights(): WeightSource {
  const leaf = once(({ hfName, shape }) => input(hfName, 'f32', shape));
  return { leaf, table: leaf, rowMultiple: 2 };
}

/** Where each tensor of a converted model lies, by its name in the file. */
export interface WeightFile {
  /** Absolute, without symbolic links. */
  readonly folder: string;
  readonly format: ModelFormat;
  readonly tensors: ReadonlyMap<
    string,
    { readonly dtype: string; readonly shape: readonly number[]; readonly range: FileRange }
  >;
}

/** Weights that stay in the file of a converted model. */
export function fileWeights({ folder, format, tensors }: WeightFile): WeightSource {
  const stored = (name: string): Tensor => {
    const { dtype, shape, range } = tensors.get(name)!;
    return fileParameter(name, DTYPES[dtype as keyof typeof DTYPES], shape, range);
  };
  const leaf = once((spec): Weight => {
    // Multiplied with, an embedding is a tied head: that has a copy of its own in its own format.
    const hfName = spec.kind === 'embedding' ? HEAD_NAME : spec.hfName;
    const chosen = spec.kind === 'embedding' ? format.head : formatOf(spec, format);
    if (chosen.kind === 'blocks') {
      const { bits, blockSize } = chosen;
      return { packed: stored(hfName), scales: stored(scalesName(hfName)), bits, blockSize };
    }
    const tensor = stored(hfName);
    return tensor.dtype === 'f16' ? cast(tensor, 'f32') : tensor;
  });
  const multiples = [format.body, format.head].map((part) =>
    part.kind === 'blocks' ? blockRowMultiple(part) : 1,
  );
  const rowMultiple = multiples.includes(2) ? 2 : 1;
  return { leaf, table: ({ hfName }) => stored(hfName), folder, rowMultiple };
}

/** Elements of a matrix that become float32 at a time: 8 MiB. */
const WIDENED_ELEMENTS = 2 ** 21;

/**
 * The weights of a converted model for graphs through which gradients flow: matrices are multiplied a few
 * rows at a time, so that no more of them than that is ever float32.
 */
export function frozenWeights(file: WeightFile): WeightSource {
  const floats = fileWeights(file);
  const leaf = once((spec): Weight => {
    if (spec.kind === 'norm' || spec.kind.startsWith('gate')) return floats.leaf(spec);
    const hfName = spec.kind === 'embedding' ? HEAD_NAME : spec.hfName;
    const format = spec.kind === 'embedding' ? file.format.head : formatOf(spec, file.format);
    const columns = spec.shape[1]!;
    const step = Math.max(1, Math.floor(WIDENED_ELEMENTS / columns));
    const pieces: StoredRows[] = [];
    for (let start = 0; start < spec.shape[0]!; start += step) {
      const rows = (name: string) => rowsOf(file, name, start, start + step);
      pieces.push({
        values: rows(hfName),
        ...(format.kind === 'blocks' && { scales: rows(scalesName(hfName)) }),
      });
    }
    return { frozen: { pieces, columns, ...(format.kind === 'blocks' && { blocks: format }) } };
  });
  return { ...floats, leaf };
}

/** Some rows of a tensor of a file, which lie there one behind the other. */
function rowsOf({ tensors }: WeightFile, name: string, start: number, end: number): Tensor {
  const { dtype, shape, range } = tensors.get(name)!;
  const [numRows, ...rest] = shape as readonly [number, ...number[]];
  const rowBytes = range.byteLength / numRows;
  const rows = Math.min(end, numRows) - start;
  return fileParameter(
    `${name}[${start}:${start + rows}]`,
    DTYPES[dtype as keyof typeof DTYPES],
    [rows, ...rest],
    { ...range, offset: range.offset + start * rowBytes, byteLength: rows * rowBytes },
  );
}

const DTYPES = { F32: 'f32', F16: 'f16', U8: 'u8' } as const;

/** The format that a converted model stores a parameter in. */
export function formatOf({ kind }: ParameterSpec, format: ModelFormat): WeightFormat {
  switch (kind) {
    case 'matrix':
      return format.body;
    case 'head':
      return format.head;
    case 'embedding':
      return format.embedding;
    case 'norm':
    case 'gateWeight':
    case 'gateBias':
      return { kind: 'float', dtype: 'f32' };
    default:
      return kind satisfies never;
  }
}

/** Makes a value for each parameter once. */
export function once<T>(make: (spec: ParameterSpec) => T): (spec: ParameterSpec) => T {
  const known = new Map<string, T>();
  return (spec) => {
    const value = known.get(spec.hfName) ?? make(spec);
    known.set(spec.hfName, value);
    return value;
  };
}
