/**
 * conversion.json: what a converted model was made from, how, and what it cost in precision.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { ModelFormat, ParameterKind, SquaredError } from '../../../model/index.js';
import { describeFormat, formatOf, relativeError, scalesName } from '../../../model/index.js';
import { fileExists, readTextFile } from '../files/index.js';
import type { ConversionPlan } from './plan.js';

export const REPORT_FILE = 'conversion.json';

/** One parameter of a converted model. */
export interface TensorReport {
  readonly name: string;
  readonly kind: ParameterKind;
  /** Such as `4-bit blocks of 64`. */
  readonly format: string;
  /** Scales included. */
  readonly sizeBytes: number;
  /** sqrt(sum (w - w')^2 / sum w^2). */
  readonly relativeError: number;
}

/** The content of conversion.json. */
export interface ConversionReport {
  /** Of source, settings and format version: equal for conversions that give equal files. */
  readonly key: string;
  readonly source: {
    readonly path: string;
    /** Of the checkpoint's content. */
    readonly fingerprint: string;
    /** Its commit on the hub, or null. */
    readonly revision: string | null;
    /** Of all weight values. */
    readonly sizeBytes: number;
  };
  readonly settings: ModelFormat & {
    /** Checksum of the calibration's numbers, or null. */
    readonly calibration: string | null;
  };
  readonly tensors: readonly TensorReport[];
  /** Length of the weight file. */
  readonly sizeBytes: number;
  /** Of all weights together. */
  readonly relativeError: number;
  /** Version of looplm. */
  readonly version: string;
  /** Of the run that finished it. */
  readonly seconds: number;
}

/** @param errors - of each piece of the plan. */
export function tensorReports(
  { parameters, pieces, layout }: ConversionPlan,
  errors: readonly SquaredError[],
  format: ModelFormat,
): TensorReport[] {
  const sizes = new Map(layout.entries.map(({ name, byteLength }) => [name, byteLength]));
  return parameters.map((spec) => {
    const { hfName: name, kind } = spec;
    const parts = errors.filter((_, i) => pieces[i]!.name === name);
    return {
      name,
      kind,
      format: describeFormat(formatOf(spec, format)),
      sizeBytes: sizes.get(name)! + (sizes.get(scalesName(name)) ?? 0),
      relativeError: relativeError(parts),
    };
  });
}

const numbers = z.number();
const formatSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('float'), dtype: z.string() }),
  z.object({ kind: z.literal('blocks'), bits: numbers }),
]);
const reportSchema = z.object({
  key: z.string(),
  source: z.object({ path: z.string() }),
  settings: z.object({ body: formatSchema }),
  sizeBytes: numbers,
  relativeError: numbers,
  tensors: z.array(
    z.object({
      name: z.string(),
      kind: z.string(),
      format: z.string(),
      sizeBytes: numbers,
      relativeError: numbers,
    }),
  ),
});

/**
 * The report of a finished conversion; undefined if the folder holds none.
 *
 * @throws FileError if it is there and cannot be read.
 */
export async function readConversionReport(folder: string): Promise<ConversionReport | undefined> {
  const path = join(folder, REPORT_FILE);
  if (!(await fileExists(path))) return undefined;
  const text = await readTextFile(path);
  try {
    const json: unknown = JSON.parse(text);
    reportSchema.parse(json);
    return json as ConversionReport;
  } catch {
    return undefined;
  }
}
