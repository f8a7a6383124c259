/**
 * The two ends of a model, whatever lies between: token ids to the input of the first loop, hidden
 * states to logits.
 */
import type { Graph, Tensor } from '../graph/index.js';
import { buildGraph, input, logSoftmax, reshape, slice, sub } from '../graph/index.js';
import type { GraphWeights, LoopLMConfig } from '../model/index.js';
import { embed, headParam, readout } from '../model/index.js';
import type {
  Command,
  CommandResult,
  CompileOptions,
  Device,
  HostTensor,
  Program,
} from '../runtime/index.js';
import type { BatchEntry, Readout } from './runner.js';

/** Token ids i32 `[N]` to `x [N, D]`. */
function embeddingGraph(config: LoopLMConfig, weights: GraphWeights): Graph {
  return buildGraph({ x: embed(config, weights, input('ids', 'i32', ['N'])) });
}

/** States `h [N, D]` to `logits [N, V]` and the log of the sum of their exponentials, `[N]`. */
function readoutGraph(config: LoopLMConfig, weights: GraphWeights): Graph {
  const h = input('h', 'f32', ['N', config.hiddenSize]);
  const logits = readout(h, headParam(config, weights.leaf));
  const first = (rows: Tensor) => slice(rows, 1, 0, 1);
  const logSumExp = sub(first(logits), first(logSoftmax(logits)));
  return buildGraph({ logits, logSumExp: reshape(logSumExp, ['N']) });
}

export class ModelEnds {
  readonly #device: Device;
  readonly #config: LoopLMConfig;
  readonly #rowMultiple: number;
  readonly #embedding: Program;
  readonly #readout: Program;

  private constructor(
    device: Device,
    config: LoopLMConfig,
    parts: {
      readonly rowMultiple: number;
      readonly embedding: Program;
      readonly readout: Program;
    },
  ) {
    this.#device = device;
    this.#config = config;
    this.#rowMultiple = parts.rowMultiple;
    this.#embedding = parts.embedding;
    this.#readout = parts.readout;
  }

  static async create(
    device: Device,
    config: LoopLMConfig,
    weights: GraphWeights,
  ): Promise<ModelEnds> {
    return new ModelEnds(device, config, {
      rowMultiple: weights.rowMultiple ?? 1,
      embedding: await compileWith(device, embeddingGraph(config, weights), weights),
      readout: await compileWith(device, readoutGraph(config, weights), weights),
    });
  }

  /** Rows of a batch of `count` entries, padding included (`GraphWeights.rowMultiple`). */
  paddedRows(count: number): number {
    return Math.ceil(count / this.#rowMultiple) * this.#rowMultiple;
  }

  /**
   * A command that keeps `x [M, D]`, the input of the next loop of each entry. M is `paddedRows` of
   * their number.
   */
  inputCommand(entries: readonly BatchEntry[]): Command {
    if (entries[0]!.token.depth > 0) {
      const x = this.#stack(entries.map(({ token }) => token.hidden!));
      return { kind: 'keep', values: { x } };
    }
    const data = new Int32Array(this.paddedRows(entries.length));
    data.set(entries.map(({ token }) => token.id));
    const ids = { dtype: 'i32', dims: [data.length], data } as const;
    return { kind: 'run', program: this.#embedding, feeds: { ids }, keep: { x: 'x' } };
  }

  /** Takes over the fetched `h` and `gateLogit` of a loop; returns the gate logits. */
  advance(entries: readonly BatchEntry[], result: CommandResult): readonly number[] {
    const { hiddenSize } = this.#config;
    const h = result['h']!.data as Float32Array;
    entries.forEach(({ token }, row) => {
      token.hidden = h.slice(row * hiddenSize, (row + 1) * hiddenSize);
      token.depth++;
    });
    return Array.from(result['gateLogit']!.data.subarray(0, entries.length), Number);
  }

  /** What each hidden state `[D]` says of the next token. */
  async readout(states: readonly Float32Array[]): Promise<readonly Readout[]> {
    const { vocabSize } = this.#config;
    const feeds = { h: this.#stack(states) };
    const fetch = ['logits', 'logSumExp'];
    const [result] = await this.#device.submit([
      { kind: 'run', program: this.#readout, feeds, fetch },
    ]);
    const logits = result!['logits']!.data as Float32Array;
    const logSumExp = result!['logSumExp']!.data as Float32Array;
    return states.map((_, row) => ({
      logits: logits.subarray(row * vocabSize, (row + 1) * vocabSize),
      logSumExp: logSumExp[row]!,
    }));
  }

  async dispose(): Promise<void> {
    await this.#device.free(this.#embedding);
    await this.#device.free(this.#readout);
  }

  /** One row each, and padding of zeros. */
  #stack(rows: readonly Float32Array[]): HostTensor {
    const { hiddenSize } = this.#config;
    const dims = [this.paddedRows(rows.length), hiddenSize] as const;
    const data = new Float32Array(dims[0] * dims[1]);
    rows.forEach((row, index) => data.set(row, index * hiddenSize));
    return { dtype: 'f32', dims, data };
  }
}

/** Compiles a graph of these weights. */
export function compileWith(
  device: Device,
  graph: Graph,
  { folder }: GraphWeights,
  options: Pick<CompileOptions, 'keepsWorkspace'> = {},
): Promise<Program> {
  return device.compile(graph, {
    ...options,
    ...(folder !== undefined && { weightsFolder: folder, spins: true }),
  });
}
