/**
 * Owns sessions and buffers, and executes commands over an injected ONNX Runtime.
 *
 * A buffer is a typed array with the ONNX Runtime tensor that views it. The array that a session
 * returns for an output is its own, so storing an output is adopting that array: nothing is copied.
 * Work is done one call after the other, in the order of the calls.
 * Knows neither graphs nor threads: `remote.ts` puts it into a worker.
 */
import { DisposedError, ShapeError } from '../errors.js';
import type { DType, TensorData } from '../graph/index.js';
import { bytesOf } from '../util/bytes-of.js';
import { KV_DTYPES } from '../util/kv-dtype.js';
import { MATRIX_DTYPES } from '../util/matrix-dtype.js';
import type { AttentionFeeds, AttentionRows, SpawnHelper } from './attention/index.js';
import { KvMemory, PagedAttention, rotatedRows } from './attention/index.js';
import type { AttentionPrograms, Backend, DeviceStats, SerializedModel } from './backend.js';
import type {
  Command,
  CommandResult,
  DeviceBuffer,
  DeviceOptions,
  DeviceSupport,
  Feed,
  HostTensor,
  KvStore,
  KvStoreSpec,
  Program,
} from './device.js';
import type { Fed, InputSpec } from './feeds.js';
import { checkFeeds } from './feeds.js';
import { checkHostTensor, showTensor, zeros } from './host-tensor.js';
import type { OrtModule, OrtSession, OrtTensor } from './ort.js';
import { dtypeOf, elementsOf, sessionOptions, toOrtTensor } from './ort.js';
import { compileError, runError } from './ort-errors.js';
import { checkOtherAxes, checkRows, copyRows, rowLayout } from './rows.js';
import type { Line } from './stretches.js';
import { asVector, elementsIn, lineSizes, stretchesOf, writeInto } from './stretches.js';

type RunCommand = Extract<Command, { kind: 'run' }>;
type ElementwiseCommand = Extract<Command, { kind: 'runElementwise' }>;
type CopyRowsCommand = Extract<Command, { kind: 'copyRows' }>;
type GatherCommand = Extract<Command, { kind: 'gather' }>;
type AttendCommand = Extract<Command, { kind: 'attend' }>;
type Scatter = NonNullable<RunCommand['scatter']>[string];

interface CompiledProgram {
  readonly label: string;
  readonly session: OrtSession;
  /** To be fed. */
  readonly inputs: readonly InputSpec[];
  readonly bound: Readonly<Record<string, DeviceBuffer>>;
}

/** Content of a buffer, or an output on its way into one. */
interface Stored {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: TensorData;
  readonly tensor: OrtTensor;
}

/** Values that live from one command to the next, by name. */
type KeptValues = Map<string, Stored>;

interface OpenStore {
  readonly attention: PagedAttention;
  /** Of the last `attend`, for the next. */
  rows?: AttentionRows;
  readonly programs: AttentionPrograms;
}

/** ONNX Runtime on the CPU multiplies them all (f16 in f32), and the attention kernel reads them all. */
const SUPPORT: DeviceSupport = { matrices: MATRIX_DTYPES, kvDtypes: KV_DTYPES };

export class Executor implements Backend {
  readonly #ort: OrtModule;
  readonly #options: DeviceOptions;
  readonly #spawnHelper: SpawnHelper | undefined;
  readonly #programs = new Map<number, CompiledProgram>();
  readonly #buffers = new Map<number, Stored>();
  readonly #stores = new Map<number, OpenStore>();
  #nextId = 1;
  #last: Promise<unknown> = Promise.resolve();
  #isDisposed = false;

  /** @param spawnHelper - starts a second thread for attention; without it there is one */
  constructor(ort: OrtModule, options: DeviceOptions, spawnHelper?: SpawnHelper) {
    this.#ort = ort;
    this.#options = options;
    this.#spawnHelper = spawnHelper;
  }

  async support(): Promise<DeviceSupport> {
    return SUPPORT;
  }

  compile(model: SerializedModel): Promise<Program> {
    return this.#inTurn(() => this.#compile(model));
  }

  allocate(dtype: DType, dims: readonly number[]): Promise<DeviceBuffer> {
    return this.#inTurn(() => this.#keep(dtype, dims, zeros(dtype, dims)));
  }

