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
import type { Backend, BackendOptions, DeviceStats, SerializedModel } from './backend.js';
import type { Command, CommandResult, DeviceBuffer, HostTensor, Program } from './device.js';
import type { InputSpec } from './feeds.js';
import { checkFeeds } from './feeds.js';
import { bytesOf, checkHostTensor, showTensor, zeros } from './host-tensor.js';
import type { OrtModule, OrtSession, OrtTensor } from './ort.js';
import { dtypeOf, elementsOf, sessionOptions, toOrtTensor } from './ort.js';
import { compileError, runError } from './ort-errors.js';
import { checkOtherAxes, checkRows, copyRows, rowLayout } from './rows.js';

type RunCommand = Extract<Command, { kind: 'run' }>;
type CopyRowsCommand = Extract<Command, { kind: 'copyRows' }>;
type Scatter = NonNullable<RunCommand['scatter']>[string];

interface CompiledProgram {
  readonly label: string;
  readonly session: OrtSession;
  readonly inputs: readonly InputSpec[];
}

/** Content of a buffer, or an output on its way into one. */
interface Stored {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: TensorData;
  readonly tensor: OrtTensor;
}

export class Executor implements Backend {
  readonly #ort: OrtModule;
  readonly #options: BackendOptions;
  readonly #programs = new Map<number, CompiledProgram>();
  readonly #buffers = new Map<number, Stored>();
  #nextId = 1;
  #last: Promise<unknown> = Promise.resolve();

  constructor(ort: OrtModule, options: BackendOptions) {
    this.#ort = ort;
    this.#options = options;
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

  free(target: DeviceBuffer | Program): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#buffers.delete(target.id)) return;
      const { session } = this.#program(target.id);
      this.#programs.delete(target.id);
      await session.release();
    });
  }

  submit(commands: readonly Command[]): Promise<readonly CommandResult[]> {
    return this.#inTurn(async () => {
      const results: CommandResult[] = [];
      for (const command of commands) {
        if (command.kind === 'run') results.push(await this.#run(command));
        else results.push(this.#copyRows(command));
      }
      return results;
    });
  }

  stats(): Promise<DeviceStats> {
    return this.#inTurn(() => ({
      buffers: this.#buffers.size,
      bytes: [...this.#buffers.values()].reduce((sum, { data }) => sum + data.byteLength, 0),
      programs: this.#programs.size,
    }));
  }

  dispose(): Promise<void> {
    return this.#inTurn(async () => {
      const programs = [...this.#programs.values()];
      this.#programs.clear();
      this.#buffers.clear();
      for (const { session } of programs) await session.release();
    });
  }

  /** A session gives way to other calls while it runs, so order needs a queue. */
  #inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #compile({ bytes, external, weightsFolder }: SerializedModel): Promise<Program> {
    const { device, numThreads } = this.#options;
    const options = {
      ...sessionOptions(device, numThreads, weightsFolder),
      ...(external && { externalData: [{ path: external.location, data: external.bytes }] }),
    };
    const session = await this.#ort.InferenceSession.create(bytes, options).catch((cause) => {
      throw compileError(device, cause);
    });
    const inputs = session.inputMetadata.map((metadata): InputSpec => {
      if (!metadata.isTensor) throw new Error(`input ${metadata.name} is no tensor`);
      return { name: metadata.name, dtype: dtypeOf(metadata.type), shape: metadata.shape };
    });
    const id = this.#nextId++;
    this.#programs.set(id, { label: `program ${id}`, session, inputs });
    return { id, inputNames: session.inputNames, outputNames: session.outputNames };
  }

  async #run(command: RunCommand): Promise<CommandResult> {
    const { label, session, inputs } = this.#program(command.program.id);
    const wanted = wantedOutputs(label, session, command);
    checkFeeds(label, inputs, command.feeds);
    const feeds: Record<string, OrtTensor> = {};
    for (const [name, feed] of Object.entries(command.feeds)) feeds[name] = this.#view(name, feed);

    const raw = await session.run(feeds, wanted).catch((cause) => {
      throw runError(label, cause);
    });
    const outputs = Object.fromEntries(
      Object.entries(raw).map(([name, tensor]) => [name, toStored(tensor)]),
    );
    const { fetch = [], store = {}, scatter = {} } = command;
    for (const [name, buffer] of Object.entries(store)) this.#checkStore(name, outputs, buffer);
    for (const [name, to] of Object.entries(scatter)) this.#scatter(name, outputs[name]!, to);
    for (const [name, { id }] of Object.entries(store)) this.#buffers.set(id, outputs[name]!);
    // A stored output's array now belongs to its buffer; the caller gets a copy.
    return Object.fromEntries(
      fetch.map((name) => [name, toHost(outputs[name]!, Object.hasOwn(store, name))]),
    );
  }

  #view(name: string, feed: HostTensor | DeviceBuffer): OrtTensor {
    if (!('data' in feed)) return this.#stored(feed).tensor;
    checkHostTensor(`the feed "${name}"`, feed);
    return toOrtTensor(this.#ort, feed.dtype, feed.dims, feed.data);
  }

  #checkStore(name: string, outputs: Readonly<Record<string, Stored>>, to: DeviceBuffer): void {
    const output = outputs[name]!;
    const { dtype, dims } = this.#stored(to);
    const got = showTensor(output.dtype, output.dims);
    const allowed = showTensor(dtype, dims);
    if (got === allowed) return;
    throw new ShapeError(
      `output "${name}" is ${got}; it is stored into a buffer of ${allowed}. Allocate one of that shape.`,
    );
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

  #keep(dtype: DType, dims: readonly number[], data: TensorData): DeviceBuffer {
    const id = this.#nextId++;
    this.#buffers.set(id, { dtype, dims, data, tensor: toOrtTensor(this.#ort, dtype, dims, data) });
    return { id, dtype, dims };
  }

  #stored(buffer: DeviceBuffer): Stored {
    const stored = this.#buffers.get(buffer.id);
    if (!stored) throw new DisposedError(`device buffer ${buffer.id}`);
    return stored;
  }

  #program(id: number): CompiledProgram {
    const program = this.#programs.get(id);
    if (!program) throw new DisposedError(`program or buffer ${id}`);
    return program;
  }
}

/** The outputs that a command uses. Others are not asked for: each one returned costs a copy. */
function wantedOutputs(label: string, session: OrtSession, command: RunCommand): string[] {
  const { fetch = [], store = {}, scatter = {} } = command;
  const wanted = new Set([...fetch, ...Object.keys(store), ...Object.keys(scatter)]);
  const outputs = session.outputNames;
  const list = outputs.map((name) => `"${name}"`).join(', ');
  if (wanted.size === 0) {
    throw new ShapeError(
      `${label} was run for no output; it has ${list}. Name one in fetch, store or scatter.`,
    );
  }
  const known = new Set(outputs);
  for (const name of wanted) {
    if (known.has(name)) continue;
    throw new ShapeError(`${label} was asked for "${name}"; it has ${list}. Ask for one of these.`);
  }
  return [...wanted];
}

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
