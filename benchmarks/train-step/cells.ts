/**
 * What is measured: models of 1M, 10M and 50M parameters without embedding and head, four loops, at
 * three lengths and two vocabularies. A step has about 2,048 tokens, or fewer where one would take
 * more than some ten seconds.
 *
 * Left out, so that all takes twenty to forty minutes: the large vocabulary at length 1,024, which lies
 * between its neighbours, and for 50M at 2,048; compiling but in two cells, which takes half a minute
 * each and shows what there is to see; in large cells the C library's allocator as it comes, which
 * differs by a few hundredths from the other where both are measured.
 */
import { benchmarkConfig } from '../lib/models.js';

const SIZES = {
  '1M': { hiddenSize: 128, intermediateSize: 384, numHiddenLayers: 4, numAttentionHeads: 4 },
  '10M': { hiddenSize: 384, intermediateSize: 1024, numHiddenLayers: 6, numAttentionHeads: 6 },
  '50M': { hiddenSize: 768, intermediateSize: 2048, numHiddenLayers: 7, numAttentionHeads: 12 },
} as const;

type Size = keyof typeof SIZES;

function cell(size: Size, vocabSize: number, rows: number, length: number, compiles = false) {
  return {
    name: `${size}, vocabulary ${vocabSize}, ${rows} x ${length}`,
    size,
    rows,
    length,
    /** Whether a step takes seconds. */
    isLarge: size === '50M' || vocabSize > 512,
    /** Whether compiled PyTorch takes part. */
    compiles,
    config: benchmarkConfig({ ...SIZES[size], vocabSize }),
  };
}

export type Cell = ReturnType<typeof cell>;

export const CELLS: readonly Cell[] = [
  cell('1M', 512, 8, 256, true),
  cell('1M', 512, 2, 1024),
  cell('1M', 512, 1, 2048),
  cell('1M', 49_152, 8, 256),
  cell('1M', 49_152, 1, 2048),
  cell('10M', 512, 8, 256, true),
  cell('10M', 512, 2, 1024),
  cell('10M', 512, 1, 2048),
  cell('10M', 49_152, 4, 256),
  cell('10M', 49_152, 1, 2048),
  cell('50M', 512, 2, 256),
  cell('50M', 512, 1, 1024),
  cell('50M', 512, 1, 2048),
  cell('50M', 49_152, 2, 256),
];