  upload(tensor: HostTensor): Promise<DeviceBuffer> {
    return this.#inTurn(() => this.#keep(tensor.dtype, tensor.dims, tensor.data));
  }

  download(buffer: DeviceBuffer): Promise<HostTensor> {
    return this.#inTurn(() => toHost(this.#stored(buffer), true));
  }

  createKvStore(spec: KvStoreSpec, programs: AttentionPrograms): Promise<KvStore> {
    return this.#inTurn(() => {
      const memory = KvMemory.create(spec, {
        numThreads: this.#options.numThreads ?? 1,
        ...(this.#spawnHelper && { spawnHelper: this.#spawnHelper }),
      });
      const run = (feeds: AttentionFeeds) =>
        this.#attendMany(programs[feeds.heads].id, spec.headDim, feeds);
      const id = this.#nextId++;
      this.#stores.set(id, { attention: new PagedAttention(memory, run), programs });
      return { id, spec };
    });
  }

  free(target: DeviceBuffer | Program | KvStore): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#buffers.delete(target.id)) return;
      const store = this.#stores.get(target.id);
      if (!store) return this.#release(target.id);
      this.#stores.delete(target.id);
      await store.attention.memory.dispose();
      await this.#release(store.programs.all.id);
      await this.#release(store.programs.one.id);
    });
  }

  submit(commands: readonly Command[]): Promise<readonly CommandResult[]> {
    return this.#inTurn(async () => {
      const kept: KeptValues = new Map();
      const results: CommandResult[] = [];
      for (const command of commands) {
        this.#checkAlive();
        results.push(await this.#execute(command, kept));
      }
      return results;
    });
  }

  stats(): Promise<DeviceStats> {
    return this.#inTurn(() => ({
      buffers: this.#buffers.size,
      bytes:
        [...this.#buffers.values()].reduce((sum, { data }) => sum + data.byteLength, 0) +
        [...this.#stores.values()].reduce((sum, { attention }) => sum + attention.memory.bytes, 0),
      programs: this.#programs.size,
    }));
  }

  dispose(): Promise<void> {
    this.#isDisposed = true;
    return this.#inTurn(async () => {
      const programs = [...this.#programs.values()];
      this.#programs.clear();
      this.#buffers.clear();
      for (const { attention } of this.#stores.values()) await attention.memory.dispose();
      this.#stores.clear();
      for (const { session } of programs) await session.release();
    });
  }

  /** A session gives way to other calls while it runs, so order needs a queue. */
  #inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Long work stops here once the device is disposed: natively, it cannot be interrupted. */
  #checkAlive(): void {
    if (this.#isDisposed) throw new DisposedError('the device');
  }

  async #compile({ bytes, external, bound = {}, ...compile }: SerializedModel): Promise<Program> {
    this.#checkAlive();
    const options = {
      ...sessionOptions(this.#options.numThreads, compile),
      ...(external && { externalData: [{ path: external.location, data: external.bytes }] }),
    };
    const session = await this.#ort.InferenceSession.create(bytes, options).catch((cause) => {
      throw compileError(cause);
    });
    const inputs = session.inputMetadata
      .filter(({ name }) => !Object.hasOwn(bound, name))
      .map((metadata): InputSpec => {
        if (!metadata.isTensor) throw new Error(`input ${metadata.name} is no tensor`);
        return { name: metadata.name, dtype: dtypeOf(metadata.type), shape: metadata.shape };
      });
    const id = this.#nextId++;
    this.#programs.set(id, { label: `program ${id}`, session, inputs, bound });
    const inputNames = inputs.map(({ name }) => name);
    return { id, inputNames, outputNames: session.outputNames };
  }

  async #execute(command: Command, kept: KeptValues): Promise<CommandResult> {
    switch (command.kind) {
      case 'run':
        return this.#run(command, kept);
      case 'runElementwise':
        return this.#runElementwise(command, kept);
      case 'copyRows':
        return this.#copyRows(command);
      case 'gather':
        return this.#gather(command, kept);
      case 'keep':
        for (const [name, value] of Object.entries(command.values)) {
          const { dtype, dims, data } = value;
          checkHostTensor(`the kept value "${name}"`, value);
          kept.set(name, this.#hold(dtype, dims, data));
        }
        return {};
      case 'take':
        return Object.fromEntries(command.names.map((name) => [name, takeValue(kept, name)]));
      case 'growPages':
        this.#store(command.store).attention.memory.ensurePages(command.numPages);
        return {};
      case 'copySlots':
        this.#store(command.store).attention.memory.copy(command.from, command.to);
        return {};
      case 'attend':
        return this.#attend(command, kept);
      default:
        return command satisfies never;
    }
  }

  async #attend(command: AttendCommand, kept: KeptValues): Promise<CommandResult> {
    const { store, layerIndex, batch, keep } = command;
    const open = this.#store(store);
    const { memory } = open.attention;
    const qkv = floats(keptValue(kept, command.qkv.kept));
    open.rows = rotatedRows(qkv, memory.spec, batch, open.rows);
    const { q, k, v } = open.rows;
    const { numHeads, numKvHeads, headDim } = memory.spec;
    const [width, keyWidth] = [numHeads * headDim, numKvHeads * headDim];
    const heads = new Float32Array(q.length);
    const numRows = batch.slots.length;
    const keys = numRows * keyWidth;
    memory.write(layerIndex, batch.slots, k.subarray(0, keys), v.subarray(0, keys));
    const own = numRows * width;
    await open.attention.attend(layerIndex, q.subarray(0, own), batch, heads.subarray(0, own));
    kept.set(keep, this.#hold('f32', [q.length / width, width], heads));
    return {};
  }

  /** Attention as a program, for many rows. */
  async #attendMany(
    programId: number,
    headDim: number,
    { q, keys, values, bias, numRows, length }: AttentionFeeds,
  ): Promise<Float32Array> {
    const { label, session } = this.#program(programId);
    const tensor = (dims: readonly number[], data: Float32Array) =>
      toOrtTensor(this.#ort, 'f32', dims, data);
    const cached = [keys.length / (length * headDim), length, headDim];
    const feeds = {
      q: tensor([numRows, q.length / numRows], q),
      keys: tensor(cached, keys),
      values: tensor(cached, values),
      bias: tensor([numRows, length], bias),
    };
    const { heads } = await session.run(feeds, ['heads']).catch((cause) => {
      throw runError(label, cause);
    });
    return heads!.data as Float32Array;
  }

  async #run(command: RunCommand, kept: KeptValues): Promise<CommandResult> {
    const { label, session, inputs, bound } = this.#program(command.program.id);
    const wanted = wantedOutputs(label, session, usedOutputs(command));
    const fed: Record<string, HostTensor | DeviceBuffer | Stored> = {};
    for (const [name, feed] of Object.entries(command.feeds)) fed[name] = given(feed, kept);
    checkFeeds(label, inputs, fed);
    const feeds: Record<string, OrtTensor> = {};
    for (const [name, feed] of Object.entries(fed)) feeds[name] = this.#view(name, feed);
    for (const [name, buffer] of Object.entries(bound)) feeds[name] = this.#view(name, buffer);

    const raw = await session.run(feeds, wanted).catch((cause) => {
      throw runError(label, cause);
    });
    const outputs = Object.fromEntries(
      Object.entries(raw).map(([name, tensor]) => [name, toStored(tensor)]),
    );
    const { fetch = [], store = {}, scatter = {}, keep = {} } = command;
    for (const [name, keptName] of Object.entries(keep)) kept.set(keptName, outputs[name]!);
    for (const [name, buffer] of Object.entries(store)) {
      checkStore(name, outputs[name]!, this.#stored(buffer));
    }
    for (const [name, to] of Object.entries(scatter)) this.#scatter(name, outputs[name]!, to);
    for (const [name, { id }] of Object.entries(store)) this.#buffers.set(id, outputs[name]!);
    // The array of a stored or kept output stays here; the caller gets a copy.
    return Object.fromEntries(
      fetch.map((name) => [
        name,
        toHost(outputs[name]!, Object.hasOwn(store, name) || Object.hasOwn(keep, name)),
      ]),
    );
  }

  async #runElementwise(command: ElementwiseCommand, kept: KeptValues): Promise<CommandResult> {
    const { label, session, inputs } = this.#program(command.program.id);
    const wanted = wantedOutputs(label, session, Object.keys(command.store));
    const linesOf = (lines: Readonly<Record<string, readonly Feed[]>>) =>
      Object.entries(lines).map(([name, line]): Line => ({
        name,
        tensors: line.map((feed) => this.#read(name, given(feed, kept))),
      }));
    const [from, to] = [linesOf(command.lines), linesOf(command.store)];
    const sizes = lineSizes(label, [...from, ...to]);
    const fed: Record<string, Fed> = {};
    const feeds: Record<string, OrtTensor> = {};
    for (const [name, feed] of Object.entries(command.feeds)) {
      const value = given(feed, kept);
      fed[name] = value;
      feeds[name] = this.#view(name, value);
    }
    for (const { name, tensors } of from) fed[name] = asVector(tensors);
    checkFeeds(label, inputs, fed);

    for (const stretch of stretchesOf(sizes)) {
      this.#checkAlive();
      for (const { name, tensors } of from) {
        feeds[name] = this.#view(name, elementsIn(tensors, stretch));
      }
      const raw = await session.run(feeds, wanted).catch((cause) => {
        throw runError(label, cause);
      });
      for (const { name, tensors } of to) {
        checkStore(name, toStored(raw[name]!), {
          dtype: tensors[0]!.dtype,
          dims: [stretch.size],
        });
      }
      for (const { name, tensors } of to) writeInto(tensors, stretch, elementsOf(raw[name]!));
    }
    return {};
  }

  /** The elements that are fed. */
  #read(name: string, feed: HostTensor | DeviceBuffer): HostTensor {
    if (!('data' in feed)) return this.#stored(feed);
    checkHostTensor(`the feed "${name}"`, feed);
    return feed;
  }

  #view(name: string, feed: HostTensor | DeviceBuffer | Stored): OrtTensor {
    if ('tensor' in feed) return feed.tensor;
    if (!('data' in feed)) return this.#stored(feed).tensor;
    const { dtype, dims, data } = this.#read(name, feed);
    return toOrtTensor(this.#ort, dtype, dims, data);
  }

  #scatter(name: string, output: Stored, { to, axis, rows }: Scatter): void {
    const what = `scatter of output "${name}"`;
    const target = this.#stored(to);
    checkSameType(what, output, target);
    const layout = rowLayout(what, output.dims, axis, output.data.BYTES_PER_ELEMENT);
    checkOtherAxes(what, output.dims, target.dims, axis);
    const numRows = output.dims[axis]!;
    if (rows.length !== numRows) {
      throw new ShapeError(
        `${what} names ${rows.length} rows; the output has ${numRows}. Name one for each.`,
      );
    }
    checkRows(what, rows, target.dims[axis]!);
    const fromRows = rows.map((_, index) => index);
    copyRows(rowSpace(output, axis), rowSpace(target, axis), layout, fromRows, rows);
  }

  #copyRows({ from, to, axis, fromRows, toRows }: CopyRowsCommand): CommandResult {
    const what = 'copyRows';
    const source = this.#stored(from);
    const target = this.#stored(to);
    checkSameType(what, source, target);
    const layout = rowLayout(what, source.dims, axis, source.data.BYTES_PER_ELEMENT);
    checkOtherAxes(what, source.dims, target.dims, axis);
    if (fromRows.length !== toRows.length) {
      throw new ShapeError(
        `${what} got ${fromRows.length} fromRows and ${toRows.length} toRows; they are pairs. Pass as many of each.`,
      );
    }
    checkRows(`${what} from`, fromRows, source.dims[axis]!);
    checkRows(`${what} to`, toRows, target.dims[axis]!);
    copyRows(rowSpace(source, axis), rowSpace(target, axis), layout, fromRows, toRows);
    return {};
  }

  #gather({ from, rows, keep, fetch }: GatherCommand, kept: KeptValues): CommandResult {
    const source = this.#stored(from);
    checkRows('gather', rows, source.dims[0]!);
    const dims = [rows.length, ...source.dims.slice(1)];
    const data = zeros(source.dtype, dims);
    const layout = rowLayout('gather', source.dims, 0, source.data.BYTES_PER_ELEMENT);
    const target = { bytes: bytesOf(data), numRows: rows.length };
    copyRows(rowSpace(source, 0), target, layout, rows, [...rows.keys()]);
    if (keep !== undefined) kept.set(keep, this.#hold(source.dtype, dims, data));
    return fetch ? { rows: { dtype: source.dtype, dims, data } } : {};
  }

  #keep(dtype: DType, dims: readonly number[], data: TensorData): DeviceBuffer {
    const id = this.#nextId++;
    this.#buffers.set(id, this.#hold(dtype, dims, data));
    return { id, dtype, dims };
  }

  #hold(dtype: DType, dims: readonly number[], data: TensorData): Stored {
    return { dtype, dims, data, tensor: toOrtTensor(this.#ort, dtype, dims, data) };
  }

  #store({ id }: KvStore): OpenStore {
    const store = this.#stores.get(id);
    if (!store) throw new DisposedError(`key and value store ${id}`);
    return store;
  }

  #stored(buffer: DeviceBuffer): Stored {
    const stored = this.#buffers.get(buffer.id);
    if (!stored) throw new DisposedError(`device buffer ${buffer.id}`);
    return stored;
  }

  async #release(programId: number): Promise<void> {
    const { session } = this.#program(programId);
    this.#programs.delete(programId);
    await session.release();
  }

  #program(id: number): CompiledProgram {
    const program = this.#programs.get(id);
    if (!program) throw new DisposedError(`program or buffer ${id}`);
    return program;
  }
}

