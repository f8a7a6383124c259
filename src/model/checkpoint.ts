/**
 * Checkpoints in the Hugging Face layout: config.json beside model.safetensors, or beside several
 * shards and their index.
 *
 * A checkpoint is checked as a whole before any weight is read: each tensor of the config must be
 * there once, in its shape, and nothing else. Values are checked as they are read. It knows tensor
 * names through params.ts only, and files through `Folder` only.
 * Source: index format of Hugging Face transformers.
 */
import { z } from 'zod';
import { CheckpointError, UnsupportedError, assert } from '../errors.js';
import type { ByteSource, Folder } from '../util/folder.js';
import { readJson } from '../util/folder.js';
import { quote } from '../util/quote.js';
import type { SafetensorsEntry, SafetensorsReader } from '../util/safetensors.js';
import { openSafetensors, safetensorsChunks } from '../util/safetensors.js';
import type { LoopLMConfig } from './config.js';
import type { ParsedModelConfig } from './config-json.js';
import { modelConfigToJson, parseModelConfig } from './config-json.js';
import type { ModelWeights, ParameterSpec } from './params.js';
import { elementCount, EMBEDDING_NAME, HEAD_NAME, parameterSpecs } from './params.js';
import type { ModelFormat } from './weight-format.js';
import { describeFormat } from './weight-format.js';

/** Storage type of weights in a checkpoint. */
export type WeightDtype = 'f32' | 'bf16' | 'f16';

const STORED = {
  f32: { tensor: 'F32', config: 'float32' },
  bf16: { tensor: 'BF16', config: 'bfloat16' },
  f16: { tensor: 'F16', config: 'float16' },
} as const;

const CONFIG_FILE = 'config.json';
const SINGLE_FILE = 'model.safetensors';
const INDEX_FILE = 'model.safetensors.index.json';

/** A whole checkpoint in memory. */
export interface LoadedCheckpoint extends ParsedModelConfig {
  /** Widened to float32, whatever the file holds. */
  readonly weights: ModelWeights;
  /** Storage type of the files. */
  readonly dtype: WeightDtype | 'mixed';
}

/** Where the values of a tensor lie. */
export interface TensorLocation {
  /** Name of the file in the folder. */
  readonly file: string;
  readonly dtype: WeightDtype;
  /** From the start of the file. */
  readonly byteOffset: number;
}

/** How to open a model folder. */
export interface OpenOptions {
  /** What its config.json says, where that has been read already. */
  readonly parsed?: ParsedModelConfig | undefined;
}

