/**
 * The calibration file: for each matrix, by its name, the mean square of each of its inputs over some
 * text. It says which weights matter. How it is made is not known here.
 */
import { createHash } from 'node:crypto';
import { CheckpointError } from '../../../errors.js';
import type { LoopLMConfig } from '../../../model/index.js';
import { convertedParameters } from '../../../model/index.js';
import { openSafetensors } from '../../../util/safetensors.js';
import { openFile } from '../files/index.js';

/** Mean squares of the inputs, `[in]` each, by the name of the matrix. */
export interface Calibration {
  readonly importance: ReadonlyMap<string, Float32Array>;
  /** Of all numbers. */
  readonly sha256: string;
}

/**
 * Reads a calibration file and checks that it belongs to the model: every matrix of the layers must be
 * there in its size; the head may be.
 *
 * @throws CheckpointError if it does not fit or holds a negative or infinite number; FileError if it
 *   cannot be read.
 */
export async function readCalibration(path: string, config: LoopLMConfig): Promise<Calibration> {
  const source = await openFile(path);
  try {
    const reader = await openSafetensors(source);
    const importance = new Map<string, Float32Array>();
    const sum = createHash('sha256');
    const names = new Set(reader.entries.keys());
    for (const { hfName, kind, shape } of convertedParameters(config)) {
      if (kind !== 'matrix' && kind !== 'head') continue;
      const entry = reader.entries.get(hfName);
      if (entry === undefined && kind === 'head') continue;
      if (entry === undefined) fail(path, `lacks ${hfName}`);
      if (entry.shape.length !== 1 || entry.shape[0] !== shape[1]) {
        fail(path, `holds ${hfName} as [${entry.shape.slice(0, 8).join(', ')}], not [${shape[1]}]`);
      }
      const values = await reader.readFloat32(hfName);
      const bad = values.findIndex((value) => !(value >= 0 && Number.isFinite(value)));
      if (bad !== -1) fail(path, `holds ${values[bad]} in ${hfName}, which is no mean square`);
      importance.set(hfName, values);
      sum.update(hfName).update(values);
      names.delete(hfName);
    }
    const [extra] = names;
    if (extra !== undefined) fail(path, `holds ${JSON.stringify(extra)}, which is no matrix`);
    return { importance, sha256: sum.digest('hex') };
  } finally {
    await source.close();
  }
}

function fail(path: string, fault: string): never {
  throw new CheckpointError(
    `The calibration file ${path} does not fit the model: it ${fault}. Run looplm calibrate on this model.`,
  );
}
