/** Symbolic tensors, the op table, differentiation, and the ONNX writer. */
export type { Attributes, Dim, DType, FileRange, Shape, Tensor, TensorData } from './tensor.js';
export {
  constant,
  ELEMENT_BYTES,
  fileParameter,
  input,
  intScalar,
  parameter,
  scalar,
  showShape,
  staticShape,
} from './tensor.js';
export type { OpDefinition } from './op.js';
export { findOp, opNames } from './op.js';
export { concat, expand, pad, reduceSum, reshape, slice, transpose } from './ops/layout.js';
export {
  add,
  and,
  barrier,
  cast,
  div,
  equal,
  exp,
  greaterOrEqual,
  less,
  log,
  logSigmoid,
  mul,
  neg,
  sigmoid,
  silu,
  softplus,
  sqrt,
  stopGradient,
  sub,
  where,
} from './ops/elementwise.js';
export type { MatmulOptions } from './ops/linear.js';
export { linear, matmul } from './ops/linear.js';
export type { BlockOptions } from './ops/quantized.js';
export { blockLinear, blockRowMultiple } from './ops/quantized.js';
export type { StoredMatrix, StoredRows } from './ops/stored.js';
export { storedLinear } from './ops/stored.js';
export { addAt, addRows, gatherRows, pick, rowMax } from './ops/lookup.js';
export {
  crossEntropy,
  inverseRms,
  logSoftmax,
  rmsNorm,
  softmax,
  sumSquares,
} from './ops/normalize.js';
export { rope } from './ops/position.js';
export { dependsOn, gradients, pullback } from './gradient.js';
export { recompute } from './recompute.js';
export { withGradient } from './custom-gradient.js';
export type { Graph } from './graph.js';
export { buildGraph } from './graph.js';
export type { ExternalTensor, OnnxModel, OnnxOptions } from './onnx/model.js';
export { writeOnnx } from './onnx/model.js';
