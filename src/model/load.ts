/**
 * Opens a model folder, whatever form its weights have: to generate with them, to train an adapter beside
 * them, or as float32 numbers.
 */
import type { Folder } from '../util/folder.js';
import type { SafetensorsReader } from '../util/safetensors.js';
import { openSafetensors } from '../util/safetensors.js';
import type { LoadedCheckpoint, LoadOptions } from './checkpoint.js';
import { loadCheckpoint, readModelConfig } from './checkpoint.js';
import type { ParsedModelConfig } from './config-json.js';
import { CONVERTED_WEIGHTS, openConverted } from './converted.js';
import { loadGate } from './gates.js';
import type { Adapter } from './lora/index.js';
import { besideWeights, loadAdapter, mergeAdapter } from './lora/index.js';
import type { ModelWeights, ParameterSpec } from './params.js';
import { parameterSpecs } from './params.js';
import { dequantizeBlocks } from './quantize.js';
import type { ModelFormat } from './weight-format.js';
import { scalesName } from './weight-format.js';
import type { WeightFile, WeightSource } from './weights.js';
import { fileWeights, formatOf } from './weights.js';

/** A model whose weights are in memory, or stay in the file of a converted model. */
export interface LoadedWeights extends ParsedModelConfig {
  readonly weights: ModelWeights | WeightSource;
}

export interface LoadWeightsOptions extends LoadOptions {
  /** Folder of an adapter: merged into weights in memory, beside those of a converted model. */
  readonly adapter?: Folder | undefined;
  /** Name in the folder's file of gates: the exit gate that takes the place of the weights' and an adapter's. */
  readonly gate?: string | undefined;
}

/** @throws LoopLMError as `loadCheckpoint`, `openConverted`, `loadAdapter` and `loadGate` do */
export async function loadWeights(
  folder: Folder,
  { signal, parsed: known, ...changes }: LoadWeightsOptions = {},
): Promise<LoadedWeights> {
  const parsed = known ?? (await readModelConfig(folder));
  const changed = await loadChanges(folder, parsed, changes);
  if (!parsed.format) {
    const loaded = await loadCheckpoint(folder, { signal, parsed });
    if (!changed) return loaded;
    return { ...loaded, weights: mergeAdapter(parsed.config, loaded.weights, changed) };
  }
  const { tensors, ...model } = await openConverted(folder, { parsed });
  const base = fileWeights({ folder: folder.path, format: model.format, tensors });
  return { ...model, weights: changed ? besideWeights(base, changed) : base };
}

/** What takes the place of weights, or is added to them. */
async function loadChanges(
  folder: Folder,
  { config }: ParsedModelConfig,
  { adapter: from, gate: name }: Pick<LoadWeightsOptions, 'adapter' | 'gate'>,
): Promise<Adapter | undefined> {
  const adapter = from && (await loadAdapter(from, config));
  if (name === undefined) return adapter;
  const gate = await loadGate(folder, config, name);
  const { modules = [], weights = [] } = adapter ?? {};
  return { modules, weights: new Map([...weights, ...gate]) };
}

/** What an adapter is trained beside. */
export interface AdapterBase extends ParsedModelConfig {
  /** Of a checkpoint all weights; of a converted model those of its exit gate, if it has one. */
  readonly weights: ModelWeights;
  /** The matrices of a converted model, which stay where they are. */
  readonly file?: WeightFile;
}

/** @throws LoopLMError as `loadWeights` does */
export async function loadAdapterBase(
  folder: Folder,
  { signal, parsed: known }: LoadOptions = {},
): Promise<AdapterBase> {
  const parsed = known ?? (await readModelConfig(folder));
  if (!parsed.format) return loadCheckpoint(folder, { signal, parsed });
  const { tensors, ...model } = await openConverted(folder, { parsed });
  const file = { folder: folder.path, format: model.format, tensors };
  const gate = ({ kind }: ParameterSpec) => kind === 'gateWeight' || kind === 'gateBias';
  return { ...model, file, weights: await readConverted(folder, parsed, { signal, which: gate }) };
}

/** A model as float32 in memory. */
export interface FloatModel extends ParsedModelConfig {
  readonly weights: ModelWeights;
  /** Storage type of a checkpoint. */
  readonly dtype?: LoadedCheckpoint['dtype'];
}

/**
 * The weights of any model as float32 in memory; those of a converted one as it stands for them.
 *
 * @throws LoopLMError as `loadWeights` does
 */
export async function loadFloats(
  folder: Folder,
  { signal, parsed: known }: LoadOptions = {},
): Promise<FloatModel> {
  const parsed = known ?? (await readModelConfig(folder));
  if (!parsed.format) return loadCheckpoint(folder, { signal, parsed });
  await openConverted(folder, { parsed });
  return { ...parsed, weights: await readConverted(folder, parsed, { signal }) };
}

async function readConverted(
  folder: Folder,
  { config, format }: ParsedModelConfig,
  {
    signal,
    which = () => true,
  }: Pick<LoadOptions, 'signal'> & { readonly which?: (spec: ParameterSpec) => boolean },
): Promise<ModelWeights> {
  const source = await folder.open(CONVERTED_WEIGHTS);
  try {
    const reader = await openSafetensors(source);
    const weights = new Map<string, Float32Array>();
    for (const spec of parameterSpecs(config)) {
      if (!which(spec)) continue;
      signal?.throwIfAborted();
      weights.set(spec.hfName, await readFloats(reader, spec, format!));
    }
    return weights;
  } finally {
    await source.close();
  }
}

async function readFloats(
  reader: SafetensorsReader,
  spec: ParameterSpec,
  model: ModelFormat,
): Promise<Float32Array> {
  const { hfName, shape } = spec;
  const format = formatOf(spec, model);
  if (format.kind === 'float') return reader.readFloat32(hfName);
  const [outputs, inputs] = shape as readonly [number, number];
  const packed = (await reader.readRaw(hfName)) as Uint8Array;
  const scales = await reader.readFloat32(scalesName(hfName));
  return dequantizeBlocks({ packed, scales }, { outputs, inputs, format });
}