/** The outputs that a command uses. Others are not asked for: each one returned costs a copy. */
function usedOutputs({ fetch = [], store = {}, scatter = {}, keep = {} }: RunCommand) {
  return [...fetch, ...Object.keys(store), ...Object.keys(scatter), ...Object.keys(keep)];
}

/** Names of outputs, each once. @throws ShapeError if there are none, or not such ones */
function wantedOutputs(label: string, session: OrtSession, names: readonly string[]): string[] {
  const wanted = new Set(names);
  const outputs = session.outputNames;
  const list = outputs.map((name) => `"${name}"`).join(', ');
  if (wanted.size === 0) {
    throw new ShapeError(
      `${label} was run for no output; it has ${list}. Name one in fetch, keep, store or scatter.`,
    );
  }
  const known = new Set(outputs);
  for (const name of wanted) {
    if (known.has(name)) continue;
    throw new ShapeError(`${label} was asked for "${name}"; it has ${list}. Ask for one of these.`);
  }
  return [...wanted];
}

function checkStore(name: string, output: Fed, to: Fed): void {
  const got = showTensor(output.dtype, output.dims);
  const allowed = showTensor(to.dtype, to.dims);
  if (got === allowed) return;
  throw new ShapeError(
    `output "${name}" is ${got}; it is stored into a buffer of ${allowed}. Allocate one of that shape.`,
  );
}

