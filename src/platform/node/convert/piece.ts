/**
 * One piece of a conversion: consecutive rows of one tensor from the checkpoint to their place in the
 * converted file. Runs in worker threads.
 *
 * A piece knows from where to where and in which format, and nothing of the model around it.
 */
import { createHash } from 'node:crypto';
import { CheckpointError } from '../../../errors.js';
import type {
  BlockFormat,
  QuantizationMethod,
  SquaredError,
  WeightDtype,
} from '../../../model/index.js';
import { dequantizeBlocks, quantizeBlocks, squaredError } from '../../../model/index.js';
import { bytesOf } from '../../../util/bytes-of.js';
import { decodeBfloat16, decodeFloat16, encodeFloat16 } from '../../../util/half-float.js';
import { readAt, writeAt } from '../files/index.js';

/** What all pieces of a conversion share. */
export interface PieceContext {
  /** The file that is written, at its full length. */
  readonly path: string;
  readonly method: QuantizationMethod;
  /** For matrices by name, the mean squares of their inputs. */
  readonly importance: ReadonlyMap<string, Float32Array>;
}

/** Rows of one tensor. */
export interface Piece {
  /** Its number in the plan. */
  readonly index: number;
  /** Of the parameter in the converted model. */
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly source: {
    readonly path: string;
    readonly dtype: WeightDtype;
    readonly byteOffset: number;
  };
  readonly target: FloatTarget | BlockTarget;
  /** What an earlier run noted; the piece is done if the file still holds it. */
  readonly known?: PieceResult;
}

interface FloatTarget {
  readonly dtype: 'f32' | 'f16';
  readonly byteOffset: number;
  readonly byteLength: number;
}

interface BlockTarget {
  readonly format: BlockFormat;
  readonly packed: ByteRange;
  readonly scales: ByteRange;
}

interface ByteRange {
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** What is noted of a piece. */
export interface PieceResult extends SquaredError {
  /** Of its bytes in the converted file. */
  readonly sha256: string;
}

/** A function that converts pieces. @throws CheckpointError or FileError, as the function does. */
export function pieceConverter(context: PieceContext): (piece: Piece) => PieceResult {
  return (piece) => {
    if (piece.known && hashStored(context.path, piece) === piece.known.sha256) return piece.known;
    const values = readValues(piece);
    const { parts, approximation } = encode(values, piece, context);
    const ranges = rangesOf(piece);
    parts.forEach((part, i) => writeAt(context.path, ranges[i]!.byteOffset, part));
    return { sha256: hash(parts), ...squaredError(values, approximation) };
  };
}

function rangesOf({ target }: Piece): readonly ByteRange[] {
  return 'format' in target ? [target.packed, target.scales] : [target];
}

function hashStored(path: string, piece: Piece): string {
  return hash(rangesOf(piece).map((range) => readAt(path, range.byteOffset, range.byteLength)));
}

function hash(parts: readonly Uint8Array[]): string {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest('hex');
}

const DECODE = {
  f32: (bytes: ArrayBuffer) => new Float32Array(bytes),
  f16: (bytes: ArrayBuffer) => decodeFloat16(new Uint16Array(bytes)),
  bf16: (bytes: ArrayBuffer) => decodeBfloat16(new Uint16Array(bytes)),
} as const;

function readValues({ name, rows, columns, source }: Piece): Float32Array {
  const { path, dtype, byteOffset } = source;
  const bytes = readAt(path, byteOffset, rows * columns * (dtype === 'f32' ? 4 : 2));
  const values = DECODE[dtype](bytes.buffer);
  const bad = firstNotFinite(values);
  if (bad === undefined) return values;
  throw new CheckpointError(
    `${path}: ${name} holds ${values[bad]}; weights must be finite. Use a checkpoint from before the damage.`,
  );
}

interface Encoded {
  /** As they are stored, one for each range. */
  readonly parts: readonly Uint8Array[];
  /** What they stand for. */
  readonly approximation: Float32Array;
}

function encode(values: Float32Array, piece: Piece, context: PieceContext): Encoded {
  const { name, rows: outputs, columns: inputs, target } = piece;
  if (!('format' in target)) return encodeFloat(values, target.dtype, name);
  const shape = { outputs, inputs, format: target.format };
  const importance = context.importance.get(name);
  const { method } = context;
  const blocks = quantizeBlocks(values, { ...shape, method, ...(importance && { importance }) });
  return {
    parts: [blocks.packed, bytesOf(blocks.scales)],
    approximation: dequantizeBlocks(blocks, shape),
  };
}

function encodeFloat(values: Float32Array, dtype: 'f32' | 'f16', name: string): Encoded {
  if (dtype === 'f32') return { parts: [bytesOf(values)], approximation: values };
  const bits = encodeFloat16(values);
  const approximation = decodeFloat16(bits);
  const bad = firstNotFinite(approximation);
  if (bad === undefined) return { parts: [bytesOf(bits)], approximation };
  throw new CheckpointError(
    `${name} holds ${values[bad]}, which is beyond the range of f16. Keep this part of the model in f32.`,
  );
}

function firstNotFinite(values: Float32Array): number | undefined {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return undefined;
}
