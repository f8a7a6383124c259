/**
 * The `Device` that callers hold: turns graphs into models and hands everything else to a backend.
 *
 * It is the same for every backend, on this thread or another; after `dispose` it refuses all calls.
 */
import { ConfigError, DisposedError } from '../errors.js';
import type { DType, Graph } from '../graph/index.js';
import { buildGraph, scalar, writeOnnx } from '../graph/index.js';
import { showValue } from '../util/quote.js';
import { attentionGraph } from './attention/index.js';
import type { Backend, BackendOptions, DeviceStats, SerializedModel } from './backend.js';
import type {
  Command,
  CommandResult,
  CompileOptions,
  Device,
  DeviceBuffer,
  DeviceOptions,
  HostTensor,
  KvStore,
  KvStoreSpec,
  Program,
} from './device.js';
import { ownCopy } from './host-tensor.js';

/**
 * Opens a device on the backend that `connect` makes from the completed options. A first tiny program
 * shows whether it can compute at all.
 *
 * @throws ConfigError if an option has a value that is not allowed
 * @throws UnsupportedError if this machine does not have the kind of device
 */
export async function openGraphDevice(
  options: DeviceOptions,
  connect: (options: BackendOptions) => Backend,
): Promise<Device> {
  const { device: kind = 'cpu', numThreads } = options;
  checkDeviceOptions({ device: kind, numThreads });
  const device = new GraphDevice(kind, connect({ device: kind, numThreads }));
  try {
    await device.free(await device.compile(buildGraph({ one: scalar(1) })));
  } catch (error) {
    await device.dispose();
    throw error;
  }
  return device;
}

/** Far more than helps; every program has threads of its own, so a slip would start millions. */
export const MAX_THREADS = 256;

/** @throws ConfigError if an option has a value that is not allowed */
export function checkDeviceOptions(
  options: Partial<Record<keyof DeviceOptions, unknown>>,
): asserts options is DeviceOptions {
  const { device, numThreads } = options;
  if (device !== undefined && device !== 'cpu' && device !== 'webgpu') {
    throw new ConfigError(
      'device',
      `device is ${showValue(device)}; it must be "cpu" or "webgpu". Choose one.`,
    );
  }
  if (numThreads === undefined || isWithin(numThreads, 1, MAX_THREADS)) return;
  throw new ConfigError(
    'numThreads',
    `numThreads is ${showValue(numThreads)}; it must be a whole number from 1 to ${MAX_THREADS}. Leave it out to use every core.`,
  );
}

function isWithin(value: unknown, least: number, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

class GraphDevice implements Device {
  readonly kind: 'cpu' | 'webgpu';
  readonly #backend: Backend;
  #disposed: Promise<void> | undefined;

  constructor(kind: 'cpu' | 'webgpu', backend: Backend) {
    this.kind = kind;
    this.#backend = backend;
  }

  async compile(graph: Graph, options: CompileOptions = {}): Promise<Program> {
    return this.#live().compile({ ...serialize(graph, this.kind), ...options });
  }

  async allocate(dtype: DType, dims: readonly number[]): Promise<DeviceBuffer> {
    return this.#live().allocate(dtype, dims);
  }

  async upload(tensor: HostTensor): Promise<DeviceBuffer> {
    return this.#live().upload(ownCopy('an uploaded tensor', tensor));
  }

  async download(buffer: DeviceBuffer): Promise<HostTensor> {
    return this.#live().download(buffer);
  }

  async createKvStore(spec: KvStoreSpec): Promise<KvStore> {
    const { numHeads, numKvHeads } = spec;
    const oneHead = { ...spec, numHeads: numHeads / numKvHeads, numKvHeads: 1 };
    const all = await this.compile(attentionGraph(spec), { keepsWorkspace: false });
    const one = await this.compile(attentionGraph(oneHead), { keepsWorkspace: false });
    try {
      return await this.#live().createKvStore(spec, { all, one });
    } catch (error) {
      await this.free(all);
      await this.free(one);
      throw error;
    }
  }

  async free(target: DeviceBuffer | Program | KvStore): Promise<void> {
    return this.#live().free(target);
  }

  async submit(commands: readonly Command[]): Promise<readonly CommandResult[]> {
    return this.#live().submit(commands);
  }

  async stats(): Promise<DeviceStats> {
    return this.#live().stats();
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#backend.dispose();
    return this.#disposed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #live(): Backend {
    if (this.#disposed) throw new DisposedError(`the ${this.kind} device`);
    return this.#backend;
  }
}

/**
 * A graph as a backend takes it. Weights past `inlineLimitBytes` are gathered into one array beside
 * the model, their only copy on this side.
 */
export function serialize(
  graph: Graph,
  target: 'cpu' | 'webgpu',
  inlineLimitBytes?: number,
): SerializedModel {
  const model = writeOnnx(graph, {
    target,
    ...(inlineLimitBytes !== undefined && { inlineLimitBytes }),
  });
  if (!model.external) return { bytes: model.bytes };
  const { location, sizeBytes, tensors } = model.external;
  const bytes = new Uint8Array(sizeBytes);
  for (const tensor of tensors) bytes.set(tensor.bytes, tensor.offset);
  return { bytes: model.bytes, external: { location, bytes } };
}
