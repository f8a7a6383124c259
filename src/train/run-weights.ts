/**
 * Where the graphs of a run have their weights from: inputs that are bound to buffers, but for matrices
 * that stay in the file of a converted model while an adapter beside them is trained.
 */
import type { Tensor } from '../graph/index.js';
import { input } from '../graph/index.js';
import type {
  LoopLMConfig,
  LoraSettings,
  ParameterSpec,
  WeightFile,
  WeightSource,
} from '../model/index.js';
import {
  adaptedWeights,
  fileWeights,
  frozenWeights,
  inputWeights,
  loraModules,
  once,
  parameterSpecs,
} from '../model/index.js';
import { ownSpecs } from './run-parameters.js';

/** What stands still and what is beside it. */
export interface RunModel {
  /** An adapter, which is trained in place of the weights of the model. */
  readonly lora?: LoraSettings | undefined;
  /** The weights that it is beside, if they are those of a converted model. */
  readonly file?: WeightFile | undefined;
}

/** The weights of a graph, and the inputs that stand for those of the run. */
export interface RunWeights {
  readonly source: WeightSource;
  own(spec: ParameterSpec): Tensor;
}

/**
 * @param purpose - whether gradients flow through the graphs, or an engine generates with them
 */
export function runWeights(
  config: LoopLMConfig,
  { lora, file }: RunModel,
  purpose: 'train' | 'generate' = 'train',
): RunWeights {
  const inputs = inputWeights();
  const own = once(({ hfName, shape }) => input(hfName, 'f32', shape));
  if (!lora) return { source: inputs, own: (spec) => inputs.table(spec) };
  const names = new Set(ownSpecs(config, lora).map(({ hfName }) => hfName));
  const files = purpose === 'train' ? frozenWeights : fileWeights;
  const base = file ? files(file) : inputs;
  const isOwn = ({ hfName }: ParameterSpec) => names.has(hfName);
  const source = adaptedWeights(base, loraModules(config, lora), own, isOwn);
  return { source: { ...source, rowMultiple: 2 }, own };
}

/** The parameters that are inputs of the graphs of a run. */
export function residentSpecs(
  config: LoopLMConfig,
  { lora, file }: RunModel,
): readonly ParameterSpec[] {
  const own = ownSpecs(config, lora);
  if (!lora || file) return own;
  const names = new Set(own.map(({ hfName }) => hfName));
  return [...own, ...parameterSpecs(config).filter(({ hfName }) => !names.has(hfName))];
}
