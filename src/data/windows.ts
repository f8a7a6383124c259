/**
 * A fixed list of documents as rows to draw: short ones whole, of long ones a window anywhere.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { ConfigError } from '../errors.js';
import type { TrainingDocument } from './batch.js';

/**
 * Draws from a list, for `generatedSource`. A document of n rows' length is drawn n times as often
 * as one that fits a row, and then gives a window of `length` tokens at a random place.
 *
 * @throws ConfigError if the list is empty.
 */
export function windowsOf(
  documents: readonly TrainingDocument[],
  length: number,
): (rng: RandomGenerator) => TrainingDocument {
  if (documents.length === 0) {
    throw new ConfigError('documents', 'There are no documents to train on; give at least one.');
  }
  const shares = documents.flatMap((document) =>
    Array<TrainingDocument>(Math.ceil(document.ids.length / length)).fill(document),
  );
  return (rng) => {
    const document = shares[uniformInt(rng, 0, shares.length - 1)]!;
    const { ids, targets } = document;
    if (ids.length <= length) return document;
    const start = uniformInt(rng, 0, ids.length - length);
    return {
      ids: ids.slice(start, start + length),
      targets: targets.slice(start, start + length),
    };
  };
}
