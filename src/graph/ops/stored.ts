/**
 * Products with a matrix that stays in the format it is stored in: f32, f16, or small integers in blocks
 * with a scale each. For weights that are not trained while gradients flow through them.
 *
 * The one idea: a few rows of the matrix at a time become float32, just before they are multiplied, so
 * there is never a float32 copy of more than those. What is to be widened next waits for the product
 * before; nothing of it is a constant that ONNX Runtime could widen in advance, or pack once for each
 * product. The gradient by `x` is the product with the transpose, by the same rows.
 * Source: com.microsoft.MatMulNBits for the layout of blocks; DequantizeLinear (ONNX opset 21).
 */
import { ShapeError } from '../../errors.js';
import { ONNX_ELEMENT_TYPE } from '../onnx/element-type.js';
import type { LoweringContext } from '../op.js';
import { defineOp } from '../op.js';
import type { Tensor } from '../tensor.js';
import { sameShape, showShape } from '../tensor.js';
import type { BlockOptions } from './quantized.js';

/** Some rows of a matrix: floats `[rows, in]`, or integers and scales as `blockLinear` takes them. */
export interface StoredRows {
  /** f32 or f16 `[rows, in]`, or u8 `[rows, numBlocks, blockSize * bits / 8]`. */
  readonly values: Tensor;
  /** `[rows, numBlocks]`, of integers. */
  readonly scales?: Tensor;
}

/** A matrix `[out, in]` in pieces. */
export interface StoredMatrix {
  readonly pieces: readonly StoredRows[];
  /** in */
  readonly columns: number;
  /** How integers are packed, if they are some. */
  readonly blocks?: BlockOptions;
}

const storedProductOp = defineOp({
  name: 'storedProduct',
  infer(inputs, attributes) {
    const [x, ...tensors] = inputs as [Tensor, ...Tensor[]];
    const { columns, transposed } = attributes as unknown as StoredAttributes;
    const pieces = piecesOf(tensors, attributes as unknown as StoredAttributes);
    for (const piece of pieces) checkPiece(piece, attributes as unknown as StoredAttributes);
    const outputs = pieces.reduce((sum, { values }) => sum + (values.shape[0] as number), 0);
    const [from, to] = transposed ? [outputs, columns] : [columns, outputs];
    if (x.dtype !== 'f32' || x.shape.length !== 2 || x.shape[1] !== from) {
      throw new ShapeError(
        `storedProduct: ${x.dtype} ${showShape(x.shape)} does not fit a matrix [${outputs}, ${columns}]${transposed ? ', transposed' : ''}.`,
      );
    }
    return { dtype: 'f32', shape: [x.shape[0]!, to] };
  },
  gradient(node, grad) {
    const [, ...tensors] = node.inputs;
    const { transposed, ...rest } = node.attributes;
    const byX = storedProductOp([grad, ...tensors], { ...rest, transposed: !transposed });
    return [byX, ...tensors.map(() => undefined)];
  },
  lower(node, [x, ...names], context) {
    const attributes = node.attributes as unknown as StoredAttributes;
    const { transposed } = attributes;
    const tensors = node.inputs.slice(1);
    const perPiece = attributes.bits === 0 ? 1 : 2;
    let start = 0;
    let last = x!;
    const products: string[] = [];
    for (let index = 0; index < tensors.length; index += perPiece) {
      const values = tensors[index]!;
      const piece = { values, names: names.slice(index, index + perPiece) };
      const end = start + (values.shape[0] as number);
      const rows = widened(piece, attributes, zeroAfter(last, context), context);
      const part = transposed
        ? context.emit('MatMul', [columnsOf(x!, start, end, context), rows])
        : context.emit('FusedMatMul', [x!, rows], { transA: 0, transB: 1 }, 'com.microsoft');
      start = end;
      last = transposed && products.length > 0 ? context.emit('Add', [last, part]) : part;
      products.push(last);
    }
    if (transposed || products.length === 1) return last;
    return context.emit('Concat', products, { axis: 1 });
  },
});

/**
 * `x @ W^T`, where W is widened to float32 a few rows at a time, each time it is needed.
 *
 * @param x - `[N, in]`
 * @returns `[N, out]`; its gradient by `x` is exact, there is none by W
 */
export function storedLinear(x: Tensor, { pieces, columns, blocks }: StoredMatrix): Tensor {
  const tensors = pieces.flatMap(({ values, scales }) => (scales ? [values, scales] : [values]));
  const packing = blocks ?? { bits: 0, blockSize: 0 };
  return storedProductOp([x, ...tensors], { ...packing, columns, transposed: false });
}

interface StoredAttributes {
  /** 0 for floats. */
  readonly bits: number;
  readonly blockSize: number;
  readonly columns: number;
  readonly transposed: boolean;
}

function piecesOf(tensors: readonly Tensor[], { bits }: StoredAttributes): readonly StoredRows[] {
  if (bits === 0) return tensors.map((values) => ({ values }));
  return tensors.flatMap((values, index) =>
    index % 2 === 0 ? [{ values, scales: tensors[index + 1]! }] : [],
  );
}

