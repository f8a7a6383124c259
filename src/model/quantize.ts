/**
 * Weights as 4- or 8-bit integers in blocks of consecutive inputs, with one float32 scale a block.
 *
 * A value is (q - zero point) * scale. The one idea of `scale-search`: given the integers, the scale
 * of least weighted error has a closed form, so a block tries some roundings and keeps the best pair.
 * It does not know files, names or models. Source: layout of com.microsoft.MatMulNBits (ONNX Runtime);
 * the search follows the idea of `make_qx_quants` in ggml.
 */
import { ShapeError } from '../errors.js';
import type { QuantizationMethod, WeightFormat } from './weight-format.js';

/** The integer format of one matrix. */
export type BlockFormat = WeightFormat & { readonly kind: 'blocks' };

/** A matrix in blocks. */
export interface QuantizedBlocks {
  /** `[outputs, numBlocks, blockSize * bits / 8]`; of two 4-bit values in a byte the low one comes first. */
  readonly packed: Uint8Array;
  /** `[outputs, numBlocks]`. */
  readonly scales: Float32Array;
}

/** What `quantizeBlocks` needs to know of a matrix `[outputs, inputs]`. */
export interface QuantizeOptions {
  readonly outputs: number;
  readonly inputs: number;
  readonly format: BlockFormat;
  readonly method: QuantizationMethod;
  /**
   * `[inputs]`, for scale search: how much an error in a weight of this input matters, as the mean
   * square of the input over calibration text. Default: all the same.
   */
  readonly importance?: Float32Array;
}

/** Blocks of one output; the last one may be partly padding. */
export function numBlocksOf(inputs: number, { blockSize }: BlockFormat): number {
  return Math.ceil(inputs / blockSize);
}

/** Bytes of one packed block. */
export function blockBytes({ blockSize, bits }: BlockFormat): number {
  return (blockSize * bits) / 8;
}

/**
 * Quantises a matrix. The last block of a row is padded with the zero point; a block of zeros gets the
 * scale 0.
 *
 * @param values - `[outputs, inputs]`, row-major and finite.
 * @throws ShapeError if a length does not fit.
 */
export function quantizeBlocks(values: Float32Array, options: QuantizeOptions): QuantizedBlocks {
  const { outputs, inputs, format, method, importance } = options;
  checkLength('values', values.length, outputs * inputs);
  if (importance) checkLength('importance', importance.length, inputs);
  const { blockSize, bits } = format;
  const numBlocks = numBlocksOf(inputs, format);
  const packed = new Uint8Array(outputs * numBlocks * blockBytes(format));
  const scales = new Float32Array(outputs * numBlocks);
  const block = new BlockQuantizer(format, method);
  for (let index = 0; index < scales.length; index++) {
    const output = Math.floor(index / numBlocks);
    const firstInput = (index - output * numBlocks) * blockSize;
    const count = Math.min(blockSize, inputs - firstInput);
    block.load(values, output * inputs + firstInput, count, importance, firstInput);
    scales[index] = block.quantize();
    if (bits === 4) packNibbles(block.integers, packed, (index * blockSize) / 2);
    else packBytes(block.integers, packed, index * blockSize);
  }
  return { packed, scales };
}

/** The matrix `[outputs, inputs]` that quantised blocks stand for. */
export function dequantizeBlocks(
  { packed, scales }: QuantizedBlocks,
  { outputs, inputs, format }: Pick<QuantizeOptions, 'outputs' | 'inputs' | 'format'>,
): Float32Array {
  const { blockSize, bits } = format;
  const numBlocks = numBlocksOf(inputs, format);
  checkLength('packed', packed.length, outputs * numBlocks * blockBytes(format));
  checkLength('scales', scales.length, outputs * numBlocks);
  const values = new Float32Array(outputs * inputs);
  let next = 0;
  for (let index = 0; index < scales.length; index++) {
    const scale = scales[index]!;
    const start = index * blockSize;
    const count = Math.min(blockSize, inputs - (index % numBlocks) * blockSize);
    for (let i = start; i < start + count; i++) {
      const integer =
        bits === 8 ? packed[i]! - 128 : ((packed[i >> 1]! >> (4 * (i & 1))) & 0xf) - 8;
      values[next++] = integer * scale;
    }
  }
  return values;
}

/** Sums from which relative errors of parts and wholes are made. */
export interface SquaredError {
  /** Sum of (w - w')^2. */
  readonly error: number;
  /** Sum of w^2. */
  readonly total: number;
}

/** How far an approximation is from the values, as sums over all elements. */
export function squaredError(values: Float32Array, approximation: Float32Array): SquaredError {
  checkLength('approximation', approximation.length, values.length);
  let [error, total] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const difference = value - approximation[i]!;
    error += difference * difference;
    total += value * value;
  }
  return { error, total };
}

/** sqrt(sum (w - w')^2 / sum w^2), over the whole of some parts; 0 where all weights are 0. */
export function relativeError(parts: Iterable<SquaredError>): number {
  let [error, total] = [0, 0];
  for (const part of parts) {
    error += part.error;
    total += part.total;
  }
  return total === 0 ? 0 : Math.sqrt(error / total);
}

