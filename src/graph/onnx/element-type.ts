/** Numbers of the element types in onnx.proto (TensorProto.DataType). */
import type { DType } from '../tensor.js';

export const ONNX_ELEMENT_TYPE: Readonly<Record<DType, number>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
};
