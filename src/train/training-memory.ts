/**
 * What training takes in memory, from the shapes alone, so that a run which does not fit is refused
 * before anything is made.
 *
 * The factors were fitted to the resident size of eleven runs on the CPU, of 0.7M to 21M parameters,
 * which they give within a tenth. It knows no device.
 */
import type { LoopLMConfig } from '../model/index.js';
import { elementCount, parameterSpecs } from '../model/index.js';
import type { ObjectiveOptions } from './objective-graph.js';
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
/** Loops whose layers exist together where they are computed again, with their gradients. */
const RECOMPUTED_LOOPS = 1.7;

/** An estimate for a micro-batch of `rows` x `length` positions. */
export function trainingMemory(
  config: LoopLMConfig,
  { rows, length, recompute = 'none' }: Omit<ObjectiveOptions, 'objective'>,
): TrainingMemory {
  const { hiddenSize, intermediateSize, numAttentionHeads, numHiddenLayers, vocabSize } = config;
  const { numLoops } = config;
  const numParameters = parameterSpecs(config).reduce(
    (sum, { shape }) => sum + elementCount(shape),
    0,
  );
  const layer = STREAM * hiddenSize + MLP * intermediateSize + SCORES * numAttentionHeads * length;
  const loopsKept = recompute === 'loop' ? Math.min(RECOMPUTED_LOOPS, numLoops) : numLoops;
  const token = loopsKept * numHiddenLayers * layer + logitVectors(numLoops)[recompute] * vocabSize;
  const stateBytes = FLOAT_BYTES * STATE * numParameters;
  const batchBytes = FLOAT_BYTES * rows * length * token;
  return { stateBytes, batchBytes, totalBytes: PROCESS_BYTES + stateBytes + batchBytes };
}

/** The same for a stage, whose batches say their size: the most that one of its updates takes. */
export function stageMemory({ model, rows = 1, length = 1, recompute }: Stage): TrainingMemory {
  return trainingMemory(model, { rows, length, recompute });
}
