/**
 * What training takes in memory, from the shapes alone, so that a run which does not fit is refused
 * before anything is made.
 *
 * The factors were fitted to the peak resident size of runs on the CPU, each in a process of its own, of
 * 0.3M to 50M parameters, with and without what is told below. They know no device.
 */
import type { LoopLMConfig, ModelFormat, ParameterSpec } from '../model/index.js';
import {
  attentionBlock,
  convertedLayout,
  elementCount,
  keepsAttentionWeights,
  parameterSpecs,
} from '../model/index.js';
import { pieceRows } from './lanes.js';
import type { ObjectiveOptions } from './objective-graph.js';
import type { Optimizer, OptimizerSettings } from './optimizers/index.js';
import { optimizerOf } from './optimizers/index.js';
import { chunkRows } from './readout-rows.js';
import type { Trains } from './run-parameters.js';
import { ownSpecs, trainedParameters } from './run-parameters.js';
import type { Stage } from './stages.js';
import { isGate } from './trainable.js';

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
const PROCESS_BYTES = 222e6;
/**
 * Floats for each parameter that is trained, for each number that the optimizer keeps of it, for each
 * of both of the largest parameter that is applied as a whole, and for each element of embedding or head.
 */
const [TRAINED, SLOT, APPLIED, TABLE] = [6.9, 1.35, 1.5, 1.2];
/** On each further device: floats for each parameter, and more for each that is trained. */
const [COPIED, SUMMED] = [1, 3.7];
/** Floats of a layer in one loop for each token: widths of the stream and of the MLP. */
const [STREAM, MLP] = [10.2, 5.9];
/** Floats of a layer in one loop for each attention weight, those that are kept or else those of one block of queries. */
const WEIGHT = 1.45;
/** Of a chunk, as many times as large as its logits; the same where workspaces are planned. */
const [LOGIT, PLANNED_LOGIT] = [3.4, 6.8];
/** How many times as large the rest is where workspaces are planned, which they are up to a size. */
const [PLANNED, PLANNED_BYTES] = [1.96, 640e6];
/** Part of a layer in one loop that lives at a time where nothing is kept. */
const PASSED = 0.6;
/** Bytes for each weight that an adapter is beside, here and on the device; and for others that stay, which are saved, too. */
const [BESIDE_BYTES, FROZEN_BYTES] = [8, 14];
/** Some rows of a matrix as float32, and what is made of them on the way. */
const WIDENED_BYTES = 80e6;

export interface TrainingMemoryOptions extends Trains {
  readonly rows: number;
  readonly length: number;
  readonly recompute?: ObjectiveOptions['recompute'] | undefined;
  readonly optimizer: OptimizerSettings | Optimizer;
  /** Devices that compute gradients side by side. Default 1. */
  readonly numLanes?: number;
  /** Of the weights that an adapter is beside, if they are of a converted model. */
  readonly format?: ModelFormat | undefined;
}

/** An estimate for micro-batches of `rows` x `length` positions. */
export function trainingMemory(
  config: LoopLMConfig,
  options: TrainingMemoryOptions,
): TrainingMemory {
  const { rows, length, recompute, optimizer, numLanes = 1, lora, format } = options;
  const trained = trainedParameters(config, options);
  const { slots, rule } = optimizerOf(optimizer);
  const slotCountOf = (specs: readonly ParameterSpec[]) =>
    specs.reduce((sum, spec) => sum + slots(spec).length * elementCount(spec.shape), 0);
  const applied = trained
    .filter((spec) => !rule(spec).isElementwise)
    .map((spec) => countOf([spec]) + slotCountOf([spec]));
  const piece = lora ? undefined : pieceRows({ rows, length }, numLanes, config);
  const lanes = piece === undefined ? 1 : numLanes;
  const floats =
    TRAINED * countOf(trained) +
    SLOT * slotCountOf(trained) +
    APPLIED * Math.max(0, ...applied) +
    TABLE * countOf(trained.filter(isTable)) +
    (lanes - 1) * (COPIED * countOf(ownSpecs(config, lora)) + SUMMED * countOf(trained));
  const frozen = lora
    ? besideBytes(config, format)
    : FROZEN_BYTES * (countOf(parameterSpecs(config)) - countOf(trained));
  const stateBytes = FLOAT_BYTES * floats + frozen;
  const size = { rows: piece ?? rows, length, recompute };
  const batchBytes = lanes * (trained.every(isGate) ? passOf(config, size) : batchOf(config, size));
  return { stateBytes, batchBytes, totalBytes: PROCESS_BYTES + stateBytes + batchBytes };
}

