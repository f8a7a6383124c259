/** ONNX Runtime for Node: the one place that loads its native library. */
export { InferenceSession, Tensor } from 'onnxruntime-node';
