/**
 * What quantisation costs the bundled model, by depth, as data: the content of quantization.json.
 */
import { z } from 'zod';

export const QUANTIZATION_FILE = 'quantization.json';

const number = z.number();
const count = z.int();
/** Entry `depth - 1` belongs to `depth`. */
const byDepth = z.array(number);

export const quantizationSchema = z.strictObject({
  provenance: z.strictObject({
    looplm: z.string(),
    onnxruntime: z.string(),
    seed: count,
    questions: count,
    /** Tokens of training text that inputs were weighed over, and the seed it was drawn with. */
    calibrationTokens: count,
    calibrationSeed: count,
  }),
  exitThreshold: number,
  /** Float32 first. */
  variants: z.array(
    z.strictObject({
      /** Such as `q4 64 calibrated`: format, block size, and how integers were chosen. */
      name: z.string(),
      /** Of the weight file. */
      sizeBytes: count,
      /** sqrt(sum (w - w')^2 / sum w^2), mean over the matrices of the layers. */
      weightError: number,
      /** By task, of questions whose every token runs to this depth. */
      accuracyByDepth: z.record(z.string(), byDepth),
      /** sqrt(sum |h - h'|^2 / sum |h|^2) over all tokens of the questions; h' is this variant's. */
      stateErrorByDepth: byDepth,
      /** KL divergence of the answer's distribution from that of float32, mean in nats. */
      klByDepth: byDepth,
      /** Under Q-exit at the threshold, means over tasks. */
      exit: z.strictObject({
        accuracy: number,
        meanDepth: number,
        /** Share of answers that exit at the depth of float32. */
        equalDepths: number,
        /** Mean of |depth - depth of float32|. */
        depthDifference: number,
      }),
    }),
  ),
});
export type QuantizationFigures = z.infer<typeof quantizationSchema>;
export type VariantFigures = QuantizationFigures['variants'][number];
