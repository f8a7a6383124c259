/**
 * What a model computes at every loop, at every labelled position of a set of documents.
 *
 * The one idea: under the `per-loop` KV policy the loops of a token do not depend on where other
 * tokens exit. So one full-depth pass tells the result of every exit policy at every threshold; the
 * rest of this folder only looks at these readings. They come from the engine that generates, in which
 * no document's numbers depend on its company: what is read of a set is what each document gives alone.
 * Knows no task and no policy.
 */
import type { TrainingDocument } from '../data/index.js';
import type { Engine, Trace, TraceOptions } from '../engine/index.js';
import { argmax, klDivergence, logSumExp } from '../engine/index.js';
import { CapacityError, ShapeError } from '../errors.js';
import type { LoopLMConfig } from '../model/index.js';
import { resolveNumLoops } from '../model/index.js';

/** One position after one loop. */
export interface LoopReading {
  /** Most likely next token, the lowest id on ties. */
  readonly tokenId: number;
  /** Whether it is the target. */
  readonly isCorrect: boolean;
  /** Probability of the most likely token. */
  readonly topProb: number;
  /** -log p(target), in nats. */
  readonly loss: number;
  /** Exit gate before the sigmoid; minus infinity, a gate that is always shut, in a model without. */
  readonly gateLogit: number;
  /** Relative change of the state since the loop before, |h_t - h_{t-1}| / |h_{t-1}|; Infinity at the first. */
  readonly stateDelta: number;
  /** KL(p_t || p_{t-1}) of the readouts, in nats; Infinity at the first. */
  readonly kl: number;
}

/** One labelled position. */
export interface LoopReadings {
  /** Index into the documents that were read. */
  readonly documentIndex: number;
  readonly position: number;
  readonly targetId: number;
  /** Entry `depth - 1` belongs to `depth`; `numLoops` entries. */
  readonly loops: readonly LoopReading[];
}

/** What is read: an `Engine` or a `LoopLM`. */
export type ReadModel = Pick<Engine, 'config' | 'tracePieces'>;

/** The signal acts within a batch of tokens; progress is that of all documents. */
export type ReadLoopsOptions = TraceOptions;

/**
 * Reads every labelled position of the documents at every loop.
 *
 * @returns in the order of documents and positions
 * @throws ConfigError if the number of loops is out of range
 * @throws CapacityError, before anything is computed, if a document is longer than the context
 * @throws ShapeError if a document is empty, has another number of targets than ids, or a target
 *   outside the vocabulary
 */
export async function readLoops(
  model: ReadModel,
  documents: readonly TrainingDocument[],
  options: ReadLoopsOptions = {},
): Promise<LoopReadings[]> {
  const parts: (readonly LoopReadings[])[] = [];
  for await (const part of readLoopsByDocument(model, documents, options)) parts.push(part);
  return parts.flat();
}

/**
 * As `readLoops`, one document after the other, for sets too large to be held. Documents without a
 * label give no readings, and are not run.
 */
export async function* readLoopsByDocument(
  model: ReadModel,
  documents: readonly TrainingDocument[],
  options: ReadLoopsOptions = {},
): AsyncGenerator<readonly LoopReadings[]> {
  documents.forEach((document, index) => checkDocument(document, `documents[${index}]`, model));
  const { onProgress, signal } = options;
  const numLoops = resolveNumLoops(model.config, options.numLoops);
  const labelled = documents.map(labelledDocument).filter(({ labels }) => labels.length > 0);
  const totalLoops = numLoops * countTokens(labelled);
  let doneLoops = 0;
  for (const batch of batchesOf(labelled)) {
    const prompts = batch.map(({ ids, labels }) => ({
      ids,
      positions: labels.map(({ position }) => position),
    }));
    const pieces = model.tracePieces(prompts, {
      numLoops,
      signal,
      onProgress: (executed) => onProgress?.(doneLoops + executed, totalLoops),
    });
    const labels = batch.flatMap((document) => document.labels);
    const readings: LoopReadings[] = [];
    for await (const trace of pieces) {
      for (let row = 0; row < trace.length; row++) {
        const label = labels[readings.length]!;
        readings.push({ ...label, loops: loopsAt(trace, row, label.targetId) });
      }
    }
    doneLoops += numLoops * countTokens(batch);
    let start = 0;
    for (const document of batch) yield readings.slice(start, (start += document.labels.length));
  }
}

