/**
 * Keys and values of all layers in pages, and attention over them.
 *
 * Each layer has a WebAssembly memory of its own (4 GiB is the limit of one); a page has the same
 * number in all of them. Who owns which page is the caller's business: rows come with slots
 * (page * pageSize + offset) and groups with tables of page numbers. Works on the calling thread,
 * with a helper thread for its larger jobs. Knows nothing of sequences, depths or planes.
 * Source: docs/architecture.md, runner.
 */
import { CapacityError, ConfigError, DisposedError, assert } from '../../errors.js';
import type { KvDtype } from '../../util/kv-dtype.js';
import { kvElementBytes, kvPositionBytes, kvStride } from '../../util/kv-dtype.js';
import type { SpawnHelper } from './helper.js';
import { Helper } from './helper.js';
import type { Kernel } from './kernel.js';
import { GROUP_WORDS, instantiateKernel, kernelModule } from './kernel.js';

export interface KvMemorySpec {
  readonly numLayers: number;
  /** H, a multiple of K. */
  readonly numHeads: number;
  /** K. */
  readonly numKvHeads: number;
  /** Dh. Stored in multiples of 8, as i8 of 32. */
  readonly headDim: number;
  readonly dtype: KvDtype;
  /** Positions of a page: a multiple of 4, as i8 of 32, at most 256. */
  readonly pageSize: number;
}

export interface KvMemoryOptions {
  /** 1: only the calling thread. More: one helper thread as well. */
  readonly numThreads: number;
  /** Starts the helper; without it there is none. */
  readonly spawnHelper?: SpawnHelper;
}

/** Rows whose queries read the same table. */
export interface AttentionGroup {
  readonly firstRow: number;
  readonly numRows: number;
  /** Page numbers in order of positions. May be longer than the rows need. */
  readonly table: Int32Array;
}

/** A group, and which of two implementations serves it. */
export interface RoutedGroup extends AttentionGroup {
  /**
   * `kernel` reads the pages in place, for few rows; `products` gathers them for matrix products, for
   * many. They round differently, and in each a row's result depends on nothing but the row: where it
   * must not depend on the company of the row, the choice must not either.
   */
  readonly via: 'kernel' | 'products';
}

/** What the rows of one call see, the same in every layer. */
export interface AttentionBatch {
  /** [N] positions that a row sees: the first `lengths[n]` of its group's table, at least 1. */
  readonly lengths: Int32Array;
  /** Every row belongs to one group. */
  readonly groups: readonly AttentionGroup[];
}

/** f32 keys and values of one table, [K, length, Dh] each. */
export interface GatheredRows {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Rows that are staged at a time; more are done in pieces. */
const MAX_ROWS = 64;
/** Page numbers that are staged at a time: 8 million positions in pages of 128. */
const TABLE_CAPACITY = 65_536;
const MAX_PAGE_SIZE = 256;
const WASM_PAGE = 65_536;
/** One page short of 4 GiB, so that the address behind the last byte exists. */
const MAX_WASM_PAGES = 65_535;
const MAX_BALLAST = 2 ** 30;
/** Multiplications above which waking the helper pays; those of integers are twice as fast. */
const HELPED_WORK = { f32: 400_000, f16: 400_000, i8: 800_000 };
/** Items of a job for each thread: more level the load, fewer read memory in longer stretches. */
const ITEMS_PER_THREAD = 4;

/** One layer: its memory, the kernel over it, views of the staging areas. */
interface Layer {
  readonly memory: WebAssembly.Memory;
  readonly kernel: Kernel;
  readonly rowLengths: Int32Array;
  readonly groupTable: Int32Array;
  readonly tables: Int32Array;
  readonly first: Float32Array;
  readonly second: Float32Array;
}

export class KvMemory {
  readonly spec: KvMemorySpec;
  #layers: Layer[];
  readonly #startHelper: (() => Helper) | undefined;
  /** Started by the first job that it is worth waking for. */
  #helper: Helper | undefined;
  readonly #pagesStart: number;
  readonly #pageBytes: number;
  #numPages = 0;
  #isDisposed = false;

  /**
   * Memory without pages; `ensurePages` adds them.
   *
   * @throws ConfigError if a number of the spec is not allowed
   * @throws CapacityError if the address space of the process does not suffice
   */
  static create(spec: KvMemorySpec, options: KvMemoryOptions): KvMemory {
    return new KvMemory(checkedSpec(spec), options);
  }

