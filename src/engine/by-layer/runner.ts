/**
 * The by-layer partition: programs between one attention and the next, attention over paged keys and
 * values in between. Serves any mixture of sequences and depths.
 *
 * A loop is one submit to the device, however many programs it takes. The cache belongs to the
 * runner: the runs of a model share its pages, and pages that a run gives back serve the next.
 * Source: docs/architecture.md (runner).
 */
import type { GraphWeights, LoopLMConfig } from '../../model/index.js';
import { ropeFeeds } from '../../model/index.js';
import type { Command, Device, KvStore, PagedBatch, Program } from '../../runtime/index.js';
import type { KvDtype } from '../../util/kv-dtype.js';
import { kvRowBytes } from '../../util/kv-dtype.js';
import type { CompileWatch } from '../compile.js';
import { compileAll, orFree } from '../compile.js';
import { endGraphs, fetchedOf, ModelEnds, NUM_ENDS } from '../ends.js';
import type { BatchEntry, CachedRun, LoopRun, Readout, Runner } from '../runner.js';
import { inPieces } from '../runner.js';
import type { Sequence } from '../sequence.js';
import { layerGraphs } from './layer-graphs.js';
import { PagePool } from './page-pool.js';

/**
 * Positions of a page: attention reads longer stretches faster (32: 590 us for 1,024 positions of 16
 * heads of 128, 64: 430, 128: 390), shorter ones waste less at the end of a sequence.
 */
const PAGE_SIZE = 128;

/** How keys and values are kept. */
export interface KvOptions {
  /** Default f32. */
  readonly kvDtype?: KvDtype | undefined;
  /** Bytes of keys and values at most, all sequences together. Default: no limit but the machine's. */
  readonly maxKvBytes?: number | undefined;
}

export class LayerRunner implements Runner {
  readonly partition = 'by-layer';
  readonly config: LoopLMConfig;
  readonly device: Device;
  readonly ends: ModelEnds;
  readonly store: KvStore;
  readonly pool: PagePool;
  readonly #programs: readonly Program[];
  numExecuted = 0;
  #grownTo = 0;

  private constructor(
    device: Device,
    config: LoopLMConfig,
    parts: {
      readonly ends: ModelEnds;
      readonly programs: readonly Program[];
      readonly store: KvStore;
      readonly maxPages: number;
    },
  ) {
    this.device = device;
    this.config = config;
    this.ends = parts.ends;
    this.#programs = parts.programs;
    this.store = parts.store;
    this.pool = new PagePool(parts.maxPages);
  }

  static async create(
    device: Device,
    config: LoopLMConfig,
    weights: GraphWeights,
    { kvDtype = 'f32', maxKvBytes = Infinity, ...watch }: KvOptions & CompileWatch = {},
  ): Promise<LayerRunner> {
    const layers = layerGraphs(config, weights).map((graph) => ({ graph, keepsWorkspace: false }));
    const graphs = [...endGraphs(config, weights), ...layers];
    const compiled = await compileAll(device, graphs, weights, watch);
    const store = await orFree(device, compiled, () =>
      device.createKvStore({
        numLayers: config.numHiddenLayers,
        numHeads: config.numAttentionHeads,
        numKvHeads: config.numKeyValueHeads,
        headDim: config.headDim,
        dtype: kvDtype,
        pageSize: PAGE_SIZE,
      }),
    );
    const ends = new ModelEnds(device, config, weights, compiled);
    const programs = compiled.slice(NUM_ENDS);
    const maxPages = Math.floor(maxKvBytes / pageBytes(config, kvDtype));
    return new LayerRunner(device, config, { ends, programs, store, maxPages });
  }

  openRun(numPlanes: number): CachedRun {
    return new PagedRun(this, numPlanes);
  }

  /** Makes the pages exist that the pool has given out. */
  async growStore(): Promise<void> {
    const { numPages } = this.pool;
    if (numPages <= this.#grownTo) return;
    await this.device.submit([{ kind: 'growPages', store: this.store, numPages }]);
    this.#grownTo = numPages;
  }

  /** Commands of one loop of `entries`; the last one fetches what the loop leaves. */
  loopCommands(entries: readonly BatchEntry[], batch: PagedBatch): readonly Command[] {
    const { store } = this;
    const commands: Command[] = [this.ends.inputCommand(entries)];
    this.#programs.forEach((program, index) => {
      const isLast = index === this.#programs.length - 1;
      const attended = index === 0 ? {} : { heads: { kept: 'heads' } };
      const feeds = { x: { kept: 'x' }, ...attended };
      if (isLast) {
        commands.push({ kind: 'run', program, feeds, fetch: fetchedOf(program) });
        return;
      }
      const keep = { qkv: 'qkv', ...(index > 0 && { stream: 'x' }) };
      commands.push({ kind: 'run', program, feeds, keep });
      commands.push({ kind: 'attend', store, layerIndex: index, batch });
    });
    return commands;
  }

  readout(states: readonly Float32Array[]): Promise<readonly Readout[]> {
    return this.ends.readout(states);
  }

  async dispose(): Promise<void> {
    for (const program of this.#programs) await this.device.free(program);
    await this.device.free(this.store);
    await this.ends.dispose();
  }
}

