/**
 * How a model is loaded from a folder, checked: what a caller may have mistaken is said by name.
 */
import { z } from 'zod';
import type { CompileWatch, EngineOptions } from './engine/index.js';
import { ConfigError } from './errors.js';
import type { Folder, ParsedModelConfig } from './model/index.js';
import type { Device } from './runtime/index.js';
import type { KvDtype } from './util/kv-dtype.js';
import { KV_DTYPES } from './util/kv-dtype.js';
import { abortSignal, callback, numberWhere, parseFields, wordOf } from './util/parse-fields.js';
import { showValue } from './util/quote.js';

/** How to load a model. */
export interface LoadOptions extends Pick<
  EngineOptions,
  'maxKvBytes' | 'maxPrefixBytes' | keyof CompileWatch
> {
  readonly device: Device;
  /** Storage of keys and values. Default i8 for models in q4 or q8, f16 in f16, else f32. */
  readonly kvDtype?: KvDtype | undefined;
  /** Whether `dispose` of the model disposes the device too. Default false: it is borrowed. */
  readonly ownsDevice?: boolean | undefined;
  /** Requests that run at a time; others wait. Default 64. */
  readonly maxSequences?: number | undefined;
  /**
   * Whether `updateWeights` can exchange the weights, of a model in f32. Products then take up to half as
   * long again, since nothing can be prepared for them. Default false.
   */
  readonly updatable?: boolean | undefined;
  /**
   * Folder of an adapter in the files of Python's PEFT. It is merged into the weights, which costs nothing
   * afterwards; of a converted model it stays beside them, at r * (in + out) multiplications more for each
   * matrix and token.
   */
  readonly adapter?: Folder | undefined;
  /**
   * Name of a gate in the folder's gates.safetensors, which takes the place of the exit gate in the weights
   * and in an adapter.
   */
  readonly gate?: string | undefined;
  /** What config.json says, as `readModelConfig` gives it. Default: it is read. */
  readonly parsedConfig?: ParsedModelConfig | undefined;
  /** What the model is called, such as its hub id. Default the path of the folder. */
  readonly name?: string | undefined;
}

const DEFAULT = 'Leave it out for the default.';

const schema = z.strictObject(
  {
    device: z.custom<Device>(
      isDevice,
      'it must be a Device. Open one with createNodeDevice of looplm/node, or use LoopLM.fromPretrained.',
    ),
    ownsDevice: z.boolean(`it must be true or false. ${DEFAULT}`).optional(),
    updatable: z.boolean(`it must be true or false. ${DEFAULT}`).optional(),
    maxSequences: numberWhere(
      `it must be a whole number from 1 up. ${DEFAULT}`,
      (value) => Number.isSafeInteger(value) && value >= 1,
    ).optional(),
    name: z.string(`it must be a text. ${DEFAULT}`).optional(),
    adapter: z
      .custom<Folder>(
        isFolder,
        'it must be a Folder, such as nodeFolder(path) of looplm/node. Leave it out for the model alone.',
      )
      .optional(),
    gate: z.string(`it must be the name of a gate. ${DEFAULT}`).optional(),
    parsedConfig: z
      .custom<ParsedModelConfig>(
        isParsedConfig,
        'it must be what readModelConfig of looplm/model returns. Leave it out to have config.json read.',
      )
      .optional(),
    kvDtype: wordOf(KV_DTYPES, DEFAULT).optional(),
    maxKvBytes: numberWhere(
      'it must be a number from 0 up. Leave it out for no limit.',
      (value) => value >= 0,
    ).optional(),
    maxPrefixBytes: numberWhere(
      `it must be a number from 0 up. ${DEFAULT}`,
      (value) => value >= 0,
    ).optional(),
    onProgress: callback<NonNullable<CompileWatch['onProgress']>>().optional(),
    signal: abortSignal.optional(),
  } satisfies Record<keyof LoadOptions, z.ZodType>,
  'they must be an object with a device.',
);

function isDevice(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { compile, submit, supports } = value as Partial<Device>;
  return typeof compile === 'function' && typeof submit === 'function' && supports !== undefined;
}

function isParsedConfig(value: unknown): boolean {
  const { config, ignoredKeys, notes } = (value ?? {}) as Partial<ParsedModelConfig>;
  return (
    typeof config?.architecture === 'string' && Array.isArray(ignoredKeys) && Array.isArray(notes)
  );
}

/** @throws ConfigError for an option that is unknown, missing or not allowed */
export function parseLoadOptions(value: unknown): LoadOptions {
  return parseFields(schema, value, 'the loading options');
}

function isFolder(value: unknown): boolean {
  const { open, readText } = (value ?? {}) as Partial<Folder>;
  return typeof open === 'function' && typeof readText === 'function';
}

/** @throws ConfigError for what is no `Folder`, such as a path */
export function checkFolder(folder: unknown): asserts folder is Folder {
  if (isFolder(folder)) return;
  throw new ConfigError(
    'folder',
    `The folder is ${showValue(folder)}; it must be a Folder, such as nodeFolder(path) of looplm/node. Use LoopLM.fromPretrained for a path.`,
  );
}
