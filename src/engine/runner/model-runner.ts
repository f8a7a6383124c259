/**
 * Runs steps: one loop for each of some rows, of any sequences and at any depths.
 *
 * A row is a token, its place in the states of the device, and the plane that it reads and writes. A
 * model of L layers is L + 1 programs between one attention and the next; a step is one submit to the
 * device, however many programs it takes. States and keys stay there: gate logits come back, and
 * readouts and states only where they are asked for. Knows no policy, no sampling and no text.
 * Source: docs/architecture.md (runner).
 */
import { assert } from '../../errors.js';
import type { LoopLMConfig } from '../../model/index.js';
import { kvPlaneBytes, ropeFeeds } from '../../model/index.js';
import type {
  Command,
  CommandResult,
  Device,
  DeviceBuffer,
  KvStore,
  PagedBatch,
  Program,
} from '../../runtime/index.js';
import type { KvDtype } from '../../util/kv-dtype.js';
import { PagePool } from '../cache/page-pool.js';
import { PrefixCache } from '../cache/prefix-cache.js';
import { PAGE_SIZE } from '../cache/sequence-pages.js';
import type { CompileWatch } from './compile.js';
import { compileAll, orFree } from './compile.js';
import type { EngineWeights } from './engine-weights.js';
import { layerGraphs } from './layer-graphs.js';
import type { Readout } from './model-ends.js';
import { embeddingGraph, hiddenGraph, readoutGraph } from './model-ends.js';
import { PADDING_STATE, StateSlots } from './state-slots.js';

/** How keys and values are kept. */
export interface KvOptions {
  /** Default f32. */
  readonly kvDtype?: KvDtype | undefined;
  /** Bytes of keys and values at most, all sequences together. Default: no limit but the machine's. */
  readonly maxKvBytes?: number | undefined;
  /**
   * Bytes of keys and values, of those, that ended requests may leave behind for prompts that begin
   * alike; 0 for none. Default 256 MiB.
   */
  readonly maxPrefixBytes?: number | undefined;
}

const DEFAULT_PREFIX_BYTES = 2 ** 28;

/** One loop of one token. */
export interface StepRow {
  /** Where its state lies on the device. */
  readonly state: number;
  /** Where the loop leaves it. Default where it was. */
  readonly into?: number;
  /** For the first loop, which begins with the embedding of this id. */
  readonly tokenId?: number;
  /** Index in the sequence. */
  readonly position: number;
  /** Pages of its plane, in the order of positions. Rows that share a table stand together. */
  readonly pages: readonly number[];
  /** Where its keys and values go: page * PAGE_SIZE + offset. */
  readonly slot: number;
  /** Whether the request came with the token; else it was generated. */
  readonly isPrompt: boolean;
}

export interface Step {
  /** In the order of positions within a sequence and plane. */
  readonly rows: readonly StepRow[];
  /** Places whose keys and values are copied to others first, `[from, to]`, in every layer. */
  readonly copies?: readonly (readonly [number, number])[];
  /** Rows whose logits are wanted after the loop, by index. */
  readonly readouts?: readonly number[];
  /** Rows whose hidden state is wanted after the loop, by index. */
  readonly hidden?: readonly number[];
}

export interface StepResult {
  /** Of each row, before the sigmoid; minus infinity if the model has no exit gate. */
  readonly gateLogits: ArrayLike<number>;
  /** By row index. */
  readonly readouts: ReadonlyMap<number, Readout>;
  /** By row index, `[D]` each. */
  readonly hidden: ReadonlyMap<number, Float32Array>;
}

/** Rows of states that exist at first. */
const FIRST_STATES = 64;

/**
 * Weights of the largest matrix of a layer from which it pays to divide products among threads: a thread
 * takes tens of microseconds to wake, and a row reads a few thousand weights in one.
 */
const MIN_PARALLEL_WEIGHTS = 2 ** 17;

/** Gate logit of a model without an exit gate: lambda is 0. */
const SHUT_GATE = -Infinity;

interface Parts {
  readonly embedding: Program;
  readonly readout: Program;
  /** Absent where the state is the hidden state. */
  readonly hidden: Program | undefined;
  readonly layers: readonly Program[];
  readonly store: KvStore;
  readonly weights: EngineWeights;
  readonly maxPages: number;
  readonly maxKeptPages: number;
}

