/**
 * The interface through which everything computes: compile a graph to a program, keep tensors
 * resident next to it, and submit commands.
 *
 * A device owns its memory. Tensors cross the interface as `HostTensor` (typed arrays, moved once
 * each way); tensors that live on between commands are `DeviceBuffer`s and never cross it. One
 * `submit` is one round trip to the device's thread, however many commands it holds, so a whole
 * loop of a model (run a program, write the new cache rows) costs one.
 * It knows nothing of models. Only the executor behind it names ONNX Runtime.
 */
import type { DType, Graph, TensorData } from '../graph/index.js';
import type { KvDtype } from '../util/kv-dtype.js';
import type { MatrixDtype } from '../util/matrix-dtype.js';
import type { KvMemorySpec, RoutedBatch, RowAngles } from './attention/index.js';

export type TensorArray = TensorData;

/** A tensor on the caller's side. `data` is row-major and has exactly the product of `dims` elements. */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: TensorArray;
}

/** A tensor that lives on the device until `device.free`. */
export interface DeviceBuffer {
  readonly id: number;
  readonly dtype: DType;
  readonly dims: readonly number[];
}

/** Weights in buffers, which programs may share with whoever changes them. */
export interface ResidentWeights {
  /** Where the buffers are. */
  readonly device: Device;
  /** By the name of the weight. */
  readonly buffers: ReadonlyMap<string, DeviceBuffer>;
  /** Rises by each change, when it is submitted: commands that are submitted after that see it. */
  readonly version: number;
}

/** A compiled graph with its weights. */
export interface Program {
  readonly id: number;
  /** What a run must feed. */
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
}

/** A value that an earlier command of the same `submit` kept, by its name. */
export interface Kept {
  readonly kept: string;
}

/** What an input may get. */
export type Feed = HostTensor | DeviceBuffer | Kept;

/** Keys and values of all layers of a model in pages, on the device until `device.free`. */
export interface KvStore {
  readonly id: number;
  readonly spec: KvStoreSpec;
}

export type KvStoreSpec = KvMemorySpec;

/** One command of a `submit`, executed in order. Kept values live until the submit ends. */
export type Command =
  | {
      /** Runs a program. Every input that is not bound to a buffer must be fed. */
      readonly kind: 'run';
      readonly program: Program;
      readonly feeds: Readonly<Record<string, Feed>>;
      /** Outputs to keep for later commands: the name to keep each under. */
      readonly keep?: Readonly<Record<string, string>>;
      /** Outputs to return to the caller, in the result of this command. */
      readonly fetch?: readonly string[];
      /**
       * Outputs that become the new content of a buffer (same dtype and dims), without leaving the device.
       */
      readonly store?: Readonly<Record<string, DeviceBuffer>>;
      /**
       * Outputs whose rows along `axis` are written into a buffer: row `i` of the output becomes row
       * `rows[i]` of the buffer along that axis. All other axes must agree.
       */
      readonly scatter?: Readonly<
        Record<
          string,
          { readonly to: DeviceBuffer; readonly axis: number; readonly rows: readonly number[] }
        >
      >;
    }
  | {
      /**
       * Runs a program of vectors `[N]` over tensors in line, of any shapes, some of their elements after the
       * others, and writes its outputs over their elements. What is computed stays near the processor, and
       * nothing as large as all of them is made.
       */
      readonly kind: 'runElementwise';
      readonly program: Program;
      /** For inputs that are no vectors. */
      readonly feeds: Readonly<Record<string, Feed>>;
      /** For inputs `[N]`: tensors that are one by one as large as those of `store`. */
      readonly lines: Readonly<Record<string, readonly Feed[]>>;
      /** At least one. */
      readonly store: Readonly<Record<string, readonly (DeviceBuffer | Kept)[]>>;
    }
  | {
      /** Copies rows of one buffer into another (or itself): `from[fromRows[i]]` to `to[toRows[i]]` along `axis`. */
      readonly kind: 'copyRows';
      readonly from: DeviceBuffer;
      readonly to: DeviceBuffer;
      readonly axis: number;
      readonly fromRows: readonly number[];
      readonly toRows: readonly number[];
    }
  | {
      /**
       * Takes rows of a buffer along its first axis, in any order and repeated at will: kept under a name
       * for later commands, or returned as `rows`.
       */
      readonly kind: 'gather';
      readonly from: DeviceBuffer;
      readonly rows: readonly number[];
      readonly keep?: string;
      readonly fetch?: boolean;
    }
  | {
      /** Keeps values of the caller for later commands. Their arrays are given away with the submit. */
      readonly kind: 'keep';
      readonly values: Readonly<Record<string, HostTensor>>;
    }
  | {
      /** Returns kept values by their names. They are given away, not copied: later commands cannot read them. */
      readonly kind: 'take';
      readonly names: readonly string[];
    }
  | {
      /** Makes at least `numPages` pages of a store exist; contents stay. */
      readonly kind: 'growPages';
      readonly store: KvStore;
      readonly numPages: number;
    }
  | {
      /** Copies positions of a store to others, in every layer. */
      readonly kind: 'copySlots';
      readonly store: KvStore;
      readonly from: Int32Array;
      readonly to: Int32Array;
    }
  | {
      /**
       * Rotates queries and keys, writes the new keys and values of a layer into a store, then attends.
       * The batch describes the first N of M rows; the others are padding, whose heads are zero.
       */
      readonly kind: 'attend';
      readonly store: KvStore;
      readonly layerIndex: number;
      /** `[M, (H + 2K) * Dh]`: queries, keys and values of each row, not rotated. */
      readonly qkv: Kept;
      /** The name to keep the attended heads `[M, H * Dh]` under. */
      readonly keep: string;
      /** Its arrays are given away with the submit; several commands may share it. */
      readonly batch: PagedBatch;
    };

