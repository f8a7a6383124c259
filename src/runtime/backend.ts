/**
 * The narrow waist between a device and the thread that computes.
 *
 * `Executor` implements it next to ONNX Runtime; `remote.ts` implements it by messages to an
 * executor in a worker. It speaks of serialised models, so graphs stay on the caller's side.
 */
import type { DType } from '../graph/index.js';
import type {
  Command,
  CommandResult,
  CompileOptions,
  DeviceBuffer,
  DeviceSupport,
  HostTensor,
  KvStore,
  KvStoreSpec,
  Program,
} from './device.js';

/** An ONNX model, with the content of the one file of weights it may refer to, or the folder of several. */
export interface SerializedModel extends CompileOptions {
  readonly bytes: Uint8Array;
  readonly external?: { readonly location: string; readonly bytes: Uint8Array };
}

/** `attentionGraph` compiled for all heads, and for one kv head with its query heads. */
export interface AttentionPrograms {
  readonly all: Program;
  readonly one: Program;
}

export interface DeviceStats {
  readonly buffers: number;
  readonly bytes: number;
  readonly programs: number;
}

/**
 * Calls take effect in the order in which they are made, but `dispose` is heard at once: what is being
 * computed ends before its next program. Arrays passed in are given away, except feeds.
 */
export interface Backend {
  support(): Promise<DeviceSupport>;
  compile(model: SerializedModel): Promise<Program>;
  allocate(dtype: DType, dims: readonly number[]): Promise<DeviceBuffer>;
  upload(tensor: HostTensor): Promise<DeviceBuffer>;
  download(buffer: DeviceBuffer): Promise<HostTensor>;
  /** @param programs - the store owns them */
  createKvStore(spec: KvStoreSpec, programs: AttentionPrograms): Promise<KvStore>;
  free(target: DeviceBuffer | Program | KvStore): Promise<void>;
  submit(commands: readonly Command[]): Promise<readonly CommandResult[]>;
  stats(): Promise<DeviceStats>;
  dispose(): Promise<void>;
}