/** A checked checkpoint whose tensors are read one at a time. The caller closes it. */
export interface OpenCheckpoint extends ParsedModelConfig {
  readonly dtype: WeightDtype | 'mixed';
  /** Every parameter by its name in the file, for those who read parts of it themselves. */
  readonly locations: ReadonlyMap<string, TensorLocation>;
  /**
   * One parameter as float32 in a new array, by its name in the file.
   *
   * @throws CheckpointError if it holds a NaN or an infinity.
   */
  readTensor(hfName: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Opens a checkpoint and checks its config, names, shapes and types. Weights are not read yet (but
 * for a tied head that is stored all the same: it is compared with the embedding).
 *
 * @throws ConfigError or UnsupportedError for a bad config (see `parseModelConfig`), and for a
 *   converted model: `openConverted` opens it.
 * @throws CheckpointError if weight files are damaged, inconsistent or do not fit the config.
 * @throws FileError if a file is missing or unreadable.
 */
export async function openCheckpoint(
  folder: Folder,
  { parsed: known }: OpenOptions = {},
): Promise<OpenCheckpoint> {
  const parsed = known ?? (await readModelConfig(folder));
  if (parsed.format) failConverted(folder, parsed.format);
  const sources: ByteSource[] = [];
  const close = async () => {
    for (const source of sources) await source.close();
  };
  try {
    const tensors = await openTensors(folder, sources);
    const specs = parameterSpecs(parsed.config);
    checkNames(folder, parsed.config, specs, tensors);
    for (const spec of specs) checkTensor(spec, tensors.get(spec.hfName)!);
    const dtypes = new Set(specs.map(({ hfName }) => tensors.get(hfName)!.entry.dtype));
    const readTensor = (hfName: string) => readFinite(tensors, hfName);
    const hasSpareHead = parsed.config.tieWordEmbeddings && tensors.has(HEAD_NAME);
    const notes = [...parsed.notes, ...(hasSpareHead ? await spareHeadNotes(readTensor) : [])];
    const locations = new Map(specs.map(({ hfName }) => [hfName, locate(tensors.get(hfName)!)]));
    return { ...parsed, notes, dtype: weightDtype(dtypes), locations, readTensor, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** How to read a model folder. */
export interface LoadOptions extends OpenOptions {
  /** Ends it with its reason, before the next tensor. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a whole checkpoint into memory. Throws as `openCheckpoint` and its `readTensor` do, and the
 * reason of the signal when it aborts.
 */
export async function loadCheckpoint(
  folder: Folder,
  { signal, ...open }: LoadOptions = {},
): Promise<LoadedCheckpoint> {
  const checkpoint = await openCheckpoint(folder, open);
  const { config, ignoredKeys, notes, dtype, readTensor, close } = checkpoint;
  try {
    const weights = new Map<string, Float32Array>();
    for (const { hfName } of parameterSpecs(config)) {
      signal?.throwIfAborted();
      weights.set(hfName, await readTensor(hfName));
    }
    return { config, ignoredKeys, notes, dtype, weights };
  } finally {
    await close();
  }
}

/**
 * Reads the config of a checkpoint only.
 *
 * @throws CheckpointError if config.json is not JSON; otherwise as `parseModelConfig`.
 */
export async function readModelConfig(folder: Folder): Promise<ParsedModelConfig> {
  return parseModelConfig(await readJson(folder, CONFIG_FILE));
}

/** How to write a checkpoint. */
export interface SaveCheckpointOptions {
  /** Storage type. 16-bit types round to nearest; f32 keeps every bit. */
  readonly dtype: WeightDtype;
  /** Text files to write beside the weights, such as tokenizer.json, by file name. */
  readonly extraFiles?: Readonly<Record<string, string>>;
}

/**
 * Writes a checkpoint as one weight file and its config; `loadCheckpoint` gives equal weights back.
 * Each file appears whole or not at all, config.json last.
 *
 * @throws CheckpointError if weights are missing, superfluous, misshaped, not finite or beyond the
 * range of the storage type, or if the folder holds a checkpoint in shards.
 * @throws FileError if the folder cannot be written to.
 */
export async function saveCheckpoint(
  folder: Folder,
  config: LoopLMConfig,
  weights: ModelWeights,
  { dtype, extraFiles = {} }: SaveCheckpointOptions,
): Promise<void> {
  const specs = parameterSpecs(config);
  checkWeights(config, weights);
  if (await folder.exists(INDEX_FILE)) {
    throw new CheckpointError(
      `${folder.path} already holds a checkpoint in shards (${INDEX_FILE}). Save to another folder.`,
    );
  }
  for (const [name, text] of Object.entries(extraFiles)) await folder.write(name, text);
  const tensors = specs.map(({ hfName, shape }) => ({
    name: hfName,
    shape,
    dtype: STORED[dtype].tensor,
    data: weights.get(hfName)!,
  }));
  // Readers of the Hugging Face world refuse files without this entry.
  await folder.write(SINGLE_FILE, safetensorsChunks(tensors, { format: 'pt' }));
  const json = modelConfigToJson(config, STORED[dtype].config);
  await folder.write(CONFIG_FILE, `${JSON.stringify(json, null, 2)}\n`);
}

interface StoredTensor {
  readonly file: string;
  readonly entry: SafetensorsEntry;
  readonly reader: SafetensorsReader;
}

type StoredTensors = ReadonlyMap<string, StoredTensor>;

/** All tensors of the folder by name; opened files are added to `sources` for the caller to close. */
async function openTensors(folder: Folder, sources: ByteSource[]): Promise<StoredTensors> {
  const [hasSingle, hasIndex] = [await folder.exists(SINGLE_FILE), await folder.exists(INDEX_FILE)];
  if (hasSingle && hasIndex) {
    throw new CheckpointError(
      `${folder.path} has both ${SINGLE_FILE} and ${INDEX_FILE}; a checkpoint has one of them. Remove the one that is out of date.`,
    );
  }
  const shardOf = hasIndex ? await readIndex(folder) : undefined;
  const tensors = new Map<string, StoredTensor>();
  for (const file of shardOf ? new Set(shardOf.values()) : [SINGLE_FILE]) {
    const source = await folder.open(file);
    sources.push(source);
    const reader = await openSafetensors(source);
    for (const [name, entry] of reader.entries) {
      if (shardOf && shardOf.get(name) !== file) {
        failIndex(`${file} holds the tensor ${quote(name)}, which the index does not place there`);
      }
      tensors.set(name, { file, entry, reader });
    }
  }
  for (const [name, file] of shardOf ?? []) {
    if (!tensors.has(name)) failIndex(`the tensor ${quote(name)} is not in ${file}`);
  }
  return tensors;
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Which shard holds each tensor. Shards must be plain file names: an index cannot reach elsewhere. */
async function readIndex(folder: Folder): Promise<ReadonlyMap<string, string>> {
  const parsed = indexSchema.safeParse(await readJson(folder, INDEX_FILE));
  if (!parsed.success) failIndex('it has no weight_map from tensor names to file names');
  const shardOf = new Map(Object.entries(parsed.data.weight_map));
  for (const file of new Set(shardOf.values())) {
    if (!/^[\w-][\w.-]*\.safetensors$/.test(file)) {
      failIndex(`the shard ${quote(file)} is not a plain name that ends in .safetensors`);
    }
    if (!(await folder.exists(file))) failIndex(`the shard ${quote(file)} is missing`);
  }
  return shardOf;
}

function failIndex(fault: string): never {
  throw new CheckpointError(
    `${INDEX_FILE} and the weight files do not agree: ${fault}. Copy or download the checkpoint again.`,
  );
}

function checkNames(
  folder: Folder,
  config: LoopLMConfig,
  specs: readonly ParameterSpec[],
  tensors: StoredTensors,
): void {
  const expected = new Set(specs.map(({ hfName }) => hfName));
  if (config.tieWordEmbeddings) expected.add(HEAD_NAME);
  const missing = specs.filter(({ hfName }) => !tensors.has(hfName)).map(({ hfName }) => hfName);
  if (missing.length > 0) {
    throw new CheckpointError(
      `The checkpoint in ${folder.path} lacks ${list(missing)}; its config.json needs ${specs.length} tensors. Check that config and weights belong together.`,
    );
  }
  const extra = [...tensors.keys()].filter((name) => !expected.has(name));
  if (extra.length > 0) {
    throw new CheckpointError(
      `The checkpoint in ${folder.path} holds ${list(extra)}, which its config.json has no place for. Check that config and weights belong together.`,
    );
  }
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 3).map(quote).join(', ');
  return names.length > 3 ? `${shown} and ${names.length - 3} more tensors` : shown;
}

function checkTensor({ hfName, shape }: ParameterSpec, { file, entry }: StoredTensor): void {
  if (entry.shape.length !== shape.length || entry.shape.some((size, i) => size !== shape[i])) {
    throw new CheckpointError(
      `${file}: ${hfName} has shape [${entry.shape.slice(0, 8).join(', ')}]; config.json needs [${shape.join(', ')}]. Check that config and weights belong together.`,
    );
  }
  if (!isWeightDtype(entry.dtype)) {
    throw new CheckpointError(
      `${file}: ${hfName} has type ${entry.dtype}; looplm reads weights in F32, BF16 or F16. Convert the checkpoint.`,
    );
  }
}

function isWeightDtype(dtype: string): boolean {
  return Object.values(STORED).some(({ tensor }) => tensor === dtype);
}

function weightDtype(dtypes: ReadonlySet<string>): WeightDtype | 'mixed' {
  if (dtypes.size > 1) return 'mixed';
  if (dtypes.has('BF16')) return 'bf16';
  return dtypes.has('F16') ? 'f16' : 'f32';
}

function locate({ file, entry: { dtype, byteOffset } }: StoredTensor): TensorLocation {
  const single = weightDtype(new Set([dtype]));
  assert(single !== 'mixed', 'one tensor has one type');
  return { file, dtype: single, byteOffset };
}

function failConverted(folder: Folder, { body }: ModelFormat): never {
  throw new UnsupportedError(
    `${folder.path} holds a converted model (${describeFormat(body)}); this needs the checkpoint that it was converted from. Give the folder of that one.`,
  );
}

async function readFinite(tensors: StoredTensors, hfName: string): Promise<Float32Array> {
  const tensor = tensors.get(hfName);
  if (tensor === undefined) {
    throw new CheckpointError(`The checkpoint has no tensor ${quote(hfName)}.`);
  }
  const values = await tensor.reader.readFloat32(hfName);
  checkFinite(`${tensor.file}: ${hfName}`, values);
  return values;
}

function checkFinite(what: string, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new CheckpointError(
      `${what} holds ${values[i]} at element ${i}; weights must be finite. Use a checkpoint from before the damage.`,
    );
  }
}

/**
 * Some writers store a tied head all the same. It is not used, as by the version of transformers that
 * the released Ouro code needs; one that differs is worth a word.
 */
async function spareHeadNotes(readTensor: OpenCheckpoint['readTensor']): Promise<string[]> {
  const embedding = await readTensor(EMBEDDING_NAME);
  const head = await readTensor(HEAD_NAME);
  if (head.length === embedding.length && head.every((value, i) => value === embedding[i])) {
    return [];
  }
  return [
    `config.json ties the head to the embedding, and the weights hold another ${HEAD_NAME}: the embedding is used, as by transformers 4 (5 would use ${HEAD_NAME}). Set tie_word_embeddings to false to use ${HEAD_NAME}.`,
  ];
}

/** @throws CheckpointError if weights are missing, superfluous, misshaped or not finite */
export function checkWeights(config: LoopLMConfig, weights: ModelWeights): void {
  checkParameters(parameterSpecs(config), weights);
}

/** The same for any parameters. */
export function checkParameters(specs: readonly ParameterSpec[], weights: ModelWeights): void {
  const expected = new Set(specs.map(({ hfName }) => hfName));
  const extra = [...weights.keys()].filter((name) => !expected.has(name));
  if (extra.length > 0) {
    throw new CheckpointError(
      `The weights hold ${list(extra)}, which the config has no place for. Give the weights of this model.`,
    );
  }
  for (const { hfName, shape } of specs) {
    const values = weights.get(hfName);
    if (values?.length !== elementCount(shape)) {
      const got = values === undefined ? 'missing' : `${values.length} elements long`;
      throw new CheckpointError(
        `The weight ${hfName} is ${got}; the config needs shape [${shape.join(', ')}]. Give the weights of this model.`,
      );
    }
    checkFinite(`The weight ${hfName}`, values);
  }
}