interface PieceSize extends Pick<ObjectiveOptions, 'rows' | 'length'> {
  readonly recompute?: ObjectiveOptions['recompute'] | undefined;
}

/** What a device takes for a pass that does not come back through layers: one of them at a time. */
function passOf(config: LoopLMConfig, size: PieceSize): number {
  const layer = { ...config, numHiddenLayers: 1, numLoops: 1 };
  return PASSED * keptBytes(layer, size) + logitsBytes(config, size);
}

/** What a device takes for a pass over some rows, and back. */
function batchOf(config: LoopLMConfig, size: PieceSize): number {
  if (plansWorkspace(config, size)) return plannedBytes(config, size);
  return keptBytes(config, size) + LOGIT * logitsBytes(config, size);
}

/** Whether the values of a pass are planned as one block: faster, and larger. */
export function plansWorkspace(config: LoopLMConfig, size: PieceSize): boolean {
  return plannedBytes(config, size) <= PLANNED_BYTES;
}

function plannedBytes(config: LoopLMConfig, size: PieceSize): number {
  return PLANNED * keptBytes(config, size) + PLANNED_LOGIT * logitsBytes(config, size);
}

/** What a pass over some rows keeps for its way back. */
function keptBytes(config: LoopLMConfig, { rows, length, recompute }: PieceSize): number {
  const { hiddenSize, intermediateSize, numAttentionHeads, numHiddenLayers } = config;
  const recomputesLoops = recompute === 'loop';
  const layers = numHiddenLayers * (recomputesLoops ? 1 : config.numLoops);
  const keepsWeights = keepsAttentionWeights(config, { rows, length, recomputesLoops });
  const block = Math.min(length, attentionBlock(length));
  const keys = keepsWeights ? (length + block) / 2 : block;
  const layer = STREAM * hiddenSize + MLP * intermediateSize + WEIGHT * numAttentionHeads * keys;
  return FLOAT_BYTES * rows * length * layers * layer;
}

/** The logits of a chunk. */
function logitsBytes({ vocabSize }: LoopLMConfig, { rows, length }: PieceSize): number {
  return FLOAT_BYTES * chunkRows(rows * length, vocabSize) * vocabSize;
}

const countOf = (specs: readonly ParameterSpec[]) =>
  specs.reduce((sum, { shape }) => sum + elementCount(shape), 0);

const isTable = ({ kind }: ParameterSpec) => kind === 'embedding' || kind === 'head';

/** What weights take that an adapter is beside. */
function besideBytes(config: LoopLMConfig, format: ModelFormat | undefined): number {
  const specs = parameterSpecs(config);
  const tables = FLOAT_BYTES * TABLE * countOf(specs.filter(isTable));
  if (format) return convertedLayout(config, format).size + WIDENED_BYTES + tables;
  return BESIDE_BYTES * countOf(specs) + tables;
}

/** The same for a stage, whose batches say their size: the most that one of its updates takes. */
export function stageMemory(
  stage: Stage,
  more: Pick<TrainingMemoryOptions, 'format' | 'numLanes'> = {},
): TrainingMemory {
  const { model, loopCounts, rows = 1, length = 1 } = stage;
  const numLoops = Math.max(...loopCounts);
  return trainingMemory({ ...model, numLoops }, { ...stage, ...more, rows, length });
}
