/**
 * How a model is loaded by its name: options of `LoopLM.fromPretrained`, apart from the loader, so that
 * the facade can name them. Ranges that depend on the model are checked where it is known.
 */
import { z } from 'zod';
import type { KvPolicy, MemoryPlan } from '../../model/index.js';
import { KV_POLICIES } from '../../model/index.js';
import type { DeviceOptions } from '../../runtime/index.js';
import { numThreadsField } from '../../runtime/graph-device.js';
import type { KvDtype } from '../../util/kv-dtype.js';
import { KV_DTYPES } from '../../util/kv-dtype.js';
import type { MatrixDtype } from '../../util/matrix-dtype.js';
import { MATRIX_DTYPES } from '../../util/matrix-dtype.js';
import {
  abortSignal,
  callback,
  numberWhere,
  parseFields,
  wordOf,
} from '../../util/parse-fields.js';

/** What is under way, and how far it is. */
export interface LoadProgress {
  readonly stage: 'download' | 'convert' | 'load';
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** How to load a model. Everything has a default; `undefined` means the default. */
export interface PretrainedOptions extends DeviceOptions {
  /**
   * Format of the weights. `auto` (default) takes a converted model as it is, a small checkpoint in
   * f32 and converts a large one to q8. The others convert once, into the cache.
   */
  readonly dtype?: 'auto' | MatrixDtype | undefined;
  /** Branch, tag or commit on the hub. Default `main`. */
  readonly revision?: string | undefined;
  /** Cache of downloads, as HF_HUB_CACHE. */
  readonly cacheDir?: string | undefined;
  /** Only what is cached; as HF_HUB_OFFLINE. */
  readonly offline?: boolean | undefined;
  /** Cache of converted models, as LOOPLM_CACHE. */
  readonly convertedDir?: string | undefined;
  /** Storage of keys and values. Default i8 for models in q4 or q8, f16 in f16, else f32. */
  readonly kvDtype?: KvDtype | undefined;
  /** Positions, sequences and policy that memory is planned for. Default 4096, 1, per-loop. */
  readonly context?: number | undefined;
  readonly numSequences?: number | undefined;
  readonly kvPolicy?: KvPolicy | undefined;
  /** Bytes of keys and values at most, all sequences together. Default what memory is left. */
  readonly maxKvBytes?: number | undefined;
  /** Requests that run at a time; others wait. Default 64. */
  readonly maxSequences?: number | undefined;
  /** Whether `updateWeights` can exchange the weights, of a model in f32. Default false. */
  readonly updatable?: boolean | undefined;
  /** Folder of an adapter in the files of Python's PEFT; see `LoadOptions.adapter`. */
  readonly adapter?: string | undefined;
  /** Name of an exit gate in the model's gates.safetensors; see `LoadOptions.gate`. */
  readonly gate?: string | undefined;
  readonly progress?: ((progress: LoadProgress) => void) | undefined;
  /** Called with a sentence if another process does the same, which is waited for. */
  readonly onWait?: ((message: string) => void) | undefined;
  /** Called with the plan before anything is loaded. */
  readonly onPlan?: ((plan: MemoryPlan) => void) | undefined;
  /**
   * Ends the loading with its reason: a download at once, a conversion too, and the compilation of
   * the model before the next of its programs. What was downloaded and converted is kept.
   */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT = 'Leave it out for the default.';
const TEXT = z.string(`it must be a text. ${DEFAULT}`).min(1, `it must not be empty. ${DEFAULT}`);
const COUNT = numberWhere(
  `it must be a whole number from 1 up. ${DEFAULT}`,
  (value) => Number.isSafeInteger(value) && value >= 1,
);

const schema = z.strictObject(
  {
    numThreads: numThreadsField.optional(),
    dtype: wordOf(['auto', ...MATRIX_DTYPES], DEFAULT).optional(),
    revision: TEXT.optional(),
    cacheDir: TEXT.optional(),
    offline: z.boolean(`it must be true or false. ${DEFAULT}`).optional(),
    convertedDir: TEXT.optional(),
    kvDtype: wordOf(KV_DTYPES, DEFAULT).optional(),
    context: COUNT.optional(),
    numSequences: COUNT.optional(),
    kvPolicy: wordOf(KV_POLICIES, DEFAULT).optional(),
    maxKvBytes: COUNT.optional(),
    maxSequences: COUNT.optional(),
    updatable: z.boolean(`it must be true or false. ${DEFAULT}`).optional(),
    adapter: TEXT.optional(),
    gate: TEXT.optional(),
    progress: callback<NonNullable<PretrainedOptions['progress']>>().optional(),
    onPlan: callback<NonNullable<PretrainedOptions['onPlan']>>().optional(),
    onWait: callback<NonNullable<PretrainedOptions['onWait']>>().optional(),
    signal: abortSignal.optional(),
  } satisfies Record<keyof PretrainedOptions, z.ZodType>,
  'they must be an object. Use {} for the defaults.',
);

/**
 * Options as they come from a caller.
 *
 * @throws ConfigError for one that is unknown or has a value that is not allowed
 */
export function parsePretrainedOptions(value: unknown): PretrainedOptions {
  return parseFields(schema, value, 'the loading options');
}
