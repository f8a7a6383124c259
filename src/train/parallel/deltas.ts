/**
 * What a machine came to in a round, as bytes: the weights it ended with, or in 8 bits how far they are from
 * where it began.
 *
 * Exact deltas are the weights themselves, which take as many bytes and lose nothing in the difference. In
 * 8 bits each block of values has a scale, and what rounding lost is kept and added to the next delta, so
 * that nothing is lost for good (error feedback). docs/math.md (local-steps).
 * Source: error feedback of Seide et al. 2014, "1-bit stochastic gradient descent".
 */
import { CheckpointError } from '../../errors.js';
import type { ModelWeights, ParameterSpec } from '../../model/index.js';
import { memorySource } from '../../util/folder.js';
import type { SafetensorsReader, SafetensorsTensor } from '../../util/safetensors.js';
import { encodeSafetensors, openSafetensors } from '../../util/safetensors.js';
import type { OuterSettings } from '../config.js';

export type DeltaFormat = OuterSettings['deltas'];

/** Values that share a scale. */
const BLOCK = 128;
const LARGEST = 127;
/** Bytes have no sign: this one is 0. */
const ZERO = 128;

/** What changed in a round, tensor by tensor. */
export interface Delta {
  /** Adds the change of a weight, from where the round began, to a sum. */
  addTo(sum: Float64Array, name: string, start: Float32Array): void;
}

export interface EncodedDelta {
  readonly bytes: Uint8Array;
  /** What the next delta is to make up for, by name; none for exact ones. */
  readonly residuals: ReadonlyMap<string, Float32Array>;
}

/**
 * @param specs - the weights that are trained
 * @param residuals - what the delta before has left; none at first
 */
export function encodeDelta(
  format: DeltaFormat,
  specs: readonly ParameterSpec[],
  start: ModelWeights,
  end: ModelWeights,
  residuals: ReadonlyMap<string, Float32Array>,
): EncodedDelta {
  if (format === 'f32') {
    const tensors = specs.map(({ hfName, shape }): SafetensorsTensor => {
      return { name: hfName, shape, dtype: 'F32', data: end.get(hfName)! };
    });
    return { bytes: encodeSafetensors(tensors, { format }), residuals: new Map() };
  }
  const left = new Map<string, Float32Array>();
  const tensors = specs.flatMap(({ hfName, shape }): SafetensorsTensor[] => {
    const change = end.get(hfName)!.map((value, i) => value - start.get(hfName)![i]!);
    const before = residuals.get(hfName);
    if (before) for (let i = 0; i < change.length; i++) change[i]! += before[i]!;
    const { scales, bytes } = toBytes(change);
    // `change` becomes what rounding has lost.
    for (let i = 0; i < change.length; i++) {
      change[i]! -= (bytes[i]! - ZERO) * scales[Math.floor(i / BLOCK)]!;
    }
    left.set(hfName, change);
    return [
      { name: scaleOf(hfName), shape: [scales.length], dtype: 'F32', data: scales },
      { name: hfName, shape, dtype: 'U8', data: bytes },
    ];
  });
  return { bytes: encodeSafetensors(tensors, { format }), residuals: left };
}

const scaleOf = (name: string) => `scale:${name}`;

function toBytes(values: Float32Array) {
  const scales = new Float32Array(Math.ceil(values.length / BLOCK));
  const bytes = new Uint8Array(values.length);
  for (let block = 0; block < scales.length; block++) {
    const first = block * BLOCK;
    const end = Math.min(first + BLOCK, values.length);
    let largest = 0;
    for (let i = first; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));
    const scale = (scales[block] = largest / LARGEST);
    for (let i = first; i < end; i++) {
      const rounded = scale > 0 ? Math.round(values[i]! / scale) : 0;
      bytes[i] = ZERO + Math.max(-LARGEST, Math.min(LARGEST, rounded));
    }
  }
  return { scales, bytes };
}

/**
 * A delta from its bytes.
 *
 * @throws CheckpointError if it is of another format or shape, or holds what is not finite
 */
export async function readDelta(
  format: DeltaFormat,
  specs: readonly ParameterSpec[],
  bytes: Uint8Array,
): Promise<Delta> {
  const reader = await openSafetensors(memorySource('The delta', bytes));
  checkTensors(format, specs, reader);
  const floats = new Map<string, Float32Array>();
  const codes = new Map<string, Uint8Array>();
  for (const { hfName } of specs) {
    const name = format === 'f32' ? hfName : scaleOf(hfName);
    const values = await reader.readFloat32(name);
    const bad = values.find((value) => !Number.isFinite(value));
    if (bad !== undefined) throw new CheckpointError(`The delta holds ${bad} in ${name}.`);
    floats.set(hfName, values);
    if (format === 'int8') codes.set(hfName, (await reader.readRaw(hfName)) as Uint8Array);
  }
  return {
    addTo(sum, name, start) {
      const values = floats.get(name)!;
      const bytesOfName = codes.get(name);
      for (let i = 0; i < sum.length; i++) {
        sum[i]! += bytesOfName
          ? (bytesOfName[i]! - ZERO) * values[Math.floor(i / BLOCK)]!
          : values[i]! - start[i]!;
      }
    },
  };
}

function checkTensors(
  format: DeltaFormat,
  specs: readonly ParameterSpec[],
  { entries, metadata }: SafetensorsReader,
): void {
  const saved = metadata.get('format');
  if (saved !== format) {
    throw new CheckpointError(
      `The delta is of format ${saved ?? 'none'}, and the run's are ${format}.`,
    );
  }
  const expected = specs.flatMap(({ hfName, shape }) => {
    if (format === 'f32') return [{ name: hfName, dtype: 'F32', shape }];
    const size = shape.reduce((product, length) => product * length, 1);
    return [
      { name: hfName, dtype: 'U8', shape },
      { name: scaleOf(hfName), dtype: 'F32', shape: [Math.ceil(size / BLOCK)] },
    ];
  });
  for (const { name, dtype, shape } of expected) {
    const entry = entries.get(name);
    if (entry?.dtype === dtype && entry.shape.join() === shape.join()) continue;
    throw new CheckpointError(`The delta lacks ${name} as ${dtype} of shape [${shape.join()}].`);
  }
  if (entries.size > expected.length) {
    throw new CheckpointError('The delta holds tensors that are not trained.');
  }
}
