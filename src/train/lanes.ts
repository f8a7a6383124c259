/**
 * The gradients of an update on several devices at once: rows are cut into pieces, small enough that
 * what a layer computes stays in a processor's cache, and dealt out. Every device adds up those of its
 * own pieces; nothing waits between the operators of a step.
 *
 * The sums depend on how many devices there are, as far as rounding does.
 */
import type { TrainingBatch } from '../data/index.js';
import type { Graph } from '../graph/index.js';
import type { LoopLMConfig } from '../model/index.js';
import { elementCount, parameterSpecs } from '../model/index.js';
import type { Command, CompileOptions, Device, HostTensor, Program } from '../runtime/index.js';

/** Parameters for each token and loop of a batch, at most: 650 won a tenth, 12,000 lost as much. */
const MOST_PARAMETERS = 4000;
/** Tokens of a piece, at most (unless those of one row are more). */
const PIECE_TOKENS = 512;

/**
 * Devices that a run is spread over: one for each thread, or some fewer where its batches can be dealt
 * out evenly only so; one device with all threads where most of these would be idle.
 *
 * @param rows - of the batches of each stage
 */
export function laneCount(rows: readonly number[], numThreads: number): number {
  let lanes = numThreads;
  while (!rows.every((count) => count % lanes === 0)) lanes--;
  return lanes > numThreads / 2 ? lanes : 1;
}

/**
 * Rows of a piece; undefined where rows cannot be dealt out evenly, there is one lane, or weights and
 * gradients on their way would take longer than is won.
 */
export function pieceRows(
  { rows, length }: Pick<TrainingBatch, 'rows' | 'length'>,
  numLanes: number,
  config: LoopLMConfig,
): number | undefined {
  if (numLanes === 1 || rows % numLanes !== 0) return undefined;
  const size = parameterSpecs(config).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  if (size > MOST_PARAMETERS * rows * length * config.numLoops) return undefined;
  const ofLane = rows / numLanes;
  for (let piece = ofLane; piece > 1; piece--) {
    if (ofLane % piece === 0 && piece * length <= PIECE_TOKENS) return piece;
  }
  return 1;
}

/** A batch as batches of fewer rows, whose arrays are views of its own. */
export function cutRows(batch: TrainingBatch, rows: number): readonly TrainingBatch[] {
  const { length, extra, seenUntil } = batch;
  return Array.from({ length: batch.rows / rows }, (_, piece) => {
    const cut = <T extends Int32Array | Float32Array>(data: T): T =>
      data.subarray(piece * rows * length, (piece + 1) * rows * length) as T;
    return {
      rows,
      length,
      ids: cut(batch.ids),
      targets: cut(batch.targets),
      segments: cut(batch.segments),
      positions: cut(batch.positions),
      ...(seenUntil && { seenUntil: cut(seenUntil) }),
      ...(extra && {
        extra: Object.fromEntries(Object.entries(extra).map(([name, data]) => [name, cut(data)])),
      }),
    };
  });
}

/** Items for each of `numLanes`, in turn. */
export function deal<T>(items: readonly T[], numLanes: number): readonly (readonly T[])[] {
  return Array.from({ length: numLanes }, (_, lane) =>
    items.filter((_item, index) => index % numLanes === lane),
  );
}

type Tensors = Readonly<Record<string, HostTensor>>;

export interface HelperGraphs {
  /** Of a piece, by number of loops. */
  readonly gradients: ReadonlyMap<number, Graph>;
  readonly accumulate: Graph;
}

export interface HelperTask {
  /** All weights by name; their arrays are given away. */
  readonly weights: Tensors;
  /** Inputs of each piece, but the weights. */
  readonly pieces: readonly Tensors[];
  readonly numLoops: number;
  /** Outputs wanted of each piece. */
  readonly fetch: readonly string[];
}

/** A further device. It keeps nothing from update to update. */
export class GradientHelper {
  readonly #device: Device;
  readonly #gradients: ReadonlyMap<number, Program>;
  readonly #accumulate: Program;
  readonly #trained: readonly string[];

  private constructor(
    device: Device,
    gradients: ReadonlyMap<number, Program>,
    accumulate: Program,
    trained: readonly string[],
  ) {
    this.#device = device;
    this.#gradients = gradients;
    this.#accumulate = accumulate;
    this.#trained = trained;
  }

  /** @param trained - names of the weights that get gradients */
  static async create(
    device: Device,
    graphs: HelperGraphs,
    trained: readonly string[],
    options: Pick<CompileOptions, 'keepsWorkspace' | 'plansWorkspace'>,
  ): Promise<GradientHelper> {
    const gradients = new Map<number, Program>();
    for (const [numLoops, graph] of graphs.gradients) {
      gradients.set(numLoops, await device.compile(graph, { ...options, isParallel: false }));
    }
    const accumulate = await device.compile(graphs.accumulate, {
      keepsWorkspace: false,
      isParallel: false,
    });
    return new GradientHelper(device, gradients, accumulate, trained);
  }

  /** The sums of the pieces' gradients by name, and what was fetched of each piece. */
  async run({ weights, pieces, numLoops, fetch }: HelperTask) {
    const program = this.#gradients.get(numLoops)!;
    const used = Object.entries(weights).filter(([name]) => program.inputNames.includes(name));
    const weightsKept = Object.fromEntries(used.map(([name]) => [name, { kept: name }]));
    const commands: Command[] = [{ kind: 'keep', values: Object.fromEntries(used) }];
    pieces.forEach((piece, index) => {
      const kept = index === 0 ? 'total' : 'grad';
      commands.push({
        kind: 'run',
        program,
        feeds: { ...piece, ...weightsKept },
        keep: this.#named((name) => [`grad:${name}`, `${kept}:${name}`]),
        fetch,
      });
      if (index > 0) commands.push(this.#accumulateCommand());
    });
    commands.push({ kind: 'take', names: this.#trained.map((name) => `total:${name}`) });
    const results = await this.#device.submit(commands);
    const totals = results.at(-1)!;
    return {
      totals: this.#named((name): [string, HostTensor] => [name, totals[`total:${name}`]!]),
      results: results.slice(0, -1),
    };
  }

  async dispose(): Promise<void> {
    for (const program of [...this.#gradients.values(), this.#accumulate]) {
      await this.#device.free(program);
    }
  }

  #accumulateCommand(): Command {
    const line = (prefix: string) => this.#trained.map((name) => ({ kept: `${prefix}:${name}` }));
    return {
      kind: 'runElementwise',
      program: this.#accumulate,
      feeds: {},
      lines: { grad: line('grad'), total: line('total') },
      store: { next: line('total') },
    };
  }

  #named<T>(entry: (name: string) => [string, T]): Record<string, T> {
    return Object.fromEntries(this.#trained.map(entry));
  }
}