/** A feed with the kept value in place of its name. */
const given = (feed: Feed, kept: KeptValues): HostTensor | DeviceBuffer | Stored =>
  'kept' in feed ? keptValue(kept, feed.kept) : feed;

function keptValue(kept: KeptValues, name: string): Stored {
  const value = kept.get(name);
  if (value) return value;
  const names = [...kept.keys()].map((known) => `"${known}"`).join(', ');
  throw new ShapeError(
    `a command reads the kept value "${name}"; ${names || 'none'} is kept. Keep it in an earlier command of the submit.`,
  );
}

function takeValue(kept: KeptValues, name: string): HostTensor {
  const value = keptValue(kept, name);
  kept.delete(name);
  return toHost(value, false);
}

const floats = ({ data }: Stored): Float32Array => data as Float32Array;

function toStored(tensor: OrtTensor): Stored {
  const { type, dims } = tensor;
  return { dtype: dtypeOf(type), dims, data: elementsOf(tensor), tensor };
}

function toHost({ dtype, dims, data }: Stored, copy: boolean): HostTensor {
  return { dtype, dims, data: copy ? data.slice() : data };
}

const rowSpace = ({ data, dims }: Stored, axis: number) => ({
  bytes: bytesOf(data),
  numRows: dims[axis]!,
});

function checkSameType(what: string, from: Stored, to: Stored): void {
  if (from.dtype === to.dtype) return;
  throw new ShapeError(
    `${what} copies ${from.dtype} into a buffer of ${to.dtype}; the types must be equal. Use a ${from.dtype} buffer.`,
  );
}