/** The rows of one pass through the layers: their angles `[M, Dh/2]`, where their keys go, and what they see. */
export interface PagedBatch extends RoutedBatch, RowAngles {
  /** `[N]`, page * pageSize + offset. */
  readonly slots: Int32Array;
}

/** What a `run` command fetched, by output name; the others give an empty record. */
export type CommandResult = Readonly<Record<string, HostTensor>>;

export interface DeviceOptions {
  /** Threads inside one operator, 1 to 256. Default: the machine's core count. */
  readonly numThreads?: number | undefined;
}

export interface CompileOptions {
  /** Folder of the files that parameters name. Not behind a symbolic link that leads out of it. */
  readonly weightsFolder?: string;
  /** Inputs that are not fed: every run reads them from these buffers, as they are then. */
  readonly bound?: Readonly<Record<string, DeviceBuffer>>;
  /**
   * Whether the program keeps the memory of its intermediate values for the next run. Default true:
   * faster where one program runs again and again. Of many programs that run in turn each would keep
   * its own.
   */
  readonly keepsWorkspace?: boolean;
  /**
   * Whether the values of a run share one block that is planned after the first. Default as
   * `keepsWorkspace`. Else each gets memory when it is computed: a twentieth slower, but of large values
   * the kept workspace is half as large.
   */
  readonly plansWorkspace?: boolean;
  /**
   * Whether operators are divided among the threads of the device. Default true. Where an operator takes
   * less than it takes to wake a thread, one thread is faster.
   */
  readonly isParallel?: boolean;
  /**
   * Whether threads spin between the operators of a run instead of going to sleep. Default false. For
   * large programs: a tenth faster where the cores are free, much slower where they are not.
   */
  readonly spins?: boolean;
}

/** What a device can compute with. */
export interface DeviceSupport {
  /** How matrices that its programs multiply with may be stored. */
  readonly matrices: readonly MatrixDtype[];
  /** How its stores may keep keys and values. */
  readonly kvDtypes: readonly KvDtype[];
}

export interface Device {
  readonly supports: DeviceSupport;
  /**
   * Compiles a graph. Parameters of the graph become constants of the program; their arrays are
   * copied during the call and may be dropped by the caller afterwards. Parameters that lie in files
   * are mapped from there: the files must stay as they are until the program is freed. Buffers that
   * inputs are bound to must live as long.
   *
   * @throws FileError if a file of weights cannot be read
   * @throws ShapeError if a buffer does not fit the input that is bound to it
   */
  compile(graph: Graph, options?: CompileOptions): Promise<Program>;
  /** A zero-filled buffer. */
  allocate(dtype: DType, dims: readonly number[]): Promise<DeviceBuffer>;
  upload(tensor: HostTensor): Promise<DeviceBuffer>;
  download(buffer: DeviceBuffer): Promise<HostTensor>;
  /** An empty store; `growPages` gives it pages. */
  createKvStore(spec: KvStoreSpec): Promise<KvStore>;
  free(target: DeviceBuffer | Program | KvStore): Promise<void>;
  submit(commands: readonly Command[]): Promise<readonly CommandResult[]>;
  /** Bytes of live buffers and stores, and number of live programs and buffers, for leak tests. */
  stats(): Promise<{ readonly buffers: number; readonly bytes: number; readonly programs: number }>;
  /**
   * Frees everything. Later calls throw `DisposedError`, and so does a `submit` or `compile` that is
   * under way, before its next program.
   */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