  private constructor(spec: KvMemorySpec, options: KvMemoryOptions) {
    this.spec = spec;
    this.#pageBytes = spec.pageSize * kvPositionBytes(spec);
    const module = kernelModule();
    this.#layers = Array.from({ length: spec.numLayers }, () => openLayer(module, spec));
    this.#pagesStart = this.#layers[0]!.kernel.pagesStart();
    const { numThreads, spawnHelper } = options;
    if (numThreads > 1 && spawnHelper) {
      const memories = this.#layers.map(({ memory }) => memory);
      this.#startHelper = () => new Helper(spawnHelper, module, memories);
    }
  }

  /** Bytes that all layers have reserved for pages and staging; the system backs them when touched. */
  get bytes(): number {
    return this.#layers.reduce((sum, { memory }) => sum + memory.buffer.byteLength, 0);
  }

  /** Pages that exist in every layer. */
  get numPages(): number {
    return this.#numPages;
  }

  /**
   * Makes at least `numPages` pages exist in every layer. Contents stay; new pages are zero.
   *
   * @throws CapacityError if a layer would need 4 GiB or more, or the system has no memory left
   */
  ensurePages(numPages: number): void {
    this.#check();
    if (numPages <= this.#numPages) return;
    const needed = Math.ceil((this.#pagesStart + numPages * this.#pageBytes) / WASM_PAGE);
    if (needed > MAX_WASM_PAGES) throw new CapacityError(this.#tooLarge(numPages));
    // An eighth more, so that a growing context seldom comes here.
    const wanted = Math.min(Math.ceil(needed * 1.125), MAX_WASM_PAGES);
    for (const { memory } of this.#layers) {
      const present = memory.buffer.byteLength / WASM_PAGE;
      if (needed <= present) continue;
      try {
        memory.grow(wanted - present);
      } catch (cause) {
        throw new CapacityError(noMemory(wanted * WASM_PAGE * this.#layers.length), { cause });
      }
    }
    this.#numPages = numPages;
  }

  /**
   * Writes keys and values of N rows to their slots. In f16 they are rounded to nearest, ties to
   * even, and clamped to +-65504 (a NaN becomes 65504); in i8 to multiples of a 127th of the largest
   * magnitude of their 32 dimensions.
   *
   * @param k `[N, K * Dh]`, rotated
   * @param v `[N, K * Dh]`
   */
  write(layerIndex: number, slots: Int32Array, k: Float32Array, v: Float32Array): void {
    const { kernel, rowLengths, first, second } = this.#layer(layerIndex);
    const width = this.spec.numKvHeads * this.spec.headDim;
    assert(k.length === slots.length * width && v.length === k.length, 'rows to write fit slots');
    for (let row = 0; row < slots.length; row += MAX_ROWS) {
      const part = slots.subarray(row, row + MAX_ROWS);
      const range = [row * width, (row + part.length) * width] as const;
      rowLengths.set(part);
      first.set(k.subarray(...range));
      second.set(v.subarray(...range));
      kernel.writeRows(part.length);
    }
  }

  /** Copies slots in all layers, in the order given. */
  copy(fromSlots: Int32Array, toSlots: Int32Array): void {
    this.#check();
    assert(fromSlots.length === toSlots.length, 'as many sources as targets');
    const most = TABLE_CAPACITY / 2;
    for (const { kernel, tables } of this.#layers) {
      for (let start = 0; start < fromSlots.length; start += most) {
        const from = fromSlots.subarray(start, start + most);
        tables.set(from);
        tables.set(toSlots.subarray(start, start + most), from.length);
        kernel.copyRows(from.length);
      }
    }
  }

  /**
   * Reads the first `length` positions of a table into `out`, `[K, length, Dh]`, widened to f32.
   *
   * @param heads - only these kv heads, the first and how many; default all
   */
  gather(
    layerIndex: number,
    table: Int32Array,
    length: number,
    out: GatheredRows,
    heads: readonly [first: number, count: number] = [0, this.spec.numKvHeads],
  ): void {
    const { kernel, tables, first, second } = this.#layer(layerIndex);
    const { headDim } = this.spec;
    const [firstHead, numHeads] = heads;
    tables.set(this.#pagesOf(table, length));
    const most = Math.floor(first.length / headDim);
    for (let head = 0; head < numHeads; head++) {
      for (let start = 0; start < length; start += most) {
        const end = Math.min(start + most, length);
        kernel.readRows(firstHead + head, start, end);
        const at = (head * length + start) * headDim;
        out.keys.set(first.subarray(0, (end - start) * headDim), at);
        out.values.set(second.subarray(0, (end - start) * headDim), at);
      }
    }
  }

  /**
   * out = softmax(q k^T / sqrt(Dh)) v for every row and query head, over the positions that the row
   * sees. A row's result is the same to the bit whatever the other rows, the cut into groups and the
   * number of threads.
   *
   * @param q `[N, H * Dh]`, rotated
   * @param out `[N, H * Dh]`, may be `q`
   */
  attend(layerIndex: number, q: Float32Array, batch: AttentionBatch, out: Float32Array): void {
    const layer = this.#layer(layerIndex);
    const width = this.spec.numHeads * this.spec.headDim;
    assert(q.length === batch.lengths.length * width && out.length === q.length, 'rows to attend');
    for (const piece of this.#pieces(batch)) {
      const work = this.#stage(layer, q, batch.lengths, piece);
      this.#run(layerIndex, layer.kernel, piece.length, work);
      let row = 0;
      for (const { firstRow, numRows } of piece) {
        const end = row + numRows;
        out.set(layer.first.subarray(row * width, end * width), firstRow * width);
        row = end;
      }
    }
  }

  /** Gives up all memory. The system has it back when garbage is collected, which is soon. */
  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    // V8 does not count shared memory as a reason to collect; a buffer that nobody touches is one.
    void new ArrayBuffer(Math.min(this.bytes, MAX_BALLAST));
    this.#isDisposed = true;
    this.#layers = [];
    await this.#helper?.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /** Cuts groups, and lists of groups, to what fits the staging areas. */
  #pieces({ lengths, groups }: AttentionBatch): AttentionGroup[][] {
    const pieces: AttentionGroup[][] = [];
    let piece: AttentionGroup[] = [];
    let [rows, pages] = [MAX_ROWS, 0];
    for (const { firstRow, numRows, table } of groups) {
      for (let row = firstRow; row < firstRow + numRows; row += MAX_ROWS) {
        const count = Math.min(firstRow + numRows - row, MAX_ROWS);
        const needed = this.#pagesOf(table, lengths.subarray(row, row + count));
        if (rows + count > MAX_ROWS || pages + needed.length > TABLE_CAPACITY) {
          piece = [];
          pieces.push(piece);
          [rows, pages] = [0, 0];
        }
        piece.push({ firstRow: row, numRows: count, table: needed });
        rows += count;
        pages += needed.length;
      }
    }
    return pieces;
  }

  /** Puts a piece into the staging areas; returns its number of multiplications. */
  #stage(
    { rowLengths, groupTable, tables, first }: Layer,
    q: Float32Array,
    lengths: Int32Array,
    piece: readonly AttentionGroup[],
  ): number {
    const width = this.spec.numHeads * this.spec.headDim;
    let [row, page, positions] = [0, 0, 0];
    for (const [group, { firstRow, numRows, table }] of piece.entries()) {
      const seen = lengths.subarray(firstRow, firstRow + numRows);
      groupTable.set([row, numRows, page], group * GROUP_WORDS);
      tables.set(table, page);
      rowLengths.set(seen, row);
      first.set(q.subarray(firstRow * width, (firstRow + numRows) * width), row * width);
      row += numRows;
      page += table.length;
      positions = seen.reduce((sum, length) => sum + length, positions);
    }
    return positions * width * 2;
  }

  #run(layerIndex: number, kernel: Kernel, numGroups: number, work: number): void {
    const { numKvHeads, dtype } = this.spec;
    const isHelped = work >= HELPED_WORK[dtype] && numGroups * numKvHeads > 1;
    const helper = isHelped ? (this.#helper ??= this.#startHelper?.()) : undefined;
    const items = Math.ceil((2 * ITEMS_PER_THREAD) / numGroups);
    kernel.publish(numGroups, helper ? Math.ceil(numKvHeads / items) : numKvHeads);
    helper?.announce(layerIndex);
    kernel.work(0);
    kernel.finish();
  }

  /** The part of a table that `length` positions, or the longest of several lengths, lie in. */
  #pagesOf(table: Int32Array, length: number | Int32Array): Int32Array {
    const longest = typeof length === 'number' ? length : Math.max(...length);
    const pages = table.subarray(0, Math.ceil(longest / this.spec.pageSize));
    assert(pages.length * this.spec.pageSize >= longest, 'a table covers what its rows see');
    if (pages.length > TABLE_CAPACITY) throw new CapacityError(this.#tooLong(longest));
    return pages;
  }

  #layer(layerIndex: number): Layer {
    this.#check();
    const layer = this.#layers[layerIndex];
    assert(layer, `layer ${layerIndex} exists`);
    return layer;
  }

  #check(): void {
    if (this.#isDisposed) throw new DisposedError('KvMemory');
  }

  #tooLarge(numPages: number): string {
    const { pageSize, dtype } = this.spec;
    const most = Math.floor((MAX_WASM_PAGES * WASM_PAGE - this.#pagesStart) / this.#pageBytes);
    const remedy = { f32: 'an f16 or i8 cache, ', f16: 'an i8 cache, ', i8: '' }[dtype];
    return (
      `got ${numPages * pageSize} cached positions; a layer holds at most ${most * pageSize} in ${dtype}; ` +
      `use ${remedy}a KV policy with fewer planes, a shorter context or fewer sequences.`
    );
  }

  #tooLong(length: number): string {
    const most = TABLE_CAPACITY * this.spec.pageSize;
    return `got a context of ${length} positions; attention reads at most ${most}; use a shorter context.`;
  }
}

function openLayer(module: WebAssembly.Module, spec: KvMemorySpec): Layer {
  const area = MAX_ROWS * spec.numHeads * kvStride(spec.headDim, spec.dtype);
  // Lengths, groups, tables, three staging areas, state and scores, with room for alignment.
  const ahead = 4 * (MAX_ROWS * (1 + GROUP_WORDS) + TABLE_CAPACITY + 3 * area) + 65_536;
  const initial = Math.ceil((ahead + 8 * MAX_ROWS * spec.numHeads) / WASM_PAGE);
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial, maximum: MAX_WASM_PAGES, shared: true });
  } catch (cause) {
    throw new CapacityError(noMemory(initial * WASM_PAGE * spec.numLayers), { cause });
  }
  const kernel = instantiateKernel(module, memory);
  const elementBytes = kvElementBytes(spec.dtype);
  const { numHeads, numKvHeads, headDim, pageSize } = spec;
  kernel.configure(numHeads, numKvHeads, headDim, pageSize, elementBytes, MAX_ROWS, TABLE_CAPACITY);
  assert(kernel.pagesStart() <= initial * WASM_PAGE, 'the staging areas fit');
  const { buffer } = memory;
  return {
    memory,
    kernel,
    rowLengths: new Int32Array(buffer, kernel.rowLengths(), MAX_ROWS),
    groupTable: new Int32Array(buffer, kernel.groupTable(), MAX_ROWS * GROUP_WORDS),
    tables: new Int32Array(buffer, kernel.tables(), TABLE_CAPACITY),
    first: new Float32Array(buffer, kernel.firstStaging(), area),
    second: new Float32Array(buffer, kernel.secondStaging(), area),
  };
}

function checkedSpec(spec: KvMemorySpec): KvMemorySpec {
  const { numLayers, numHeads, numKvHeads, headDim, pageSize } = spec;
  for (const [field, value] of Object.entries({ numLayers, numHeads, numKvHeads, headDim })) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new ConfigError(field, `got ${field} ${value}; it must be an integer from 1; change it.`);
  }
  if (numHeads % numKvHeads !== 0) {
    const got = `got ${numHeads} query heads for ${numKvHeads} kv heads`;
    throw new ConfigError('numKvHeads', `${got}; they must divide; change one of them.`);
  }
  const multiple = spec.dtype === 'i8' ? 32 : 4;
  if (!(pageSize >= 4 && pageSize <= MAX_PAGE_SIZE && pageSize % multiple === 0)) {
    const allowed = `it must be a multiple of ${multiple}, at most ${MAX_PAGE_SIZE}`;
    throw new ConfigError('pageSize', `got pageSize ${pageSize}; ${allowed}; change it.`);
  }
  return spec;
}

function noMemory(bytes: number): string {
  const mebibytes = Math.ceil(bytes / 2 ** 20);
  return `got no memory for ${mebibytes} MiB of keys and values; use a shorter context or fewer sequences.`;
}
