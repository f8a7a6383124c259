/**
 * One part of a random checkpoint: values from a generator of its own, encoded and written in place.
 *
 * Runs in worker threads. A part's values follow from the seed, the tensor's number and the part's
 * number alone, so the file is the same however many threads write it.
 */
import { bytesOf } from '../../util/bytes-of.js';
import { generatorFor } from '../../util/random.js';
import { encodeBfloat16, encodeFloat16 } from '../../util/half-float.js';
import { fillNormal } from '../../util/ziggurat.js';
import type { WeightDtype } from '../../model/index.js';
import { writeAt } from './files/index.js';

/** What all parts share. */
export interface RandomFile {
  readonly path: string;
  readonly dtype: WeightDtype;
  readonly seed: number;
}

/** Consecutive values of one tensor. */
export interface RandomPart {
  readonly tensorIndex: number;
  readonly partIndex: number;
  readonly numValues: number;
  readonly mean: number;
  readonly std: number;
  /** Where the part begins in the file. */
  readonly byteOffset: number;
}

const ENCODE = {
  f32: (values: Float32Array) => values,
  f16: encodeFloat16,
  bf16: encodeBfloat16,
} as const;

/** A function that writes parts of a file. @throws FileError if the file cannot be written. */
export function writeRandomPart({ path, dtype, seed }: RandomFile): (part: RandomPart) => number {
  return ({ tensorIndex, partIndex, numValues, mean, std, byteOffset }) => {
    const values = new Float32Array(numValues);
    fillNormal(values, mean, std, generatorFor(seed, tensorIndex, partIndex));
    const bytes = ENCODE[dtype](values);
    writeAt(path, byteOffset, bytesOf(bytes));
    return bytes.byteLength;
  };
}
