/**
 * Batches of documents that are made up on the spot.
 *
 * The one idea: each (trainStep, microBatch) has its own random generator, hashed from the seed and
 * the two indices; documents are drawn from it until one does not fit. Nothing is remembered from
 * one batch to the next. Does not know what the documents are about.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { ConfigError } from '../errors.js';
import type { BatchSource, TrainingBatch, TrainingDocument } from './batch.js';
import { BatchPacker, checkBatchSize } from './packing.js';
import { generatorFor } from '../util/random.js';

/** How to fill batches with drawn documents. */
export interface GeneratedSourceOptions {
  /** Draws one document. All its randomness must come from `rng`. */
  readonly documents: (rng: RandomGenerator, trainStep: number) => TrainingDocument;
  /** Rows of a batch, B. */
  readonly rows: number;
  /** Positions of a row, T. */
  readonly length: number;
  readonly seed: number;
  /** Token id written where no document is. Default 0. */
  readonly padId?: number;
}

/**
 * Source that fills each batch with drawn documents, first fit, until one fits no row; that one is
 * dropped. To train on a fixed list, draw from it: `(rng) => list[uniformInt(rng, 0, n - 1)]`.
 *
 * @throws ConfigError if `rows` or `length` is not a positive integer; from `batchAt`, if a drawn
 * document is longer than a row.
 */
export function generatedSource(options: GeneratedSourceOptions): BatchSource {
  const { documents, rows, length, seed, padId = 0 } = options;
  checkBatchSize(rows, length);
  return {
    rows,
    length,
    batchAt(trainStep: number, microBatch: number): TrainingBatch {
      const rng = generatorFor(seed, trainStep, microBatch);
      const packer = new BatchPacker({ rows, length, padId });
      let isPlaced: boolean;
      do {
        const document = documents(rng, trainStep);
        checkFitsRow(document, length);
        isPlaced = packer.add(document) !== undefined;
      } while (isPlaced);
      return packer.batch;
    },
  };
}

function checkFitsRow(document: TrainingDocument, length: number): void {
  const needed = document.ids.length;
  if (needed <= length) return;
  throw new ConfigError(
    'length',
    `A document has ${needed} tokens; a row holds at most ${length}. ` +
      `Set length to ${needed} or more, or draw shorter documents.`,
  );
}
