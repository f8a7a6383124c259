/**
 * Attention over paged keys and values for any number of query rows: the WebAssembly kernel where a
 * group has few rows, a program of ONNX Runtime over gathered pages where it has many.
 *
 * The kernel reads each key once for a few queries and needs no copy; matrix products win as soon as
 * there are enough rows to pay for copying the pages together.
 * Source: docs/architecture.md, runner; the border between the two is measured (benchmarks/attention).
 */
import type { Graph } from '../../graph/index.js';
import { add, buildGraph, input, matmul, reshape, softmax, transpose } from '../../graph/index.js';
import type { AttentionBatch, AttentionGroup, KvMemory, KvMemorySpec } from './kv-memory.js';

/** Rows of a group up to which the kernel is used. */
const MAX_KERNEL_ROWS = 8;
/** Attention scores of one run of the program; more rows are done in pieces. */
const MAX_SCORES = 2 ** 25;
/** Far below any score; a row always sees at least itself. */
const HIDDEN_SCORE = -1e9;

/** What the program takes and gives; runs on the calling thread. */
export interface AttentionFeeds {
  readonly q: Float32Array; // [N, H*Dh]
  readonly keys: Float32Array; // [K, S, Dh]
  readonly values: Float32Array; // [K, S, Dh]
  readonly bias: Float32Array; // [N, S]
  readonly numRows: number;
  readonly length: number;
}

/** softmax(q k^T / sqrt(Dh) + bias) v; see `AttentionFeeds`. Gives `heads [N, H*Dh]`. */
export function attentionGraph({ numHeads: H, numKvHeads: K, headDim }: KvMemorySpec): Graph {
  const q = reshape(input('q', 'f32', ['N', H * headDim]), ['N', H, headDim]);
  const queries = reshape(transpose(q, [1, 0, 2]), [K, H / K, 'N', headDim]);
  const cached = (name: string) =>
    reshape(input(name, 'f32', [K, 'S', headDim]), [K, 1, 'S', headDim]);
  const scores = matmul(queries, cached('keys'), { transposeB: true, alpha: headDim ** -0.5 });
  const weights = softmax(add(scores, input('bias', 'f32', ['N', 'S'])));
  const mixed = reshape(matmul(weights, cached('values')), [H, 'N', headDim]);
  return buildGraph({ heads: reshape(transpose(mixed, [1, 0, 2]), ['N', H * headDim]) });
}

export class PagedAttention {
  readonly memory: KvMemory;
  readonly #run: (feeds: AttentionFeeds) => Promise<Float32Array>;
  #keys = new Float32Array(0);
  #values = new Float32Array(0);
  /** Biases of the batch under way, which all layers share. */
  readonly #biases = new WeakMap<AttentionGroup, Map<number, Float32Array>>();

  constructor(memory: KvMemory, run: (feeds: AttentionFeeds) => Promise<Float32Array>) {
    this.memory = memory;
    this.#run = run;
  }

  /** As `KvMemory.attend`. */
  async attend(
    layerIndex: number,
    q: Float32Array,
    batch: AttentionBatch,
    out: Float32Array,
  ): Promise<void> {
    const few = batch.groups.filter(({ numRows }) => numRows <= MAX_KERNEL_ROWS);
    if (few.length > 0) this.memory.attend(layerIndex, q, { ...batch, groups: few }, out);
    for (const group of batch.groups) {
      if (group.numRows > MAX_KERNEL_ROWS) await this.#attendMany(layerIndex, q, batch, group, out);
    }
  }

  async #attendMany(
    layerIndex: number,
    q: Float32Array,
    { lengths }: AttentionBatch,
    group: AttentionGroup,
    out: Float32Array,
  ): Promise<void> {
    const { numHeads, numKvHeads, headDim } = this.memory.spec;
    const end = group.firstRow + group.numRows;
    const length = Math.max(...lengths.subarray(group.firstRow, end));
    const size = numKvHeads * length * headDim;
    if (this.#keys.length < size) {
      this.#keys = new Float32Array(size);
      this.#values = new Float32Array(size);
    }
    const keys = this.#keys.subarray(0, size);
    const values = this.#values.subarray(0, size);
    this.memory.gather(layerIndex, group.table, length, { keys, values });
    const width = numHeads * headDim;
    const rowsAtOnce = Math.max(1, Math.floor(MAX_SCORES / (numHeads * length)));
    for (let row = group.firstRow; row < end; row += rowsAtOnce) {
      const last = Math.min(row + rowsAtOnce, end);
      const heads = await this.#run({
        q: q.subarray(row * width, last * width),
        keys,
        values,
        bias: this.#bias(group, row, lengths.subarray(row, last), length),
        numRows: last - row,
        length,
      });
      out.set(heads, row * width);
    }
  }

  /** 0 where a row sees, a large negative elsewhere. */
  #bias(group: AttentionGroup, row: number, seen: Int32Array, length: number): Float32Array {
    const known = this.#biases.get(group) ?? new Map<number, Float32Array>();
    this.#biases.set(group, known);
    let bias = known.get(row);
    if (!bias) {
      bias = new Float32Array(seen.length * length).fill(HIDDEN_SCORE);
      for (const [index, count] of seen.entries()) {
        bias.fill(0, index * length, index * length + count);
      }
      known.set(row, bias);
    }
    return bias;
  }
}
