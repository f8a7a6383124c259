/**
 * The `Device` that callers hold: turns graphs into models and hands everything else to a backend.
 *
 * It is the same for every backend, on this thread or another; after `dispose` it refuses all calls.
 */
import { z } from 'zod';
import { DisposedError } from '../errors.js';
import type { DType, Graph } from '../graph/index.js';
import { buildGraph, scalar, writeOnnx } from '../graph/index.js';
import { numberWhere, parseFields } from '../util/parse-fields.js';
import { attentionGraph } from './attention/attention-graph.js';
import type { Backend, DeviceStats, SerializedModel } from './backend.js';
import type {
  Command,
  CommandResult,
  CompileOptions,
  Device,
  DeviceBuffer,
  DeviceOptions,
  DeviceSupport,
  HostTensor,
  KvStore,
  KvStoreSpec,
  Program,
} from './device.js';
import { checkFeeds } from './feeds.js';
import { ownCopy } from './host-tensor.js';

/** Far more than helps; every program has threads of its own, so a slip would start millions. */
export const MAX_THREADS = 256;

/** What `DeviceOptions.numThreads` may be. */
export const numThreadsField = numberWhere(
  `it must be a whole number from 1 to ${MAX_THREADS}. Leave it out to use every core.`,
  (value) => Number.isSafeInteger(value) && value >= 1 && value <= MAX_THREADS,
);

const schema = z.strictObject(
  { numThreads: numThreadsField.optional() } satisfies Record<keyof DeviceOptions, z.ZodType>,
  'they must be an object. Use {} for the defaults.',
);

/**
 * Opens a device on the backend that `connect` makes from the checked options. A first tiny program
 * shows whether it can compute at all.
 *
 * @throws ConfigError if an option is unknown or has a value that is not allowed
 */
export async function openGraphDevice(
  options: DeviceOptions,
  connect: (options: DeviceOptions) => Backend,
): Promise<Device> {
  const backend = connect(parseFields(schema, options, 'the device options'));
  try {
    const device = new GraphDevice(backend, await backend.support());
    await device.free(await device.compile(buildGraph({ one: scalar(1) })));
    return device;
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}

class GraphDevice implements Device {
  readonly supports: DeviceSupport;
  readonly #backend: Backend;
  #disposed: Promise<void> | undefined;

  constructor(backend: Backend, supports: DeviceSupport) {
    this.#backend = backend;
    this.supports = supports;
  }

  async compile(graph: Graph, options: CompileOptions = {}): Promise<Program> {
    checkBound(graph, options.bound);
    return this.#live().compile({ ...serialize(graph), ...options });
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
    if (this.#disposed) throw new DisposedError('the device');
    return this.#backend;
  }
}

/** @throws ShapeError if a buffer is bound to an input that does not exist, or has another shape */
function checkBound(graph: Graph, bound: CompileOptions['bound'] = {}): void {
  const inputs = graph.inputs.map(({ attributes, dtype, shape }) => ({
    name: attributes['name'] as string,
    dtype,
    shape,
  }));
  const boundInputs = inputs.filter(({ name }) => Object.hasOwn(bound, name));
  checkFeeds('the graph', boundInputs, bound);
}

/**
 * A graph as a backend takes it. Weights past `inlineLimitBytes` are gathered into one array beside
 * the model, their only copy on this side.
 */
export function serialize(graph: Graph, inlineLimitBytes?: number): SerializedModel {
  const model = writeOnnx(graph, inlineLimitBytes === undefined ? {} : { inlineLimitBytes });
  if (!model.external) return { bytes: model.bytes };
  const { location, sizeBytes, tensors } = model.external;
  const bytes = new Uint8Array(sizeBytes);
  for (const tensor of tensors) bytes.set(tensor.bytes, tensor.offset);
  return { bytes: model.bytes, external: { location, bytes } };
}