/** Bytes of one page in all layers: keys and values of `PAGE_SIZE` positions. */
function pageBytes(config: LoopLMConfig, kvDtype: KvDtype): number {
  const { numHiddenLayers, numKeyValueHeads, headDim } = config;
  return 2 * numHiddenLayers * numKeyValueHeads * PAGE_SIZE * kvRowBytes(headDim, kvDtype);
}

class PagedRun implements CachedRun {
  readonly #runner: LayerRunner;
  #numPlanes: number;
  /** Pages of each sequence, by plane, in the order of positions. */
  readonly #tables = new Map<Sequence, number[][]>();

  constructor(runner: LayerRunner, numPlanes: number) {
    this.#runner = runner;
    this.#numPlanes = numPlanes;
  }

  async reserve(sequence: Sequence): Promise<void> {
    const tables = this.#tables.get(sequence) ?? [];
    this.#tables.set(sequence, tables);
    const numPages = Math.ceil(sequence.tokens.length / PAGE_SIZE);
    for (let plane = 0; plane < this.#numPlanes; plane++) {
      const table = (tables[plane] ??= []);
      while (table.length < numPages) table.push(this.#runner.pool.take());
    }
    await this.#runner.growStore();
  }

  runLoop(run: LoopRun): Promise<readonly number[]> {
    return inPieces(run, (piece) => this.#runPiece(piece));
  }

  copyCommands(
    { sequence, token }: BatchEntry,
    from: number,
    to: readonly number[],
  ): readonly Command[] {
    if (to.length === 0) return [];
    const tables = this.#tables.get(sequence)!;
    const slotIn = (plane: number) => slotOf(tables[plane]!, token.position);
    return [
      {
        kind: 'copySlots',
        store: this.#runner.store,
        from: Int32Array.from(to, () => slotIn(from)),
        to: Int32Array.from(to, slotIn),
      },
    ];
  }

  async keepOnly(plane: number): Promise<void> {
    this.#numPlanes = 1;
    for (const [sequence, tables] of this.#tables) {
      const kept = tables[plane]!;
      this.#runner.pool.give(tables.filter((table) => table !== kept).flat());
      this.#tables.set(sequence, [kept]);
    }
  }

  release(sequence: Sequence): void {
    this.#runner.pool.give(this.#tables.get(sequence)?.flat() ?? []);
    this.#tables.delete(sequence);
  }

  async dispose(): Promise<void> {
    for (const sequence of this.#tables.keys()) this.release(sequence);
  }

  async #runPiece({ entries, plane }: LoopRun): Promise<readonly number[]> {
    const { device, ends } = this.#runner;
    const commands = this.#runner.loopCommands(entries, this.#batch(entries, plane));
    const results = await device.submit(commands);
    this.#runner.numExecuted += entries.length;
    return ends.advance(entries, results.at(-1)!);
  }

  /**
   * Every row writes its own position and sees all positions up to it. How it attends is decided by
   * where its token comes from, not by how many come along: so its result is its own.
   */
  #batch(entries: readonly BatchEntry[], plane: number): PagedBatch {
    const { config, ends } = this.#runner;
    const positions = new Int32Array(ends.paddedRows(entries.length));
    positions.set(entries.map(({ token }) => token.position));
    const { cos, sin } = ropeFeeds(config, positions);
    const groups: { firstRow: number; numRows: number; table: Int32Array; via: Via }[] = [];
    entries.forEach(({ sequence, token }, row) => {
      const before = entries[row - 1];
      if (before?.sequence === sequence && before.token.isPrompt === token.isPrompt) {
        groups.at(-1)!.numRows++;
      } else {
        const table = Int32Array.from(this.#tables.get(sequence)![plane]!);
        const via = token.isPrompt ? 'products' : 'kernel';
        groups.push({ firstRow: row, numRows: 1, table, via });
      }
    });
    return {
      slots: Int32Array.from(entries, ({ sequence, token }) =>
        slotOf(this.#tables.get(sequence)![plane]!, token.position),
      ),
      lengths: Int32Array.from(entries, ({ token }) => token.position + 1),
      groups,
      cos: cos.data,
      sin: sin.data,
    };
  }
}

type Via = PagedBatch['groups'][number]['via'];

function slotOf(table: readonly number[], position: number): number {
  return table[Math.floor(position / PAGE_SIZE)]! * PAGE_SIZE + (position % PAGE_SIZE);
}
