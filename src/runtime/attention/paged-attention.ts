/**
 * Attention over paged keys and values for any number of query rows: by the WebAssembly kernel, or by
 * a program of ONNX Runtime over gathered pages, as the caller says for each group.
 *
 * The kernel reads each key once for a few queries and needs no copy; matrix products win as soon as
 * there are enough rows to pay for copying the pages together (about nine: benchmarks/attention).
 * Either gives a row the same bits in any company.
 * Source: docs/architecture.md, runner.
 */
import type { AttentionBatch, AttentionGroup, KvMemory, RoutedGroup } from './kv-memory.js';

/** Where the work is cut. */
export interface AttentionLimits {
  /** Attention scores of one run of the program; more rows are done in pieces. */
  readonly maxScores: number;
  /** Elements of gathered keys, as of values; longer contexts are gathered a kv head at a time. */
  readonly maxGathered: number;
}

const DEFAULT_LIMITS: AttentionLimits = {
  maxScores: 2 ** 23,
  maxGathered: 2 ** 23,
};

/** Far below any score; a row always sees at least itself. */
const HIDDEN_SCORE = -1e9;

/**
 * Rows of the program at least: one alone is multiplied by another kernel than rows of a matrix, with
 * other roundings.
 */
const MIN_PROGRAM_ROWS = 2;

/** As `AttentionBatch`, with the implementation of each group. */
export interface RoutedBatch extends AttentionBatch {
  readonly groups: readonly RoutedGroup[];
}

/** What the program takes and gives; runs on the calling thread. */
export interface AttentionFeeds {
  readonly q: Float32Array; // [N, H*Dh]
  readonly keys: Float32Array; // [K, S, Dh]
  readonly values: Float32Array; // [K, S, Dh]
  readonly bias: Float32Array; // [N, S]
  readonly numRows: number;
  readonly length: number;
  /** Whether all heads are there, or one kv head with its query heads. */
  readonly heads: 'all' | 'one';
}

export class PagedAttention {
  readonly memory: KvMemory;
  readonly #run: (feeds: AttentionFeeds) => Promise<Float32Array>;
  readonly #limits: AttentionLimits;
  #keys = new Float32Array(0);
  #values = new Float32Array(0);
  /** Biases of the batch under way, which all layers share. */
  readonly #biases = new WeakMap<AttentionGroup, Map<number, Float32Array>>();

  constructor(
    memory: KvMemory,
    run: (feeds: AttentionFeeds) => Promise<Float32Array>,
    limits: Partial<AttentionLimits> = {},
  ) {
    this.memory = memory;
    this.#run = run;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
  }

  /** As `KvMemory.attend`. */
  async attend(
    layerIndex: number,
    q: Float32Array,
    batch: RoutedBatch,
    out: Float32Array,
  ): Promise<void> {
    const inPlace = batch.groups.filter(({ via }) => via === 'kernel');
    if (inPlace.length > 0) this.memory.attend(layerIndex, q, { ...batch, groups: inPlace }, out);
    for (const group of batch.groups) {
      if (group.via === 'products') await this.#attendMany(layerIndex, q, batch, group, out);
    }
  }

  async #attendMany(
    layerIndex: number,
    q: Float32Array,
    { lengths }: AttentionBatch,
    group: AttentionGroup,
    out: Float32Array,
  ): Promise<void> {
    const { numKvHeads, headDim } = this.memory.spec;
    const { maxGathered } = this.#limits;
    const end = group.firstRow + group.numRows;
    const length = Math.max(...lengths.subarray(group.firstRow, end));
    const all = numKvHeads * length * headDim <= maxGathered;
    const count = all ? numKvHeads : 1;
    const size = count * length * headDim;
    if (this.#keys.length < size) {
      // Prompts grow by a piece at a time; a buffer for each length would be garbage at once.
      const roomy = Math.max(size, Math.min(2 * size, maxGathered));
      this.#keys = new Float32Array(roomy);
      this.#values = new Float32Array(roomy);
    }
    const keys = this.#keys.subarray(0, size);
    const values = this.#values.subarray(0, size);
    for (let head = 0; head < numKvHeads; head += count) {
      this.memory.gather(layerIndex, group.table, length, { keys, values }, [head, count]);
      const part = { keys, values, length, heads: all ? 'all' : 'one' } as const;
      await this.#attendHeads(q, lengths, group, { ...part, firstHead: head, count }, out);
    }
  }

  /** All rows of a group over the gathered kv heads. */
  async #attendHeads(
    q: Float32Array,
    lengths: Int32Array,
    group: AttentionGroup,
    gathered: Pick<AttentionFeeds, 'keys' | 'values' | 'length' | 'heads'> & {
      readonly firstHead: number;
      readonly count: number;
    },
    out: Float32Array,
  ): Promise<void> {
    const { numHeads, numKvHeads, headDim } = this.memory.spec;
    const { firstHead, count, ...feeds } = gathered;
    const [width, groupWidth] = [numHeads * headDim, (numHeads / numKvHeads) * headDim];
    const from = firstHead * groupWidth;
    const partWidth = count * groupWidth;
    const end = group.firstRow + group.numRows;
    const scoresOfRow = (partWidth / headDim) * feeds.length;
    const rowsAtOnce = Math.max(MIN_PROGRAM_ROWS, Math.floor(this.#limits.maxScores / scoresOfRow));
    for (let row = group.firstRow; row < end; row += rowsAtOnce) {
      const last = Math.min(row + rowsAtOnce, end);
      const numRows = Math.max(last - row, MIN_PROGRAM_ROWS);
      const rows = q.subarray(row * width, last * width);
      const part = padded(columns(rows, width, from, partWidth), numRows * partWidth);
      const bias = this.#bias(group, row, lengths.subarray(row, last), feeds.length);
      const heads = await this.#run({
        ...feeds,
        q: part,
        bias: padded(bias, numRows * feeds.length),
        numRows,
      });
      for (let index = row; index < last; index++) {
        const start = (index - row) * partWidth;
        out.set(heads.subarray(start, start + partWidth), index * width + from);
      }
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

/** The numbers with zeros behind them, up to `length`. */
function padded(values: Float32Array, length: number): Float32Array {
  if (values.length === length) return values;
  const longer = new Float32Array(length);
  longer.set(values);
  return longer;
}

/** Some columns of rows, in an array of their own unless they are all. */
function columns(rows: Float32Array, width: number, from: number, count: number): Float32Array {
  if (count === width) return rows;
  const picked = new Float32Array((rows.length / width) * count);
  for (let row = 0; row * width < rows.length; row++) {
    picked.set(rows.subarray(row * width + from, row * width + from + count), row * count);
  }
  return picked;
}
