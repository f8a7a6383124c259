/** ONNX Runtime for Node: the one place that loads its native library, with its telemetry off. */
import { switchOffTelemetry } from '#telemetry';

await switchOffTelemetry();
// Not a static import: that one would be loaded without waiting for the line above.
export const { InferenceSession, Tensor } = await import('onnxruntime-node');