export class ModelRunner {
  readonly config: LoopLMConfig;
  /** Pages of the store, to be taken and given back. */
  readonly pages: PagePool;
  /** Places of states, to be taken and given back. */
  readonly states = new StateSlots();
  /** What prompts have left in pages and states. */
  readonly prefixes: PrefixCache;
  readonly #device: Device;
  readonly #parts: Parts;
  #stateRows: DeviceBuffer | undefined;
  #growing: Promise<void> | undefined;
  #numExecuted = 0;
  #grownTo = 0;

  private constructor(device: Device, config: LoopLMConfig, parts: Parts) {
    this.#device = device;
    this.config = config;
    this.#parts = parts;
    this.pages = new PagePool(parts.maxPages);
    this.prefixes = new PrefixCache(this.pages, this.states, parts.maxKeptPages);
  }

  /** Compiles a model. @throws the signal's reason when it aborts */
  static async create(
    device: Device,
    config: LoopLMConfig,
    weights: EngineWeights,
    { kvDtype = 'f32', ...options }: KvOptions & CompileWatch = {},
  ): Promise<ModelRunner> {
    const { maxKvBytes = Infinity, maxPrefixBytes = DEFAULT_PREFIX_BYTES, ...watch } = options;
    const ends = [embeddingGraph(config, weights), readoutGraph(config, weights)];
    const read = hiddenGraph(config, weights);
    const isParallel = config.hiddenSize * config.intermediateSize >= MIN_PARALLEL_WEIGHTS;
    const layers = layerGraphs(config, weights).map((graph) => {
      return { graph, keepsWorkspace: false, isParallel };
    });
    const kept = [...ends, ...(read ? [read] : [])].map((graph) => ({ graph, isParallel }));
    const programs = await compileAll(device, [...layers, ...kept], weights, watch);
    const store = await orFree(device, programs, () =>
      device.createKvStore({
        numLayers: config.numHiddenLayers,
        numHeads: config.numAttentionHeads,
        numKvHeads: config.numKeyValueHeads,
        headDim: config.headDim,
        dtype: kvDtype,
        pageSize: PAGE_SIZE,
      }),
    );
    const [embedding, readout, hidden] = programs.slice(layers.length);
    const pageBytes = PAGE_SIZE * kvPlaneBytes(config, kvDtype);
    return new ModelRunner(device, config, {
      layers: programs.slice(0, layers.length),
      embedding: embedding!,
      readout: readout!,
      hidden,
      store,
      weights,
      maxPages: Math.floor(maxKvBytes / pageBytes),
      maxKeptPages: Math.floor(maxPrefixBytes / pageBytes),
    });
  }

  /** (token, loop) pairs computed so far. */
  get numExecuted(): number {
    return this.#numExecuted;
  }

  /** Of the weights that a step submitted now would read; 0 if they do not change. */
  get weightsVersion(): number {
    return this.#parts.weights.resident?.version ?? 0;
  }

