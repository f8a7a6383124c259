/**
 * What this project uses of ONNX Runtime, as one injected value.
 *
 * The packages for Node and for browsers have the same shape (`onnxruntime-common`), so the executor
 * takes either. Here are the names of element types on both sides and the options of every session.
 * Source: the session options of onnxruntime.ai.
 */
import type * as Ort from 'onnxruntime-node';
import type { DType, TensorData } from '../graph/index.js';
import type { CompileOptions } from './device.js';

export type OrtModule = Pick<typeof Ort, 'InferenceSession' | 'Tensor'>;
export type OrtSession = Ort.InferenceSession;
export type OrtTensor = Ort.Tensor;

const ORT_TYPE = {
  f32: 'float32',
  f16: 'float16',
  i32: 'int32',
  i64: 'int64',
  u8: 'uint8',
  i8: 'int8',
  bool: 'bool',
} as const satisfies Record<DType, Ort.Tensor.Type>;

const DTYPE = new Map<string, DType>(
  Object.entries(ORT_TYPE).map(([dtype, type]) => [type, dtype as DType]),
);

/** The element type that ONNX Runtime calls `type`. */
export function dtypeOf(type: string): DType {
  const dtype = DTYPE.get(type);
  if (!dtype) throw new Error(`Internal error (please report it): element type ${type}`);
  return dtype;
}

/** A view of `data` that can be fed to a session; nothing is copied. */
export function toOrtTensor(
  ort: OrtModule,
  dtype: DType,
  dims: readonly number[],
  data: TensorData,
): OrtTensor {
  return new ort.Tensor(ORT_TYPE[dtype], data, dims);
}

/** The elements of a session's output. Half floats stay bits, also where `Float16Array` exists. */
export function elementsOf(tensor: OrtTensor): TensorData {
  const data = tensor.data as TensorData;
  if (tensor.type !== 'float16') return data;
  return new Uint16Array(data.buffer as ArrayBuffer, data.byteOffset, data.length);
}

/** Options of a session; `numThreads` undefined leaves the choice to ONNX Runtime. */
export function sessionOptions(
  numThreads: number | undefined,
  {
    weightsFolder,
    keepsWorkspace = true,
    plansWorkspace = keepsWorkspace,
    isParallel = true,
    spins = false,
  }: CompileOptions,
): Ort.InferenceSession.SessionOptions {
  const threads = isParallel ? numThreads : 1;
  return {
    executionProviders: ['cpu'],
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    enableCpuMemArena: keepsWorkspace,
    enableMemPattern: plansWorkspace,
    logSeverityLevel: 3,
    extra: {
      // A product is slower by a transposed first operand than by its transpose, which these would undo.
      optimization: { disable_specified_optimizers: 'MatmulTransposeFusion;GemmTransposeFusion' },
      // Idle threads that spin take the cores from the other programs of a model: they stop with the run.
      session: {
        intra_op: { allow_spinning: spins ? '1' : '0' },
        force_spinning_stop: '1',
        ...(weightsFolder && { model_external_initializers_file_folder_path: weightsFolder }),
      },
    },
  };
}
