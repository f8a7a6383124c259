/**
 * How the weights of a model are stored and multiplied, as data: floats, or integers in blocks with a
 * scale each.
 *
 * A converted model names one format for its body (every matrix of the layers), one for the head and
 * one for the embedding; norms and the exit gate are float32 always. It knows neither files nor graphs.
 * Source: layout of com.microsoft.MatMulNBits (ONNX Runtime) for blocks.
 */
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import type { KvDtype } from '../util/kv-dtype.js';
import type { MatrixDtype } from '../util/matrix-dtype.js';

/** Format of one kind of matrix. */
export type WeightFormat =
  | { readonly kind: 'float'; readonly dtype: 'f32' | 'f16' }
  /** Integers of `bits` bits, one float32 scale for `blockSize` consecutive inputs of an output. */
  | { readonly kind: 'blocks'; readonly bits: 4 | 8; readonly blockSize: 32 | 64 | 128 };

/** How 4- and 8-bit values were chosen. */
export type QuantizationMethod = 'round-to-nearest' | 'scale-search';

/** Formats of a whole converted model. */
export interface ModelFormat {
  readonly body: WeightFormat;
  readonly head: WeightFormat;
  readonly embedding: WeightFormat & { readonly kind: 'float' };
  readonly method: QuantizationMethod;
}

/** Name of the tensor that holds the scales of a quantised matrix. */
export const scalesName = (hfName: string): string => `${hfName}.scales`;

const floatFormat = z.strictObject({ kind: z.literal('float'), dtype: z.enum(['f32', 'f16']) });
const weightFormat = z.discriminatedUnion('kind', [
  floatFormat,
  z.strictObject({
    kind: z.literal('blocks'),
    bits: z.union([z.literal(4), z.literal(8)]),
    blockSize: z.union([z.literal(32), z.literal(64), z.literal(128)]),
  }),
]);
const quantizationConfig = z.object({
  quant_method: z.literal('looplm'),
  version: z.literal(1),
  body: weightFormat,
  head: weightFormat,
  embedding: floatFormat,
  method: z.enum(['round-to-nearest', 'scale-search']),
  notes: z.array(z.string()).default([]),
});

const modelFormat = quantizationConfig.pick({
  body: true,
  head: true,
  embedding: true,
  method: true,
});

/** Whether a value of unknown origin says the formats of a whole model. */
export function isModelFormat(value: unknown): value is ModelFormat {
  return modelFormat.safeParse(value).success;
}

/**
 * Reads the `quantization_config` of a config.json: the formats, and what was worth a note in the
 * checkpoint that was converted.
 *
 * @throws ConfigError if it is not one that looplm wrote.
 */
export function parseModelFormat(json: unknown): {
  readonly format: ModelFormat;
  readonly notes: readonly string[];
} {
  const parsed = quantizationConfig.safeParse(json);
  if (parsed.success) {
    const { body, head, embedding, method, notes } = parsed.data;
    return { format: { body, head, embedding, method }, notes };
  }
  const [issue] = parsed.error.issues;
  throw new ConfigError(
    'quantization_config',
    `quantization_config is wrong at "${issue?.path.join('.') ?? ''}" (${issue?.message ?? 'unknown'}); looplm runs models that it quantised itself. Start from the unquantised checkpoint and run looplm convert.`,
  );
}

/** The `quantization_config` of a config.json. @param notes - on the checkpoint that was converted */
export function modelFormatToJson(
  { body, head, embedding, method }: ModelFormat,
  notes: readonly string[] = [],
): object {
  const formats = { quant_method: 'looplm', version: 1, body, head, embedding, method };
  return notes.length === 0 ? formats : { ...formats, notes };
}

/** The word for a format, whatever its blocks. */
export function matrixDtype(format: WeightFormat): MatrixDtype {
  if (format.kind === 'float') return format.dtype;
  return format.bits === 4 ? 'q4' : 'q8';
}

/**
 * How keys and values are kept by default: as precise as the weights are. Rounding them to i8 costs a
 * quarter of what q8 does (models/bundled).
 */
export function defaultKvDtype(format: ModelFormat | undefined): KvDtype {
  if (!format) return 'f32';
  return format.body.kind === 'blocks' ? 'i8' : format.body.dtype;
}

/** A short name, such as `4-bit blocks of 64`, for people. */
export function describeFormat(format: WeightFormat): string {
  switch (format.kind) {
    case 'float':
      return format.dtype;
    case 'blocks':
      return `${format.bits}-bit blocks of ${format.blockSize}`;
    default:
      return format satisfies never;
  }
}
