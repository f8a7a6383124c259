/**
 * What a model computes at every loop, at every labelled position of a set of documents.
 *
 * The one idea: under the `per-loop` KV policy the loops of a token do not depend on where other
 * tokens exit. So one full-depth pass tells the result of every exit policy at every threshold; the
 * rest of this folder only looks at these readings.
 * Knows no task and no policy.
 */
import type { TrainingBatch, TrainingDocument } from '../data/index.js';
import { IGNORED_TARGET, packDocuments } from '../data/index.js';
import { compileWith } from '../engine/index.js';
import { assert, ConfigError } from '../errors.js';
import type { GraphWeights, LoopLMConfig, ModelWeights } from '../model/index.js';
import { batchForwardFeeds, graphWeights, resolveNumLoops } from '../model/index.js';
import type { CommandResult, Device, HostTensor } from '../runtime/index.js';
import { LOOP_OUTPUTS, loopGraph } from './loop-graph.js';

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
  /** Relative change of the state since the loop before; Infinity at the first. */
  readonly stateDelta: number;
  /** KL divergence from the readout of the loop before, in nats; Infinity at the first. */
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

export interface ReadLoopsOptions {
  readonly device: Device;
  readonly config: LoopLMConfig;
  readonly weights: ModelWeights | GraphWeights;
  /** Loops to run; default the model's own. More than it was trained with is allowed. */
  readonly numLoops?: number;
  /** Rows of a batch. Default 16. */
  readonly rows?: number;
  /** Positions of a row; documents are packed into rows. Default 128. */
  readonly length?: number;
  /** Cuts documents that are longer than a row, instead of refusing them. Default false. */
  readonly split?: boolean;
  /** Called after every batch. */
  readonly onProgress?: (documentsDone: number, documentsTotal: number) => void;
}

/**
 * Reads every labelled position of the documents at every loop.
 *
 * @returns in the order of documents and positions
 * @throws ConfigError if a document is longer than a row and `split` is not set, or the number of
 * loops is out of range
 * @throws ShapeError if a document is empty or has another number of targets than ids
 */
export async function readLoops(
  options: ReadLoopsOptions,
  documents: readonly TrainingDocument[],
): Promise<LoopReadings[]> {
  const readings: LoopReadings[] = [];
  for await (const part of readLoopsByBatch(options, documents)) readings.push(...part);
  return readings.toSorted((a, b) => a.documentIndex - b.documentIndex || a.position - b.position);
}

/** As `readLoops`, batch by batch and without order, for sets too large to be held. */
export async function* readLoopsByBatch(
  options: ReadLoopsOptions,
  documents: readonly TrainingDocument[],
): AsyncGenerator<readonly LoopReadings[]> {
  const { device, config, weights, rows = 16, length = 128, split = false } = options;
  const numLoops = resolveNumLoops(config, options.numLoops);
  if (!split) checkLengths(documents, length);
  const source = graphWeights(weights);
  const graph = loopGraph(config, source, { rows, length, numLoops });
  const program = await compileWith(device, graph, source);
  try {
    for (const { batch, labels, documentsDone } of packLabels(documents, rows, length, split)) {
      const chosen = labels.map(({ flatPosition }) => flatPosition);
      const feeds = {
        ...batchForwardFeeds(batch, config),
        chosen: indices(chosen),
        targets: indices(labels.map(({ targetId }) => targetId)),
      };
      const fetch = LOOP_OUTPUTS.filter((name) => program.outputNames.includes(name));
      const [result] = await device.submit([{ kind: 'run', program, feeds, fetch }]);
      yield labels.map((label, column) => toReadings(label, result!, column, numLoops));
      options.onProgress?.(documentsDone, documents.length);
    }
  } finally {
    await device.free(program);
  }
}

/** A labelled position of a document and where it lies in a batch. */
interface Label {
  readonly documentIndex: number;
  readonly position: number;
  readonly targetId: number;
  readonly flatPosition: number;
}

interface LabelledBatch {
  readonly batch: TrainingBatch;
  readonly labels: readonly Label[];
  readonly documentsDone: number;
}

/** Packs documents into batches, in order; batches without a label are left out. */
function* packLabels(
  documents: readonly TrainingDocument[],
  rows: number,
  length: number,
  split: boolean,
): Generator<LabelledBatch> {
  const labels: Omit<Label, 'flatPosition'>[] = [];
  // A target is replaced by its number, so that the batch says which label lies where.
  const numbered = documents.map(({ ids, targets }, documentIndex) => ({
    ids,
    targets: Array.from(targets, (targetId, position) =>
      targetId < 0 ? IGNORED_TARGET : labels.push({ documentIndex, position, targetId }) - 1,
    ),
  }));
  let waiting: TrainingDocument[] = [];
  let numTaken = 0;
  while (waiting.length > 0 || numTaken < numbered.length) {
    let numTokens = waiting.reduce((sum, { ids }) => sum + ids.length, 0);
    while (numTaken < numbered.length && numTokens < rows * length) {
      const document = numbered[numTaken++]!;
      waiting.push(document);
      numTokens += document.ids.length;
    }
    const { batch, leftOver } = packDocuments(waiting, { rows, length, padId: 0, split });
    waiting = leftOver.map(({ documentIndex, start }) => rest(waiting[documentIndex]!, start));
    const placed = Array.from(batch.targets, (label, flatPosition) => ({ label, flatPosition }))
      .filter(({ label }) => label >= 0)
      .map(({ label, flatPosition }): Label => ({ ...labels[label]!, flatPosition }));
    const documentsDone = numTaken - waiting.length;
    if (placed.length > 0) yield { batch, labels: placed, documentsDone };
  }
}

function rest({ ids, targets }: TrainingDocument, start: number): TrainingDocument {
  return start === 0 ? { ids, targets } : { ids: ids.slice(start), targets: targets.slice(start) };
}

function toReadings(
  { documentIndex, position, targetId }: Label,
  result: CommandResult,
  column: number,
  numLoops: number,
): LoopReadings {
  const at = (name: (typeof LOOP_OUTPUTS)[number], row: number, absent = Infinity): number => {
    const tensor = result[name];
    // The outputs that compare loops begin at the second.
    if (row < 0 || tensor === undefined) return absent;
    const value = tensor.data[row * tensor.dims[1]! + column];
    assert(value !== undefined, `output ${name} has no column ${column}`);
    return Number(value);
  };
  const loops = Array.from({ length: numLoops }, (_, loopIndex): LoopReading => {
    const tokenId = at('tokenIds', loopIndex);
    return {
      tokenId,
      isCorrect: tokenId === targetId,
      topProb: at('topProbs', loopIndex),
      loss: at('losses', loopIndex),
      gateLogit: at('gateLogits', loopIndex, -Infinity),
      stateDelta: at('stateDeltas', loopIndex - 1),
      kl: at('kls', loopIndex - 1),
    };
  });
  return { documentIndex, position, targetId, loops };
}

function indices(values: readonly number[]): HostTensor {
  return { dtype: 'i32', dims: [values.length], data: Int32Array.from(values) };
}

function checkLengths(documents: readonly TrainingDocument[], length: number): void {
  const longest = documents.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  if (longest <= length) return;
  throw new ConfigError(
    'length',
    `A document has ${longest} tokens; a row holds at most ${length}. ` +
      `Set length to ${longest} or more, or split to cut documents.`,
  );
}
