/**
 * The public door to weight files in the safetensors container. The code lives in util, because
 * model/ reads checkpoints with it and does not know the runtime.
 */
export type {
  RawArray,
  SafetensorsDtype,
  SafetensorsEntry,
  SafetensorsReader,
  SafetensorsTensor,
} from '../util/safetensors.js';
export { encodeSafetensors, openSafetensors, safetensorsChunks } from '../util/safetensors.js';