/** Roundings tried on either side of the extreme's. Source: ggml, `make_qx_quants`. */
const NUM_CANDIDATES = 6;
/** Distance of two candidates: by how much the extreme's integer, unrounded, moves. */
const CANDIDATE_SPACING = 0.3;

/** Adding and subtracting it rounds a double to an integer, ties to even. */
const ROUNDING = 1.5 * 2 ** 52;

/** One block at a time, in arrays that are used again. Padding stands as zeros of no weight. */
class BlockQuantizer {
  /** Of the last block, without the zero point. */
  readonly integers: Int8Array;
  readonly #values: Float64Array;
  readonly #weights: Float64Array;
  readonly #weighted: Float64Array;
  readonly #bits: 4 | 8;
  /** Integers go from `-#levels` to `#levels - 1`. */
  readonly #levels: number;
  readonly #method: QuantizationMethod;
  // sums of the last rounding q: of weight * value * q, and of weight * q * q
  #valueSum = 0;
  #squareSum = 0;

  constructor({ blockSize, bits }: BlockFormat, method: QuantizationMethod) {
    this.integers = new Int8Array(blockSize);
    this.#values = new Float64Array(blockSize);
    this.#weights = new Float64Array(blockSize);
    this.#weighted = new Float64Array(blockSize);
    this.#bits = bits;
    this.#levels = 2 ** (bits - 1);
    this.#method = method;
  }

  /** Takes `count` values from `offset` on; `importance`, if given, from `firstInput` on. */
  load(
    values: Float32Array,
    offset: number,
    count: number,
    importance: Float32Array | undefined,
    firstInput: number,
  ): void {
    this.#values.fill(0, count);
    this.#weights.fill(0, count);
    this.#weighted.fill(0, count);
    for (let i = 0; i < count; i++) {
      const value = values[offset + i]!;
      const weight = importance === undefined ? 1 : importance[firstInput + i]!;
      this.#values[i] = value;
      this.#weights[i] = weight;
      this.#weighted[i] = weight * value;
    }
  }

  /** Fills `integers` and returns the scale, a float32. */
  quantize(): number {
    const extreme = this.#extreme();
    const plain = Math.fround(this.#bits === 4 ? extreme / -8 : Math.abs(extreme) / 127);
    if (plain === 0) {
      this.integers.fill(0);
      return 0;
    }
    if (this.#method === 'round-to-nearest') {
      this.#round(1 / plain);
      return plain;
    }
    return this.#search(extreme, plain);
  }

  #extreme(): number {
    const values = this.#values;
    let [extreme, size] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (Math.abs(value) <= size) continue;
      extreme = value;
      size = Math.abs(value);
    }
    return extreme;
  }

  /** Of the plain rounding and the candidates, the one that leaves the least weighted error. */
  #search(extreme: number, plain: number): number {
    this.#weigh(1 / plain);
    // How much less error there is than with all integers 0.
    let gain = plain * (2 * this.#valueSum - plain * this.#squareSum);
    let [inverse, scale] = [1 / plain, plain];
    for (let i = -NUM_CANDIDATES; i <= NUM_CANDIDATES; i++) {
      const candidate = -(this.#levels + CANDIDATE_SPACING * i) / extreme;
      this.#weigh(candidate);
      if (this.#valueSum * this.#valueSum <= gain * this.#squareSum) continue;
      const best = Math.fround(this.#valueSum / this.#squareSum);
      if (best === 0) continue;
      gain = (this.#valueSum * this.#valueSum) / this.#squareSum;
      inverse = candidate;
      scale = best;
    }
    this.#round(inverse);
    return scale;
  }

  #round(inverseScale: number): void {
    const [values, integers] = [this.#values, this.integers];
    const [low, high] = [-this.#levels, this.#levels - 1];
    for (let i = 0; i < values.length; i++) {
      const q = values[i]! * inverseScale + ROUNDING - ROUNDING;
      integers[i] = q < low ? low : q > high ? high : q;
    }
  }

  /** The sums that decide how good a rounding is. The hot loop. */
  #weigh(inverseScale: number): void {
    const [values, weights, weighted] = [this.#values, this.#weights, this.#weighted];
    const [low, high] = [-this.#levels, this.#levels - 1];
    let [valueSum, squareSum] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      let q = values[i]! * inverseScale + ROUNDING - ROUNDING;
      q = q < low ? low : q > high ? high : q;
      valueSum += weighted[i]! * q;
      squareSum += weights[i]! * q * q;
    }
    this.#valueSum = valueSum;
    this.#squareSum = squareSum;
  }
}

/** Two integers a byte, the first in the low half, above the zero point 8. */
function packNibbles(integers: Int8Array, packed: Uint8Array, offset: number): void {
  for (let i = 0; i < integers.length; i += 2) {
    packed[offset + (i >> 1)] = (integers[i]! + 8) | ((integers[i + 1]! + 8) << 4);
  }
}

/** One integer a byte, above the zero point 128. */
function packBytes(integers: Int8Array, packed: Uint8Array, offset: number): void {
  for (let i = 0; i < integers.length; i++) packed[offset + i] = integers[i]! + 128;
}

function checkLength(name: string, got: number, needed: number): void {
  if (got === needed) return;
  throw new ShapeError(
    `The ${name} of the matrix have ${got} elements; its shape and format need ${needed}.`,
  );
}
