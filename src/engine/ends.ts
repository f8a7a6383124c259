/**
 * The ends of a model and of its loops, whatever lies between: token ids to the input of the first
 * loop, what a loop leaves, hidden states to logits.
 */
import type { Graph, Tensor } from '../graph/index.js';
import { buildGraph, input, logSoftmax, reshape, slice, sub } from '../graph/index.js';
import type { GraphWeights, LoopLMConfig, LoopParams } from '../model/index.js';
import { embed, gateLogit, headParam, hiddenOf, readout } from '../model/index.js';
import type { Command, CommandResult, Device, HostTensor, Program } from '../runtime/index.js';
import type { GraphToCompile } from './compile.js';
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

/** The graphs of the two ends: embedding, readout. */
export function endGraphs(config: LoopLMConfig, weights: GraphWeights): readonly GraphToCompile[] {
  return [{ graph: embeddingGraph(config, weights) }, { graph: readoutGraph(config, weights) }];
}

/** How many they are. */
export const NUM_ENDS = 2;

/**
 * What a loop leaves, from the state `[N, D]` that the next one takes: `h [N, D]`, where it is not the
 * same the `state`, and where the model has an exit gate `gateLogit [N]`.
 */
export function loopEnd(
  state: Tensor,
  params: LoopParams,
  config: LoopLMConfig,
): Readonly<Record<string, Tensor>> {
  const h = hiddenOf(state, params, config);
  return {
    h,
    ...(state !== h && { state }),
    ...(params.exitGate && { gateLogit: gateLogit(h, params.exitGate) }),
  };
}

const LOOP_END = ['h', 'state', 'gateLogit'];

/** What is fetched of a program that ends a loop. */
export function fetchedOf({ outputNames }: Program): readonly string[] {
  return outputNames.filter((name) => LOOP_END.includes(name));
}

export class ModelEnds {
  readonly #device: Device;
  readonly #config: LoopLMConfig;
  readonly #rowMultiple: number;
  readonly #embedding: Program;
  readonly #readout: Program;

  /** @param programs - those of `endGraphs`, which are its own from now on; others may follow */
  constructor(
    device: Device,
    config: LoopLMConfig,
    { rowMultiple = 1 }: Pick<GraphWeights, 'rowMultiple'>,
    programs: readonly Program[],
  ) {
    this.#device = device;
    this.#config = config;
    this.#rowMultiple = rowMultiple;
    [this.#embedding, this.#readout] = programs as readonly [Program, Program];
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
      const x = this.#stack(entries.map(({ token }) => token.state!));
      return { kind: 'keep', values: { x } };
    }
    const data = new Int32Array(this.paddedRows(entries.length));
    data.set(entries.map(({ token }) => token.id));
    const ids = { dtype: 'i32', dims: [data.length], data } as const;
    return { kind: 'run', program: this.#embedding, feeds: { ids }, keep: { x: 'x' } };
  }

  /** Takes over what a loop left (`loopEnd`); returns the gate logits. */
  advance(entries: readonly BatchEntry[], result: CommandResult): readonly number[] {
    const { hiddenSize } = this.#config;
    const rowOf = (name: string, row: number) =>
      (result[name]?.data as Float32Array | undefined)?.slice(
        row * hiddenSize,
        (row + 1) * hiddenSize,
      );
    entries.forEach(({ token }, row) => {
      token.hidden = rowOf('h', row);
      token.state = rowOf('state', row) ?? token.hidden;
      token.depth++;
    });
    const gateLogits = result['gateLogit']?.data.subarray(0, entries.length);
    return gateLogits ? Array.from(gateLogits, Number) : entries.map(() => SHUT_GATE);
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

/** Gate logit of a model without an exit gate: lambda is 0. */
const SHUT_GATE = -Infinity;
