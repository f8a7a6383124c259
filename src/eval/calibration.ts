/**
 * What the matrices of a model read: the mean square of every input of every matrix over a text.
 *
 * Quantising weighs errors by it. The one idea: the same weights serve every loop, so the inputs of
 * all loops count, each as often as it occurs at full depth. The program is one loop, whatever their
 * number, and returns sums only. It knows no quantisation.
 */
import { compileWith, embeddingGraph, engineWeights } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import type { Graph, Tensor } from '../graph/index.js';
import { buildGraph, input, matmul, mul } from '../graph/index.js';
import type {
  LoopLMConfig,
  ModelWeights,
  PackedInputs,
  ParameterSpec,
  Weight,
  WeightSource,
} from '../model/index.js';
import {
  batchContext,
  batchForwardFeeds,
  HEAD_NAME,
  hiddenOf,
  loop,
  loopParams,
} from '../model/index.js';
import type { Command, Device, DeviceBuffer, Program, ResidentWeights } from '../runtime/index.js';
import { safetensorsChunks } from '../runtime/index.js';

export interface CalibrateOptions {
  readonly device: Device;
  readonly config: LoopLMConfig;
  /** Of any format: calibrating a model that is quantised already differs by its errors only. */
  readonly weights: ModelWeights | WeightSource | ResidentWeights;
  /** Tokens that are read at a time; documents are cut there. Default 512. */
  readonly length?: number;
  /** Tokens that are read in all, from the first document on. Default all. */
  readonly maxTokens?: number;
  /** Called after every piece. */
  readonly onProgress?: (tokensDone: number, tokensTotal: number) => void;
  /** Stops after the loop that is being computed, with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What the matrices of a model read. */
export interface Calibration {
  /**
   * By the name of the matrix in the file, a tied head as `lm_head.weight`: the mean over tokens and
   * loops of the square of each of its inputs, `[in]`.
   */
  readonly meanSquares: ReadonlyMap<string, Float32Array>;
  readonly numTokens: number;
  readonly numLoops: number;
}

/**
 * Runs documents at full depth and keeps the mean squares of what every matrix reads.
 *
 * @param documents - token ids; they do not see each other
 * @throws ConfigError if a setting is out of range, an id is not in the vocabulary or there is no token
 */
export async function calibrate(
  options: CalibrateOptions,
  documents: readonly (readonly number[])[],
): Promise<Calibration> {
  const { config, length = 512, maxTokens = Infinity } = options;
  const { numLoops } = config;
  checkCount('length', length, config.maxPositionEmbeddings);
  if (maxTokens !== Infinity) checkCount('maxTokens', maxTokens);
  const read = firstTokens(documents, maxTokens);
  const numTokens = read.reduce((sum, ids) => sum + ids.length, 0);
  checkIds(read, config);
  const reader = await SquareReader.create(options, length);
  try {
    let tokensDone = 0;
    for (const row of packRows(read, length)) {
      for (let loopIndex = 0; loopIndex < numLoops; loopIndex++) {
        options.signal?.throwIfAborted();
        await reader.readLoop(row, loopIndex);
      }
      tokensDone = Math.min(numTokens, tokensDone + length);
      options.onProgress?.(tokensDone, numTokens);
    }
  } finally {
    await reader.dispose();
  }
  return { meanSquares: reader.means(numTokens * numLoops), numTokens, numLoops };
}

/** What the metadata of a calibration file say that it is. */
export const CALIBRATION_FORMAT = 'looplm-calibration';

/**
 * A calibration as the safetensors file that `looplm convert` reads. Chunks borrow its memory.
 *
 * @param about - entries to add to the metadata, such as where the text came from
 */
export function calibrationChunks(
  { meanSquares, numTokens, numLoops }: Calibration,
  about: Readonly<Record<string, string>> = {},
): Iterable<Uint8Array> {
  const tensors = [...meanSquares].map(([name, data]) => ({
    name,
    shape: [data.length],
    dtype: 'F32' as const,
    data,
  }));
  return safetensorsChunks(tensors, {
    format: CALIBRATION_FORMAT,
    tokens: String(numTokens),
    loops: String(numLoops),
    ...about,
  });
}

interface MeasuredLoop {
  /** Inputs `x [T, D]`, those of `batchContext` and `counted [1, T]`; outputs the next `x`, as `state`, and `sums`. */
  readonly graph: Graph;
  /** By output, the matrices that read the same input. */
  readonly readers: ReadonlyMap<string, readonly string[]>;
}

/** One loop, and for each different input of matrices the sums of its squares, `[1, in]`. */
function measuredLoop(config: LoopLMConfig, weights: WeightSource, length: number): MeasuredLoop {
  const x = input('x', 'f32', [length, config.hiddenSize]);
  const counted = input('counted', 'f32', [1, length]); // 1, or 0 at padding
  const names = new Map<Weight, string>();
  const leaf = (spec: ParameterSpec): Weight => {
    const weight = weights.leaf(spec);
    names.set(weight, spec.hfName);
    return weight;
  };
  const outputs: Record<string, Tensor> = {};
  const readers = new Map<string, readonly string[]>();
  const keep = (rows: Tensor, matrices: readonly string[]) => {
    const output = `sums${readers.size}`;
    readers.set(output, matrices);
    outputs[output] = matmul(counted, mul(rows, rows));
  };
  const params = loopParams(config, leaf);
  const state = loop(x, params, {
    ...batchContext(config, { rows: 1, length }),
    observe: (rows, matrices) =>
      keep(
        rows,
        matrices.map((matrix) => names.get(matrix)!),
      ),
  });
  keep(hiddenOf(state, params, config), [HEAD_NAME]);
  return { graph: buildGraph({ state, ...outputs }), readers };
}

/** The programs and what they have summed up so far. */
class SquareReader {
  readonly #options: CalibrateOptions;
  readonly #embedding: Program;
  readonly #loop: Program;
  /** `[T, D]`, the input of the next loop. */
  readonly #x: DeviceBuffer;
  readonly #readers: MeasuredLoop['readers'];
  readonly #sums = new Map<string, Float64Array>(); // by output

