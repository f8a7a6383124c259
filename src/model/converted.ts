/**
 * Converted models: config.json with a `quantization_config`, and one model.safetensors whose layout
 * follows from the two alone.
 *
 * Writer and reader share `convertedLayout`, so a file is right if its header says what the layout
 * does. The head is always stored, a tied one too: it has a format of its own. It does not read or
 * write values. Source: formats of weight-format.ts.
 */
import { CheckpointError } from '../errors.js';
import type { FileRange } from '../graph/index.js';
import type { Folder } from '../util/folder.js';
import { quote } from '../util/quote.js';
import type { PlannedTensor, SafetensorsEntry, SafetensorsLayout } from '../util/safetensors.js';
import { elementBytes, layOutSafetensors, openSafetensors } from '../util/safetensors.js';
import type { OpenOptions } from './checkpoint.js';
import { readModelConfig } from './checkpoint.js';
import type { LoopLMConfig } from './config.js';
import type { ParsedModelConfig } from './config-json.js';
import type { ParameterSpec } from './params.js';
import { elementCount, headSpec, parameterSpecs } from './params.js';
import { blockBytes, numBlocksOf } from './quantize.js';
import type { ModelFormat } from './weight-format.js';
import { scalesName } from './weight-format.js';
import { formatOf } from './weights.js';

/** The one weight file of a converted model. */
export const CONVERTED_WEIGHTS = 'model.safetensors';

/** A tensor of a converted model, and where its values lie. */
export interface ConvertedTensor {
  readonly dtype: 'F32' | 'F16' | 'U8';
  readonly shape: readonly number[];
  readonly range: FileRange;
}

/** A checked converted model; its values have not been read. */
export interface ConvertedModel extends ParsedModelConfig {
  readonly format: ModelFormat;
  /** By name in the file: parameters, and `scalesName` of those in blocks. */
  readonly tensors: ReadonlyMap<string, ConvertedTensor>;
}

/**
 * Checks a converted model without reading its values.
 *
 * @throws ConfigError or UnsupportedError for a bad config (see `parseModelConfig`).
 * @throws CheckpointError if the model was not converted, or its weight file is damaged or has another
 *   layout than its config says.
 * @throws FileError if a file is missing or unreadable.
 */
export async function openConverted(
  folder: Folder,
  { parsed: known }: OpenOptions = {},
): Promise<ConvertedModel> {
  const { format, ...parsed } = known ?? (await readModelConfig(folder));
  if (format === undefined) {
    throw new CheckpointError(
      `${folder.path} holds a model that was not converted: its config.json has no quantization_config. Run looplm convert.`,
    );
  }
  const source = await folder.open(CONVERTED_WEIGHTS);
  try {
    const { entries } = await openSafetensors(source);
    const planned = convertedLayout(parsed.config, format).entries;
    checkEntries(source.name, planned, entries);
    const tensors = planned.map(({ name, dtype, shape }): [string, ConvertedTensor] => {
      const { byteOffset: offset, byteLength } = entries.get(name)!;
      const range = { file: CONVERTED_WEIGHTS, offset, byteLength };
      return [name, { dtype: dtype as ConvertedTensor['dtype'], shape, range }];
    });
    return { ...parsed, format, tensors: new Map(tensors) };
  } finally {
    await source.close();
  }
}

/** Every parameter of a converted model: those of the model, and the head if it is tied. */
export function convertedParameters(config: LoopLMConfig): readonly ParameterSpec[] {
  const specs = parameterSpecs(config);
  return config.tieWordEmbeddings ? [...specs, headSpec(config)] : specs;
}

/** Where a tensor should begin in the file, for programs that map it into memory. */
export const TENSOR_ALIGNMENT = 64;

/**
 * The layout of the weight file. Within one element type tensors have the order of the parameters, so
 * that matrices which read the same input lie one behind the other, and so do their scales.
 *
 * Every tensor begins at a multiple of `TENSOR_ALIGNMENT`, but for those behind a tensor whose length
 * is none: such tensors stand at the end of the file, wide types first, aligned to their elements.
 */
export function convertedLayout(config: LoopLMConfig, format: ModelFormat): SafetensorsLayout {
  const groups = new Map<string, PlannedTensor[]>();
  for (const spec of convertedParameters(config)) {
    for (const tensor of storedTensors(spec, format)) {
      const key = `${tensor.dtype} ${groupOf(spec)}`;
      groups.set(key, [...(groups.get(key) ?? []), tensor]);
    }
  }
  const isRagged = (group: readonly PlannedTensor[]) =>
    group.some((tensor) => byteLengthOf(tensor) % TENSOR_ALIGNMENT !== 0);
  const ordered = [...groups.values()].toSorted(
    (a, b) =>
      Number(isRagged(a)) - Number(isRagged(b)) ||
      elementBytes(b[0]!.dtype) - elementBytes(a[0]!.dtype),
  );
  return layOutSafetensors(ordered.flat(), { format: 'pt' }, TENSOR_ALIGNMENT);
}

/** The tensors that hold one parameter. */
function storedTensors(spec: ParameterSpec, model: ModelFormat): PlannedTensor[] {
  const { hfName: name, shape } = spec;
  const format = formatOf(spec, model);
  if (format.kind === 'float') {
    return [{ name, dtype: format.dtype === 'f16' ? 'F16' : 'F32', shape }];
  }
  const [outputs, inputs] = shape as readonly [number, number];
  const blocks = [outputs, numBlocksOf(inputs, format)];
  return [
    { name, dtype: 'U8', shape: [...blocks, blockBytes(format)] },
    { name: scalesName(name), dtype: 'F32', shape: blocks },
  ];
}

/** Parameters with the same group are multiplied with the same input and stay together. */
function groupOf({ name }: ParameterSpec): string {
  return name.replace(/\.[qkv]Proj$/, '.qkv').replace(/\.(gate|up)Proj$/, '.gateUp');
}

function byteLengthOf({ dtype, shape }: PlannedTensor): number {
  return elementCount(shape) * elementBytes(dtype);
}

/** The tensors of a file must be those of the layout, in its order. */
function checkEntries(
  file: string,
  planned: readonly SafetensorsEntry[],
  entries: ReadonlyMap<string, SafetensorsEntry>,
): void {
  const found = [...entries.values()];
  const describe = (entry: SafetensorsEntry | undefined) =>
    entry === undefined
      ? 'nothing'
      : `${quote(entry.name)} as ${entry.dtype} [${entry.shape.slice(0, 8).join(', ')}]`;
  for (let i = 0; i < Math.max(planned.length, found.length); i++) {
    const [got, needed] = [describe(found[i]), describe(planned[i])];
    if (got === needed) continue;
    throw new CheckpointError(
      `${file} holds ${got} as tensor ${i + 1}; the quantization_config of its config.json needs ${needed}. Check that config and weights belong together, or convert the model again.`,
    );
  }
}
