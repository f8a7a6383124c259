/**
 * What training takes in memory, from the shapes alone, so that a run which does not fit is refused
 * before anything is made.
 *
 * The factors were fitted to the resident size of eleven runs on the CPU, of 0.7M to 21M parameters,
 * which they give within a tenth. It knows no device.
 */
import type { LoopLMConfig, LoraSettings, ModelFormat, ParameterSpec } from '../model/index.js';
import { convertedLayout, elementCount, parameterSpecs } from '../model/index.js';
import type { ObjectiveOptions } from './objective-graph.js';
import { ownSpecs } from './run-parameters.js';
import type { Stage } from './stages.js';

export interface TrainingMemory {
  /** Weights, gradients and moments, and their copies on the way to and from the device. */
  readonly stateBytes: number;
  /** What the loops of a batch keep for the backward pass, and its logits. */
  readonly batchBytes: number;
  /** With those of the process. */
  readonly totalBytes: number;
}

const FLOAT_BYTES = 4;
/** Node.js and ONNX Runtime without programs. */
const PROCESS_BYTES = 180e6;
/** Floats for each parameter. */
const STATE = 20;
/** Floats of a layer in one loop for each token: widths of the stream, widths of the MLP, and scores. */
const [STREAM, MLP, SCORES] = [22, 9, 2.5];
/** Vectors of logits of a token that exist together, by what is computed again. */
const logitVectors = (numLoops: number) => ({ none: 3 * numLoops, loop: 3 });
/** Bytes for each weight of a checkpoint that an adapter is beside: here and on the device. */
const BESIDE_BYTES = 8;
/** Some rows of a matrix as float32, and what is made of them on the way. */
const WIDENED_BYTES = 80e6;
/** Loops whose layers exist together where they are computed again, with their gradients. */
const RECOMPUTED_LOOPS = 1.7;

export interface TrainingMemoryOptions extends Pick<
  ObjectiveOptions,
  'rows' | 'length' | 'recompute'
> {
  readonly lora?: LoraSettings | undefined;
  /** Of the weights that an adapter is beside, if they are of a converted model. */
  readonly format?: ModelFormat | undefined;
}

/** An estimate for a micro-batch of `rows` x `length` positions. */
export function trainingMemory(
  config: LoopLMConfig,
  { rows, length, recompute = 'none', lora, format }: TrainingMemoryOptions,
): TrainingMemory {
  const { hiddenSize, intermediateSize, numAttentionHeads, numHiddenLayers, vocabSize } = config;
  const { numLoops } = config;
  const ownParameters = countOf(ownSpecs(config, lora));
  const layer = STREAM * hiddenSize + MLP * intermediateSize + SCORES * numAttentionHeads * length;
  const loopsKept = recompute === 'loop' ? Math.min(RECOMPUTED_LOOPS, numLoops) : numLoops;
  const token = loopsKept * numHiddenLayers * layer + logitVectors(numLoops)[recompute] * vocabSize;
  const frozen = lora ? frozenBytes(config, format) : 0;
  const stateBytes = FLOAT_BYTES * STATE * ownParameters + frozen;
  const batchBytes = FLOAT_BYTES * rows * length * token;
  return { stateBytes, batchBytes, totalBytes: PROCESS_BYTES + stateBytes + batchBytes };
}

const countOf = (specs: readonly ParameterSpec[]) =>
  specs.reduce((sum, { shape }) => sum + elementCount(shape), 0);

/** What weights take that stay as they are. */
function frozenBytes(config: LoopLMConfig, format: ModelFormat | undefined): number {
  if (format) return convertedLayout(config, format).size + WIDENED_BYTES;
  return BESIDE_BYTES * countOf(parameterSpecs(config));
}

/** The same for a stage, whose batches say their size: the most that one of its updates takes. */
export function stageMemory(
  { model, rows = 1, length = 1, recompute, lora }: Stage,
  format?: ModelFormat,
): TrainingMemory {
  return trainingMemory(model, { rows, length, recompute, lora, format });
}
