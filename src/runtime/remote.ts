/**
 * A backend in another thread, by messages: one for a call, one for its result.
 *
 * The arrays of a call and of its result are moved, not copied. Fed tensors are copied first, since
 * the caller keeps them, and only the part that a view shows. Errors come out as they went in, with
 * their class, code and fields.
 * Which kind of worker carries the messages is the business of `Link`, one per platform.
 */
import type { DType } from '../graph/index.js';
import type { AttentionPrograms, Backend, DeviceStats, SerializedModel } from './backend.js';
import type {
  Command,
  CommandResult,
  DeviceBuffer,
  DeviceSupport,
  Feed,
  HostTensor,
  KvStore,
  KvStoreSpec,
  Program,
} from './device.js';
import { ownCopy } from './host-tensor.js';
import { packError, unpackError, type PackedError } from './remote-errors.js';

/** One end of a pair that carries messages in order. */
export interface Link {
  send(message: unknown, transfer: readonly ArrayBuffer[]): void;
  onMessage(handler: (message: unknown) => void): void;
}

/** The caller's end: it also knows the worker. */
export interface WorkerLink extends Link {
  /** Calls `handler` when the worker has stopped by itself. */
  onStop(handler: (reason: Error) => void): void;
  /** Says whether calls are under way; while none is, the worker need not keep the process alive. */
  setBusy(isBusy: boolean): void;
  close(): Promise<void>;
}

interface Call {
  readonly id: number;
  readonly method: keyof Backend;
  readonly args: readonly unknown[];
}

type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: PackedError };

/** Answers the calls that arrive on `link` from `backend`, until the thread ends. */
export function serveBackend(backend: Backend, link: Link): void {
  const answer = async ({ id, method, args }: Call): Promise<void> => {
    try {
      const value: unknown = await Reflect.apply(backend[method], backend, args);
      link.send({ id, value } satisfies Reply, buffersIn(value));
    } catch (error) {
      link.send({ id, error: packError(error) } satisfies Reply, []);
    }
  };
  link.onMessage((message) => void answer(message as Call));
}

interface Waiting {
  resolve(value: never): void;
  reject(reason: Error): void;
}

export class RemoteBackend implements Backend {
  readonly #link: WorkerLink;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #stopped: Error | undefined;

  constructor(link: WorkerLink) {
    this.#link = link;
    link.onMessage((message) => this.#settle(message as Reply));
    link.onStop((reason) => this.#stop(reason));
  }

  support(): Promise<DeviceSupport> {
    return this.#call('support', []);
  }

  compile(model: SerializedModel): Promise<Program> {
    return this.#call('compile', [model]);
  }

  allocate(dtype: DType, dims: readonly number[]): Promise<DeviceBuffer> {
    return this.#call('allocate', [dtype, dims]);
  }

  upload(tensor: HostTensor): Promise<DeviceBuffer> {
    return this.#call('upload', [tensor]);
  }

  download(buffer: DeviceBuffer): Promise<HostTensor> {
    return this.#call('download', [buffer]);
  }

  createKvStore(spec: KvStoreSpec, programs: AttentionPrograms): Promise<KvStore> {
    return this.#call('createKvStore', [spec, programs]);
  }

  free(target: DeviceBuffer | Program | KvStore): Promise<void> {
    return this.#call('free', [target]);
  }

  async submit(commands: readonly Command[]): Promise<readonly CommandResult[]> {
    return this.#call('submit', [commands.map(toSend)]);
  }

  stats(): Promise<DeviceStats> {
    return this.#call('stats', []);
  }

  async dispose(): Promise<void> {
    if (!this.#stopped) await this.#call('dispose', []);
    await this.#link.close();
  }

  #call<T>(method: keyof Backend, args: readonly unknown[]): Promise<T> {
    if (this.#stopped) return Promise.reject(this.#stopped);
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#link.send({ id, method, args } satisfies Call, buffersIn(args));
      this.#waiting.set(id, { resolve, reject });
      this.#link.setBusy(true);
    });
  }

  #settle(reply: Reply): void {
    const { resolve, reject } = this.#waiting.get(reply.id)!;
    this.#waiting.delete(reply.id);
    this.#link.setBusy(this.#waiting.size > 0);
    if ('error' in reply) reject(unpackError(reply.error));
    else resolve(reply.value as never);
  }

  #stop(reason: Error): void {
    // A crash is reported twice: as an error and as the end of the thread.
    this.#stopped ??= reason;
    for (const { reject } of this.#waiting.values()) reject(this.#stopped);
    this.#waiting.clear();
  }
}

/** A command with arrays of its own, and without the names that the executor has anyway. */
function toSend(command: Command): Command {
  if (command.kind !== 'run' && command.kind !== 'runElementwise') return command;
  const program = { id: command.program.id, inputNames: [], outputNames: [] };
  const feeds = Object.fromEntries(
    Object.entries(command.feeds).map(([name, feed]) => [name, ownFeed(name, feed)]),
  );
  if (command.kind === 'run') return { ...command, program, feeds };
  const lines = Object.entries(command.lines).map(
    ([name, line]) => [name, line.map((feed) => ownFeed(name, feed))] as const,
  );
  return { ...command, program, feeds, lines: Object.fromEntries(lines) };
}

const ownFeed = (name: string, feed: Feed): Feed =>
  'data' in feed ? ownCopy(`the feed "${name}"`, feed) : feed;

/** The memory of all typed arrays in a message, each once. Lists of numbers are not searched. */
function buffersIn(message: unknown): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  const seen = new Set<unknown>();
  const search = (value: unknown): void => {
    if (ArrayBuffer.isView(value)) return void buffers.add(value.buffer as ArrayBuffer);
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    if (Array.isArray(value) && typeof value[0] !== 'object') return;
    seen.add(value);
    for (const part of Object.values(value)) search(part);
  };
  search(message);
  return [...buffers];
}