function checkPiece({ values, scales }: StoredRows, of: StoredAttributes): void {
  const { bits, blockSize, columns } = of;
  const [rows] = values.shape;
  const isFloat = values.dtype === 'f32' || values.dtype === 'f16';
  const numBlocks = Math.ceil(columns / blockSize);
  const fits = scales
    ? values.dtype === 'u8' &&
      sameShape(values.shape, [rows!, numBlocks, (blockSize * bits) / 8]) &&
      sameShape(scales.shape, [rows!, numBlocks])
    : isFloat && bits === 0 && sameShape(values.shape, [rows!, columns]);
  if (fits) return;
  throw new ShapeError(
    `storedProduct: rows ${values.dtype} ${showShape(values.shape)}${scales ? ` with scales ${showShape(scales.shape)}` : ''} do not fit ${columns} columns in ${bits} bits and blocks of ${blockSize}.`,
  );
}

/** `[1]`: zero, known only when a tensor has been computed (not a number if that is none). */
function zeroAfter(signal: string, context: LoweringContext): string {
  const flat = context.emit('Reshape', [signal, context.int64([-1])]);
  const [zero, one] = [context.int64([0]), context.int64([1])];
  return context.emit('Mul', [context.emit('Slice', [flat, zero, one, zero]), context.float(0)]);
}

/** Rows in float32, `[rows, in]`, when `zero` is there. */
function widened(
  piece: { readonly values: Tensor; readonly names: readonly string[] },
  { bits, blockSize, columns }: StoredAttributes,
  zero: string,
  context: LoweringContext,
): string {
  const { dtype, shape } = piece.values;
  const [rows, numBlocks] = shape as readonly [number, number];
  const [values, scales] = piece.names as [string, string];
  if (bits === 0) {
    const copy = lateCopy(values, rows, zero, context);
    return dtype === 'f32' ? copy : context.emit('Cast', [copy], { to: ONNX_ELEMENT_TYPE.f32 });
  }
  const scale = context.emit('Reshape', [scales, context.int64([rows, numBlocks, 1])]);
  const blocks =
    bits === 4
      ? context.emit('Mul', [halves(values, [rows, numBlocks, blockSize], zero, context), scale])
      : bytes(values, context.emit('Add', [scale, zero]), { rows, numBlocks, blockSize }, context);
  const padded = numBlocks * blockSize;
  const floats = context.emit('Reshape', [blocks, context.int64([rows, padded])]);
  return padded === columns ? floats : columnsOf(floats, 0, columns, context);
}

/** Bytes less their zero point, times the scales `[rows, numBlocks, 1]`. */
function bytes(
  values: string,
  scale: string,
  sizes: { readonly rows: number; readonly numBlocks: number; readonly blockSize: number },
  context: LoweringContext,
): string {
  const { rows, numBlocks, blockSize } = sizes;
  const zeroPoint = context.constant(`u8 128 [${rows}, ${numBlocks}, 1]`, {
    dtype: 'u8',
    shape: [rows, numBlocks, 1],
    data: new Uint8Array(rows * numBlocks).fill(128),
  });
  const attributes = { axis: 2, block_size: blockSize };
  return context.emit('DequantizeLinear', [values, scale, zeroPoint], attributes);
}

/**
 * Integers of 4 bits less their zero point, as floats: both of a byte come from a table. Measured five
 * times as fast as DequantizeLinear of 4 bits in ONNX Runtime 1.30.
 */
function halves(
  values: string,
  shape: readonly number[],
  zero: string,
  context: LoweringContext,
): string {
  const table = context.constant('halves of bytes', {
    dtype: 'f32',
    shape: [256, 2],
    data: Float32Array.from({ length: 512 }, (_, i) => (((i >> 1) >> (4 * (i & 1))) & 15) - 8),
  });
  const copy = lateCopy(values, shape[0]!, zero, context);
  const index = context.emit('Cast', [copy], { to: ONNX_ELEMENT_TYPE.i32 });
  const pairs = context.emit('Gather', [table, index], { axis: 0 });
  return context.emit('Reshape', [pairs, context.int64(shape)]);
}

/** The rows of a constant as a value that ONNX Runtime does not know in advance. */
function lateCopy(values: string, rows: number, zero: string, context: LoweringContext): string {
  // What is not a number is not above 1, either.
  const isAbove = context.emit('Greater', [zero, context.float(1)]);
  const start = context.emit('Cast', [isAbove], { to: ONNX_ELEMENT_TYPE.i64 });
  return context.emit('Slice', [values, start, context.int64([rows]), context.int64([0])]);
}

function columnsOf(x: string, start: number, end: number, context: LoweringContext): string {
  return context.emit('Slice', [
    x,
    context.int64([start]),
    context.int64([end]),
    context.int64([1]),
  ]);
}