  /** Runs the rows of a step, all in one submit. */
  async step({ rows, copies = [], readouts = [], hidden = [] }: Step): Promise<StepResult> {
    await this.#growStates();
    const states = this.#stateRows!;
    const commands = [
      ...this.#growPages(),
      ...this.#copyCommands(copies),
      ...this.#inputCommands(rows, states),
      ...this.#loopCommands(rows, states),
    ];
    const gates = commands.length - 1;
    const statesOf = (indices: readonly number[]) => indices.map((index) => resultOf(rows[index]!));
    if (readouts.length > 0) commands.push(...this.#readoutCommands(statesOf(readouts), states));
    const readoutEnd = commands.length - 1;
    if (hidden.length > 0) commands.push(...this.#hiddenCommands(statesOf(hidden), states));
    const results = await this.#device.submit(commands);
    this.#numExecuted += rows.length;
    return {
      gateLogits: results[gates]!['gateLogit']
        ? floatsOf(results[gates]!, 'gateLogit').subarray(0, rows.length)
        : rows.map(() => SHUT_GATE),
      readouts: byRow(readouts, this.#readoutsOf(results[readoutEnd]!, readouts.length)),
      hidden: byRow(hidden, this.#rowsOf(results.at(-1)!, hidden.length)),
    };
  }

  /** What states say of the next token. */
  async readout(states: readonly number[]): Promise<readonly Readout[]> {
    await this.#growStates();
    const results = await this.#device.submit(this.#readoutCommands(states, this.#stateRows!));
    return this.#readoutsOf(results.at(-1)!, states.length);
  }

  /** Hidden states, `[D]` each. */
  async hidden(states: readonly number[]): Promise<readonly Float32Array[]> {
    await this.#growStates();
    const results = await this.#device.submit(this.#hiddenCommands(states, this.#stateRows!));
    return this.#rowsOf(results.at(-1)!, states.length);
  }

  async dispose(): Promise<void> {
    const { layers, embedding, readout, hidden, store } = this.#parts;
    const programs = [...layers, embedding, readout, ...(hidden ? [hidden] : [])];
    for (const part of [...programs, store]) await this.#device.free(part);
    if (this.#stateRows) await this.#device.free(this.#stateRows);
  }

  /**
   * Makes room on the device for all states in use. What is submitted next, before anything is awaited,
   * finds them in `#stateRows`.
   */
  async #growStates(): Promise<void> {
    while (this.states.size > (this.#stateRows?.dims[0] ?? 0)) {
      this.#growing ??= this.#moveStates().finally(() => (this.#growing = undefined));
      await this.#growing;
    }
  }

  async #moveStates(): Promise<void> {
    const numRows = this.#stateRows?.dims[0] ?? 0;
    const wanted = Math.max(FIRST_STATES, 2 * numRows, this.states.size);
    const grown = await this.#device.allocate('f32', [wanted, this.config.hiddenSize]);
    // From here to the submit nothing is awaited: who submits before it finds the old rows, else the new.
    const old = this.#stateRows;
    this.#stateRows = grown;
    if (!old) return;
    const kept = Array.from({ length: numRows }, (_, row) => row);
    await this.#device.submit([
      { kind: 'copyRows', from: old, to: grown, axis: 0, fromRows: kept, toRows: kept },
    ]);
    await this.#device.free(old);
  }

  /** Makes the pages exist that the pool has given out. */
  #growPages(): readonly Command[] {
    const { numPages } = this.pages;
    if (numPages <= this.#grownTo) return [];
    this.#grownTo = numPages;
    return [{ kind: 'growPages', store: this.#parts.store, numPages }];
  }

  #copyCommands(copies: readonly (readonly [number, number])[]): readonly Command[] {
    if (copies.length === 0) return [];
    const from = Int32Array.from(copies, ([source]) => source);
    const to = Int32Array.from(copies, ([, target]) => target);
    return [{ kind: 'copySlots', store: this.#parts.store, from, to }];
  }

  /** The embedding gives rows of the first loop their state, so that no row is special after this. */
  #inputCommands(rows: readonly StepRow[], states: DeviceBuffer): readonly Command[] {
    const first = rows.filter(({ tokenId }) => tokenId !== undefined);
    const padded = this.#padded(rows.map(({ state }) => state));
    const x: Command = { kind: 'gather', from: states, rows: padded, keep: 'x' };
    if (first.length === 0) return [x];
    const data = Int32Array.from(first, ({ tokenId }) => tokenId!);
    const ids = { dtype: 'i32', dims: [data.length], data } as const;
    const to = { to: states, axis: 0, rows: first.map(({ state }) => state) };
    const { embedding } = this.#parts;
    return [{ kind: 'run', program: embedding, feeds: { ids }, scatter: { x: to } }, x];
  }

  /** The last command fetches `gateLogit`, if there is one. */
  #loopCommands(rows: readonly StepRow[], states: DeviceBuffer): readonly Command[] {
    const { store, layers } = this.#parts;
    const batch = this.#batch(rows);
    return layers.flatMap((program, index): readonly Command[] => {
      const attended = index === 0 ? {} : { heads: { kept: 'heads' } };
      const feeds = { x: { kept: 'x' }, ...attended };
      if (index === layers.length - 1) {
        const state = { to: states, axis: 0, rows: this.#padded(rows.map(resultOf)) };
        const fetch = program.outputNames.filter((name) => name === 'gateLogit');
        return [{ kind: 'run', program, feeds, scatter: { state }, fetch }];
      }
      const keep = { qkv: 'qkv', ...(index > 0 && { stream: 'x' }) };
      return [
        { kind: 'run', program, feeds, keep },
        { kind: 'attend', store, layerIndex: index, batch, qkv: { kept: 'qkv' }, keep: 'heads' },
      ];
    });
  }

  /**
   * Every row writes its own place and sees all positions up to its own. How it attends is decided by
   * where its token comes from, not by how many come along: so its result is its own.
   */
  #batch(rows: readonly StepRow[]): PagedBatch {
    const positions = this.#padded(
      rows.map(({ position }) => position),
      0,
    );
    const { cos, sin } = ropeFeeds(this.config, positions);
    const groups: { firstRow: number; numRows: number; table: Int32Array; via: Via }[] = [];
    rows.forEach(({ pages, isPrompt }, row) => {
      const before = rows[row - 1];
      if (before?.pages === pages && before.isPrompt === isPrompt) {
        groups.at(-1)!.numRows++;
      } else {
        const via = isPrompt ? 'products' : 'kernel';
        groups.push({ firstRow: row, numRows: 1, table: Int32Array.from(pages), via });
      }
    });
    return {
      slots: Int32Array.from(rows, ({ slot }) => slot),
      lengths: Int32Array.from(rows, ({ position }) => position + 1),
      groups,
      cos: cos.data,
      sin: sin.data,
    };
  }

  /** The last command fetches. */
  #readoutCommands(rows: readonly number[], states: DeviceBuffer): readonly Command[] {
    const { readout } = this.#parts;
    return [
      { kind: 'gather', from: states, rows: this.#padded(rows), keep: 'state' },
      {
        kind: 'run',
        program: readout,
        feeds: { state: { kept: 'state' } },
        fetch: ['logits', 'logSumExp'],
      },
    ];
  }

  /** The last command fetches. */
  #hiddenCommands(rows: readonly number[], states: DeviceBuffer): readonly Command[] {
    const { hidden } = this.#parts;
    if (!hidden) return [{ kind: 'gather', from: states, rows, fetch: true }];
    return [
      { kind: 'gather', from: states, rows, keep: 'state' },
      { kind: 'run', program: hidden, feeds: { state: { kept: 'state' } }, fetch: ['h'] },
    ];
  }

  #readoutsOf(result: CommandResult, count: number): readonly Readout[] {
    if (count === 0) return [];
    const { vocabSize } = this.config;
    const logits = floatsOf(result, 'logits');
    const logSumExp = floatsOf(result, 'logSumExp');
    return Array.from({ length: count }, (_, row) => ({
      logits: logits.subarray(row * vocabSize, (row + 1) * vocabSize),
      logSumExp: logSumExp[row]!,
    }));
  }

  #rowsOf(result: CommandResult, count: number): readonly Float32Array[] {
    if (count === 0) return [];
    const { hiddenSize } = this.config;
    const rows = floatsOf(result, this.#parts.hidden ? 'h' : 'rows');
    return Array.from({ length: count }, (_, row) =>
      rows.subarray(row * hiddenSize, (row + 1) * hiddenSize),
    );
  }

  /** Rows are padded to the number at which their products do not depend on it. */
  #padded(values: readonly number[], padding: number = PADDING_STATE): readonly number[] {
    const { rowMultiple = 1 } = this.#parts.weights;
    const missing = -values.length & (rowMultiple - 1);
    return missing === 0 ? values : [...values, ...Array.from({ length: missing }, () => padding)];
  }
}

/** Where the state of a row lies after the step. */
export const resultOf = ({ state, into = state }: StepRow): number => into;

type Via = PagedBatch['groups'][number]['via'];

function floatsOf(result: CommandResult, name: string): Float32Array {
  const data = result[name]?.data;
  assert(data instanceof Float32Array, `the device returned ${name}`);
  return data;
}

const byRow = <T>(rows: readonly number[], values: readonly T[]): ReadonlyMap<number, T> =>
  new Map(rows.map((row, index) => [row, values[index]!]));
