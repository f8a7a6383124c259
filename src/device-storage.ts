/**
 * In which types a model keeps its weights, keys and values on a device: decided here, once, from its
 * files, the caller's wish and what the device says it can do. Nothing tries whether something works.
 */
import { UnsupportedError } from './errors.js';
import type { ParsedModelConfig } from './model/index.js';
import { defaultKvDtype, matrixDtype } from './model/index.js';
import type { Device } from './runtime/index.js';
import type { KvDtype } from './util/kv-dtype.js';

/**
 * The type of keys and values of a model on a device: the one that is asked for, or that of its weights.
 *
 * @throws UnsupportedError if the device cannot do that, or does not multiply with the model's weights
 */
export function kvDtypeOn(
  { supports }: Pick<Device, 'supports'>,
  { format }: Pick<ParsedModelConfig, 'format'>,
  wanted: KvDtype | undefined,
): KvDtype {
  const stored = format ? [format.body, format.head, format.embedding].map(matrixDtype) : ['f32'];
  const matrices: readonly string[] = supports.matrices;
  const missing = stored.find((dtype) => !matrices.includes(dtype));
  if (missing !== undefined) {
    throw new UnsupportedError(
      `The model has weights in ${missing}, and the device computes with ${matrices.join(', ')}. Load it with another dtype, or on another device.`,
    );
  }
  const kvDtype = wanted ?? defaultKvDtype(format);
  if (supports.kvDtypes.includes(kvDtype)) return kvDtype;
  throw new UnsupportedError(
    `Keys and values would be in ${kvDtype}, and the device keeps them in ${supports.kvDtypes.join(', ')}. Choose one of these as kvDtype.`,
  );
}