  private constructor(
    options: CalibrateOptions,
    parts: {
      readonly embedding: Program;
      readonly loop: Program;
      readonly x: DeviceBuffer;
      readonly readers: MeasuredLoop['readers'];
    },
  ) {
    this.#options = options;
    this.#embedding = parts.embedding;
    this.#loop = parts.loop;
    this.#x = parts.x;
    this.#readers = parts.readers;
  }

  static async create(options: CalibrateOptions, length: number): Promise<SquareReader> {
    const { device, config } = options;
    const weights = engineWeights(options.weights, device, config);
    const compile = (graph: Graph) => compileWith(device, graph, weights);
    const { graph, readers } = measuredLoop(config, weights, length);
    return new SquareReader(options, {
      embedding: await compile(embeddingGraph(config, weights)),
      loop: await compile(graph),
      x: await device.allocate('f32', [length, config.hiddenSize]),
      readers,
    });
  }

  /** Runs one loop of a row, which must have run the loops before, and adds up what it read. */
  async readLoop(row: PackedInputs, loopIndex: number): Promise<void> {
    const { ids, ...feeds } = batchForwardFeeds(row, this.#options.config);
    const counted = Float32Array.from(row.segments, (segment) => Math.min(segment, 1));
    const commands: Command[] = [
      {
        kind: 'run',
        program: this.#loop,
        feeds: {
          ...feeds,
          x: this.#x,
          counted: { dtype: 'f32', dims: [1, row.length], data: counted },
        },
        store: { state: this.#x },
        fetch: [...this.#readers.keys()],
      },
    ];
    if (loopIndex === 0) {
      const fed = { ids: { ...ids, dims: [row.length] } };
      const start = { kind: 'run', program: this.#embedding, feeds: fed } as const;
      commands.unshift({ ...start, store: { x: this.#x } });
    }
    const result = (await this.#options.device.submit(commands)).at(-1)!;
    for (const [output, { data }] of Object.entries(result)) {
      const sum = this.#sums.get(output) ?? new Float64Array(data.length);
      this.#sums.set(output, sum);
      sum.forEach((value, index) => (sum[index] = value + Number(data[index])));
    }
  }

  /** By matrix, the sums over a count. */
  means(count: number): Map<string, Float32Array> {
    const means = new Map<string, Float32Array>();
    for (const [output, matrices] of this.#readers) {
      const mean = Float32Array.from(this.#sums.get(output)!, (sum) => sum / count);
      for (const matrix of matrices) means.set(matrix, mean);
    }
    return means;
  }

  async dispose(): Promise<void> {
    for (const part of [this.#embedding, this.#loop, this.#x]) {
      await this.#options.device.free(part);
    }
  }
}

function firstTokens(
  documents: readonly (readonly number[])[],
  maxTokens: number,
): (readonly number[])[] {
  let left = maxTokens;
  return documents.flatMap((ids) => {
    const taken = ids.slice(0, left);
    left -= taken.length;
    return taken.length > 0 ? [taken] : [];
  });
}

/** Documents one behind the other in rows of `length`; one that is cut begins anew. */
function* packRows(
  documents: readonly (readonly number[])[],
  length: number,
): Generator<PackedInputs> {
  const emptyRow = () => ({
    rows: 1,
    length,
    ids: new Int32Array(length),
    segments: new Int32Array(length),
    positions: new Int32Array(length),
  });
  let [row, used] = [emptyRow(), 0];
  for (const [documentIndex, ids] of documents.entries()) {
    for (let start = 0; start < ids.length;) {
      const piece = ids.slice(start, start + length - used);
      row.ids.set(piece, used);
      row.segments.fill(documentIndex + 1, used, used + piece.length);
      row.positions.set([...piece.keys()], used);
      start += piece.length;
      used += piece.length;
      if (used < length) continue;
      yield row;
      [row, used] = [emptyRow(), 0];
    }
  }
  if (used > 0) yield row;
}

function checkCount(field: string, value: number, most = Infinity): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  const allowed = most === Infinity ? 'from 1' : `from 1 to ${most}`;
  throw new ConfigError(
    field,
    `${field} is ${value}; it must be a whole number ${allowed}. Choose another.`,
  );
}

function checkIds(documents: readonly (readonly number[])[], { vocabSize }: LoopLMConfig): void {
  if (documents.length === 0) {
    throw new ConfigError('documents', 'The documents hold 0 tokens; calibration needs some text.');
  }
  for (const ids of documents) {
    const bad = ids.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabSize);
    if (bad === undefined) continue;
    throw new ConfigError(
      'documents',
      `A document holds the token id ${bad}; ids go from 0 to ${vocabSize - 1}. Use the tokenizer of the model.`,
    );
  }
}
