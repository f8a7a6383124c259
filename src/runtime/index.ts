/** Devices: compile graphs to programs, keep tensors beside them, and run them. */
export type {
  Command,
  CommandResult,
  CompileOptions,
  Device,
  DeviceBuffer,
  DeviceOptions,
  DeviceSupport,
  Feed,
  HostTensor,
  Kept,
  KvStore,
  KvStoreSpec,
  PagedBatch,
  Program,
  ResidentWeights,
  TensorArray,
} from './device.js';
export { createInlineDevice } from './inline-device.js';
export type {
  RawArray,
  SafetensorsDtype,
  SafetensorsEntry,
  SafetensorsReader,
  SafetensorsTensor,
} from './safetensors.js';
export { encodeSafetensors, openSafetensors, safetensorsChunks } from './safetensors.js';
