/**
 * Weights as an engine takes them: compiled into its programs, mapped from a file, or in buffers that
 * stay on the device, where a trainer may change them.
 */
import { ConfigError } from '../../errors.js';
import type { Graph } from '../../graph/index.js';
import type { LoopLMConfig, ModelWeights, WeightSource } from '../../model/index.js';
import { inputWeights, parameterSpecs, weightSource } from '../../model/index.js';
import type { CompileOptions, Device, ResidentWeights } from '../../runtime/index.js';

/** Where the programs of a model have their weights from. */
export interface EngineWeights extends WeightSource {
  /** The buffers that the inputs of a program are bound to, by their names. */
  readonly resident?: ResidentWeights;
}

/**
 * What programs on a device are compiled from.
 *
 * @throws ConfigError if the weights are on another device, or do not fit the model
 */
export function engineWeights(
  weights: ModelWeights | WeightSource | ResidentWeights,
  device: Device,
  config: LoopLMConfig,
): EngineWeights {
  if (!('buffers' in weights)) return weightSource(weights);
  if (weights.device !== device) {
    throw new ConfigError(
      'weights',
      'The weights are in buffers of another device. Use the device that has them, or download them.',
    );
  }
  for (const { hfName, shape } of parameterSpecs(config)) {
    const buffer = weights.buffers.get(hfName);
    if (buffer?.dtype === 'f32' && buffer.dims.join() === shape.join()) continue;
    const got = buffer ? `is ${buffer.dtype} [${buffer.dims.join(', ')}]` : 'is missing';
    throw new ConfigError(
      'weights',
      `The weight ${hfName} ${got}; the model needs f32 [${shape.join(', ')}]. Take weights of this model.`,
    );
  }
  return { ...inputWeights(), resident: weights };
}

/** How a graph of these weights is compiled. */
export function weightOptions(graph: Graph, { folder, resident }: EngineWeights): CompileOptions {
  const fromFile = folder === undefined ? {} : { weightsFolder: folder, spins: true };
  if (!resident) return fromFile;
  const names = graph.inputs.map(({ attributes }) => attributes['name'] as string);
  const bound = names.flatMap((name) => {
    const buffer = resident.buffers.get(name);
    return buffer ? [[name, buffer] as const] : [];
  });
  return { ...fromFile, bound: Object.fromEntries(bound) };
}
