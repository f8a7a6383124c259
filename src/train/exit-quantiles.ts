/**
 * Where tokens exit in a stage that trains with exits: each document has a quantile, and its tokens exit
 * after the first loop at which their exit distribution reaches it, as under `cdf:` that much.
 *
 * Quantiles differ from document to document, so that the model learns to be read under any threshold, and some documents
 * run all loops, so that full depth is not forgotten.
 * Source: docs/math.md (exits-in-training).
 */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import type { BatchSource, TrainingBatch } from '../data/index.js';
import { generatorFor } from '../util/random.js';
import type { ExitSettings } from './objectives/index.js';
import { EXIT_QUANTILE } from './objectives/index.js';

/** More than an exit distribution ever reaches. */
const NEVER = 2;
/** Tells these draws from others. */
const EXITS = 0x65786974;

/** The source with a quantile for each document in its batches, a function of the indices as they are. */
export function withExitQuantiles(source: BatchSource, settings: ExitSettings): BatchSource {
  return {
    rows: source.rows,
    length: source.length,
    batchAt(trainStep, microBatch, index) {
      const batch = source.batchAt(trainStep, microBatch, index);
      const quantiles = quantilesOf(batch, settings, [trainStep, microBatch]);
      return { ...batch, extra: { ...batch.extra, [EXIT_QUANTILE.input.name]: quantiles } };
    },
  };
}

function quantilesOf(
  { length, segments }: TrainingBatch,
  { share, from, to }: ExitSettings,
  indices: readonly number[],
): Float32Array {
  const rng = generatorFor(EXITS, ...indices);
  const draw = () =>
    uniformFloat64(rng) < share ? from + (to - from) * uniformFloat64(rng) : NEVER;
  let quantile = NEVER;
  return Float32Array.from(segments, (segment, at) => {
    if (at % length === 0 || segment !== segments[at - 1]) quantile = draw();
    return quantile;
  });
}
