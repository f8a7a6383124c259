/**
 * What the weight files of a model hold, as data for `looplm inspect`: of a checkpoint every value is
 * read, of a converted model only the float32 vectors, since its layout and size are checked whole
 * and its largest part is integers.
 */
import { CheckpointError } from '../errors.js';
import type {
  ConvertedModel,
  Folder,
  LoopLMConfig,
  ModelFormat,
  OpenCheckpoint,
  WeightDtype,
} from '../model/index.js';
import {
  CONVERTED_WEIGHTS,
  convertedParameters,
  elementCount,
  hasExitGate,
  openCheckpoint,
  openConverted,
  parameterSpecs,
  readModelConfig,
} from '../model/index.js';
import { readConversionReport } from '../platform/node/index.js';
import { openSafetensors } from '../util/safetensors.js';
import { openByteProgress } from './byte-progress.js';
import type { PartErrors } from './conversion-errors.js';
import { errorsByPart } from './conversion-errors.js';
import type { CliIo } from './io.js';

export interface TensorSummary {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Root of the mean square; absent if the values were not read. */
  readonly rms?: number;
  readonly largest?: number;
}

export interface WeightSummary {
  readonly config: LoopLMConfig;
  readonly ignoredKeys: readonly string[];
  readonly notes: readonly string[];
  /** Storage type of a checkpoint, formats of a converted model. */
  readonly stored:
    | { readonly dtype: WeightDtype | 'mixed' }
    | {
        readonly format: ModelFormat;
        /** By part, of conversion.json; null without one. */
        readonly errors: readonly PartErrors[] | null;
      };
  /** Of all tensors, file headers left out. */
  readonly sizeBytes: number;
  readonly tensors: readonly TensorSummary[];
  /** What of the values was looked at. */
  readonly checked: 'all values' | 'norms and exit gate' | 'norms';
}

/** Progress of smaller checkpoints is not worth showing. */
const SHOWN_BYTES = 500e6;

/** @throws LoopLMError as `openCheckpoint` and `openConverted` do, and for values that are not finite */
export async function summarizeWeights(folder: Folder, io: CliIo): Promise<WeightSummary> {
  const parsed = await readModelConfig(folder);
  if (parsed.format) return summarizeConverted(folder, await openConverted(folder, { parsed }));
  const checkpoint = await openCheckpoint(folder, { parsed });
  try {
    return await summarizeCheckpoint(checkpoint, io);
  } finally {
    await checkpoint.close();
  }
}

async function summarizeCheckpoint(
  { config, ignoredKeys, notes, dtype, locations, readTensor }: OpenCheckpoint,
  io: CliIo,
): Promise<WeightSummary> {
  const specs = parameterSpecs(config).map(({ hfName: name, shape }) => {
    const { dtype: stored } = locations.get(name)!;
    return { name, shape, stored, bytes: elementCount(shape) * (stored === 'f32' ? 4 : 2) };
  });
  const sizeBytes = specs.reduce((sum, { bytes }) => sum + bytes, 0);
  const progress = sizeBytes > SHOWN_BYTES ? openByteProgress(io, 'reading') : undefined;
  const tensors: TensorSummary[] = [];
  let done = 0;
  for (const { name, shape, stored, bytes } of specs) {
    const spread = spreadOf(await readTensor(name));
    tensors.push({ name, dtype: stored.toUpperCase(), shape, ...spread });
    progress?.show((done += bytes), sizeBytes);
  }
  progress?.stop();
  const stored = { dtype };
  return { config, ignoredKeys, notes, stored, sizeBytes, tensors, checked: 'all values' };
}

async function summarizeConverted(
  folder: Folder,
  { config, ignoredKeys, notes, format, tensors: stored }: ConvertedModel,
): Promise<WeightSummary> {
  const vectors = convertedParameters(config)
    .filter(({ kind }) => ['norm', 'gateWeight', 'gateBias'].includes(kind))
    .map(({ hfName }) => hfName);
  const source = await folder.open(CONVERTED_WEIGHTS);
  try {
    const { readFloat32 } = await openSafetensors(source);
    const spreads = new Map<string, ReturnType<typeof spreadOf>>();
    for (const name of vectors) {
      const values = await readFloat32(name);
      if (!values.every(Number.isFinite)) {
        throw new CheckpointError(
          `${source.name}: ${name} holds a value that is not finite; weights must be. Convert the model again.`,
        );
      }
      spreads.set(name, spreadOf(values));
    }
    const report = await readConversionReport(folder.path);
    return {
      config,
      ignoredKeys,
      notes,
      stored: { format, errors: report ? errorsByPart(report.tensors) : null },
      sizeBytes: [...stored.values()].reduce((sum, { range }) => sum + range.byteLength, 0),
      tensors: [...stored].map(([name, { dtype, shape }]) => ({
        name,
        dtype,
        shape,
        ...spreads.get(name),
      })),
      checked: hasExitGate(config) ? 'norms and exit gate' : 'norms',
    };
  } finally {
    await source.close();
  }
}

function spreadOf(values: Float32Array): { readonly rms: number; readonly largest: number } {
  let squares = 0;
  let largest = 0;
  for (const value of values) {
    squares += value * value;
    largest = Math.max(largest, Math.abs(value));
  }
  return { rms: Math.sqrt(squares / values.length), largest };
}
