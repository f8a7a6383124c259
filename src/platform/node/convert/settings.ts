/**
 * What a user may choose about a conversion, and the formats that follow from it.
 */
import { ConfigError } from '../../../errors.js';
import type { ModelFormat, QuantizationMethod, WeightFormat } from '../../../model/index.js';
import type { MatrixDtype } from '../../../util/matrix-dtype.js';
import { MATRIX_DTYPES } from '../../../util/matrix-dtype.js';

/** How a model is to be converted. */
export interface ConversionSettings {
  /** q4 and q8: body in blocks of 4 or 8 bits; f16 and f32: floats throughout. */
  readonly dtype: MatrixDtype;
  /** Weights that share a scale, for q4 (default 64) and q8 (default 128). */
  readonly blockSize?: 32 | 64 | 128;
  /** Default: q8 for q4, f16 for q8, else the type itself. q8 has blocks of 128. */
  readonly head?: 'q8' | 'f16' | 'f32';
  /** Default: f32 for f32, else f16. */
  readonly embedding?: 'f16' | 'f32';
  /** How integers are chosen. Default: scale-search for q4, round-to-nearest for q8. */
  readonly method?: QuantizationMethod;
  /** A file of mean squares of the inputs of each matrix, for scale-search. */
  readonly calibration?: string;
}

const HEAD_BLOCKS = { kind: 'blocks', bits: 8, blockSize: 128 } as const;

/**
 * The formats of the settings.
 *
 * @throws ConfigError if a setting is unknown or does not go with the others.
 */
export function formatOfSettings(settings: ConversionSettings): ModelFormat {
  const { dtype } = settings;
  checkSettings(settings);
  const head = settings.head ?? ({ q4: 'q8', q8: 'f16', f16: 'f16', f32: 'f32' } as const)[dtype];
  const method = settings.method ?? (dtype === 'q4' ? 'scale-search' : 'round-to-nearest');
  if (settings.calibration !== undefined && method !== 'scale-search') {
    throw new ConfigError(
      'calibration',
      `A calibration file is given, but the method is ${method}; only scale-search reads one. Choose that method, or leave the file out.`,
    );
  }
  return {
    body: bodyFormat(settings),
    head: head === 'q8' ? HEAD_BLOCKS : { kind: 'float', dtype: head },
    embedding: { kind: 'float', dtype: settings.embedding ?? (dtype === 'f32' ? 'f32' : 'f16') },
    method,
  };
}

function bodyFormat({ dtype, blockSize }: ConversionSettings): WeightFormat {
  switch (dtype) {
    case 'q4':
      return { kind: 'blocks', bits: 4, blockSize: blockSize ?? 64 };
    case 'q8':
      return { kind: 'blocks', bits: 8, blockSize: blockSize ?? 128 };
    case 'f16':
    case 'f32':
      return { kind: 'float', dtype };
    default:
      return dtype satisfies never;
  }
}

function checkSettings(settings: ConversionSettings): void {
  const { dtype, blockSize, head, embedding, method } = settings;
  checkOneOf('dtype', dtype, MATRIX_DTYPES);
  checkOneOf('blockSize', blockSize, [32, 64, 128]);
  checkOneOf('head', head, ['q8', 'f16', 'f32']);
  checkOneOf('embedding', embedding, ['f16', 'f32']);
  checkOneOf('method', method, ['round-to-nearest', 'scale-search']);
  const isQuantised = dtype === 'q4' || dtype === 'q8';
  if (blockSize !== undefined && !isQuantised) {
    throw new ConfigError(
      'blockSize',
      `The block size is ${blockSize}, but ${dtype} has no blocks; they belong to q4 and q8. Leave it out.`,
    );
  }
  if (method !== undefined && !isQuantised && head !== 'q8') {
    throw new ConfigError(
      'method',
      `The method is ${method}, but ${dtype} does not quantise; q4 and q8 do. Leave it out.`,
    );
  }
}

function checkOneOf<T>(field: string, value: T | undefined, allowed: readonly T[]): void {
  if (value === undefined || allowed.includes(value)) return;
  throw new ConfigError(
    field,
    `The ${field} of a conversion is ${String(value)}; it must be one of ${allowed.join(', ')}.`,
  );
}