interface LabelledDocument {
  readonly ids: readonly number[];
  readonly labels: readonly Omit<LoopReadings, 'loops'>[];
}

function labelledDocument(
  { ids, targets }: TrainingDocument,
  documentIndex: number,
): LabelledDocument {
  const labels = Array.from(targets, (targetId, position) => ({
    documentIndex,
    position,
    targetId,
  }));
  return { ids: [...ids], labels: labels.filter(({ targetId }) => targetId >= 0) };
}

const countTokens = (documents: readonly LabelledDocument[]): number =>
  documents.reduce((sum, { ids }) => sum + ids.length, 0);

/** Documents that are computed together: enough to fill a step, few enough for the cache. */
const BATCH_TOKENS = 256;
const BATCH_DOCUMENTS = 8;

function* batchesOf(documents: readonly LabelledDocument[]): Generator<LabelledDocument[]> {
  let batch: LabelledDocument[] = [];
  for (const document of documents) {
    const isFull =
      batch.length === BATCH_DOCUMENTS || countTokens([...batch, document]) > BATCH_TOKENS;
    if (isFull && batch.length > 0) {
      yield batch;
      batch = [];
    }
    batch.push(document);
  }
  if (batch.length > 0) yield batch;
}

/** What one position of a trace says at each loop. */
function loopsAt(trace: Trace, row: number, targetId: number): LoopReading[] {
  let before: { readonly logits: Float32Array; readonly state: Float32Array } | undefined;
  return Array.from({ length: trace.numLoops }, (_, loopIndex) => {
    const at = loopIndex * trace.length + row;
    const logits = rowOf(trace.logits, at, trace);
    const state = rowOf(trace.hidden, at, trace);
    const logSum = logSumExp(logits);
    const tokenId = argmax(logits);
    const reading = {
      tokenId,
      isCorrect: tokenId === targetId,
      topProb: Math.exp(logits[tokenId]! - logSum),
      loss: logSum - logits[targetId]!,
      gateLogit: trace.gateLogits?.[at] ?? -Infinity,
      stateDelta: before ? relativeChange(state, before.state) : Infinity,
      kl: before ? klDivergence(logits, before.logits) : Infinity,
    };
    before = { logits, state };
    return reading;
  });
}

function rowOf(values: Float32Array, row: number, { numLoops, length }: Trace): Float32Array {
  const width = values.length / (numLoops * length);
  return values.subarray(row * width, (row + 1) * width);
}

/** |h - previous| / |previous| */
function relativeChange(h: Float32Array, previous: Float32Array): number {
  let [change, size] = [0, 0];
  for (let index = 0; index < h.length; index++) {
    change += (h[index]! - previous[index]!) ** 2;
    size += previous[index]! ** 2;
  }
  return Math.sqrt(change / size);
}

function checkDocument(
  { ids, targets }: TrainingDocument,
  name: string,
  { config: { maxPositionEmbeddings, vocabSize } }: { readonly config: LoopLMConfig },
): void {
  if (ids.length === 0) {
    throw new ShapeError(`${name} has 0 tokens; it needs at least 1. Leave empty ones out.`);
  }
  if (ids.length !== targets.length) {
    throw new ShapeError(
      `${name} has ${ids.length} ids and ${targets.length} targets; it needs one target for each id.`,
    );
  }
  if (ids.length > maxPositionEmbeddings) {
    throw new CapacityError(
      `${name} has ${ids.length} tokens; the model's context holds ${maxPositionEmbeddings}. Cut it into shorter documents.`,
    );
  }
  const outside = targets.find((targetId) => targetId >= vocabSize);
  if (outside !== undefined) {
    throw new ShapeError(
      `${name} has the target ${outside}; targets lie in 0..${vocabSize - 1}, or below 0 where nothing is counted.`,
    );
  }
}
