/**
 * Batches of rows from one or several sets, in a random order that a seed decides.
 *
 * The one idea: how many rows of each set come into a batch follows from the weights and from how many
 * batches there were before, so how many rows came before is a sum that can be done again, and a row's
 * place in its set's epoch is that sum. A batch is a function of its number, and a run resumes anywhere
 * without a state.
 * Does not know where rows come from.
 */
import { ConfigError } from '../errors.js';
import { permutation } from '../util/permutation.js';
import { generatorFor } from '../util/random.js';
import type { BatchSource, TrainingBatch } from './batch.js';
import { BatchPacker, checkBatchSize } from './packing.js';
import type { RowSet } from './row-sets.js';

export interface MixtureSourceOptions {
  readonly sets: readonly RowSet[];
  /**
   * Share of the rows that each set gives in a micro-batch, by how many there were before; they need not
   * sum to 1. Must depend on that number alone. Default: every set as many rows as it has.
   */
  readonly weightsAt?: ((batchIndex: number) => readonly number[]) | undefined;
  /** Rows of a batch, B. */
  readonly rows: number;
  /** Positions of a row, T; that of the sets. */
  readonly length: number;
  readonly seed: number;
  /** Micro-batches of a train step, for who does not say how many there were before. Default 1. */
  readonly accumulate?: number;
  /**
   * `epochs`: every row of a set once, in a new order each time, before any comes again.
   * `replacement`: each row is drawn from all.
   */
  readonly order: 'epochs' | 'replacement';
  /** Token id written where no document is. Default 0. */
  readonly padId?: number | undefined;
}

/** What a generator is for, so that no two draw the same numbers. */
const SHARES = 1;
const ORDER = 2;
const DRAW = 3;

/**
 * Source of a mixture. In every batch a set has within one row of its share, and on average its share.
 *
 * @throws ConfigError if a size is not a positive integer or there is no set; from `batchAt`, if a
 * weight is not a number from 0 up, they all are 0, or there are more or fewer than sets.
 */
export function mixtureSource(options: MixtureSourceOptions): BatchSource {
  const { sets, rows, length, seed, accumulate = 1, order, padId = 0 } = options;
  checkBatchSize(rows, length);
  if (sets.length === 0) throw new ConfigError('data', 'There are no data; give at least one set.');
  const weightsAt = options.weightsAt ?? (() => sets.map(({ numRows }) => numRows));

  const sharesAt = (batchIndex: number): number[] => {
    const weights = checkWeights(weightsAt(batchIndex), sets, batchIndex);
    const { next } = uniform(seed, SHARES, ...wordsOf(batchIndex));
    return systematicShares(weights, rows, next());
  };

  // Rows of each set in all batches before one: kept for the one that was asked for last.
  let summed = { batchIndex: 0, before: sets.map(() => 0) };
  const rowsBefore = (batchIndex: number): readonly number[] => {
    if (batchIndex < summed.batchIndex) summed = { batchIndex: 0, before: sets.map(() => 0) };
    const before = [...summed.before];
    for (let index = summed.batchIndex; index < batchIndex; index++) {
      sharesAt(index).forEach((share, set) => (before[set]! += share));
    }
    summed = { batchIndex, before };
    return before;
  };

  const orders = sets.map(({ numRows }, set) => orderOf(order, numRows, seed, set));
  return {
    rows,
    length,
    batchAt(
      trainStep: number,
      microBatch: number,
      batchIndex = trainStep * accumulate + microBatch,
    ): TrainingBatch {
      const before = rowsBefore(batchIndex);
      const packer = new BatchPacker({ rows, length, padId });
      sharesAt(batchIndex).forEach((share, set) => {
        for (let index = before[set]!; index < before[set]! + share; index++) {
          for (const document of sets[set]!.documentsOf(orders[set]!(index))) packer.add(document);
        }
      });
      return packer.batch;
    },
  };
}

/** Which row of a set comes as its n-th. */
function orderOf(
  order: MixtureSourceOptions['order'],
  numRows: number,
  seed: number,
  set: number,
): (index: number) => number {
  if (order === 'replacement') {
    return (index) => Math.floor(uniform(seed, DRAW, set, ...wordsOf(index)).next() * numRows);
  }
  let epoch = -1;
  let place = (index: number) => index;
  return (index) => {
    const wanted = Math.floor(index / numRows);
    if (wanted !== epoch) place = permutation(numRows, seed, ORDER, set, wanted);
    epoch = wanted;
    return place(index % numRows);
  };
}

/**
 * How many of `rows` each weight gets: the rows stand at equal distances from a random start, and each
 * weight takes those in its stretch.
 */
function systematicShares(weights: readonly number[], rows: number, start: number): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let upTo = 0;
  let taken = 0;
  return weights.map((weight, index) => {
    upTo += weight;
    // The last one takes the rest, whatever rounding says.
    const isRest = weights.slice(index + 1).every((other) => other === 0);
    const end = isRest
      ? rows
      : Math.min(rows, Math.max(0, Math.ceil((rows * upTo) / total - start)));
    const share = end - taken;
    taken = end;
    return share;
  });
}

function checkWeights(
  weights: readonly number[],
  sets: readonly RowSet[],
  batchIndex: number,
): readonly number[] {
  const names = sets.map(({ name }) => name).join(', ');
  const fail = (problem: string) =>
    new ConfigError('weight', `At micro-batch ${batchIndex} ${problem}. Correct the weights.`);
  if (weights.length !== sets.length) {
    throw fail(`there are ${weights.length} weights for ${sets.length} sets (${names})`);
  }
  const wrong = weights.findIndex((weight) => !Number.isFinite(weight) || weight < 0);
  if (wrong >= 0) {
    throw fail(
      `the weight of ${sets[wrong]!.name} is ${weights[wrong]}; it must be a number from 0 up`,
    );
  }
  if (weights.some((weight) => weight > 0)) return weights;
  throw fail(`all weights are 0 (${names}); at least one must be above`);
}

/** Numbers in [0, 1). */
function uniform(...words: readonly number[]): { next(): number } {
  const rng = generatorFor(...words);
  return { next: () => (rng.next() >>> 0) / 2 ** 32 };
}

/** An index as words of 32 bits. */
const wordsOf = (index: number) => [index >>> 0, Math.floor(index / 2 ** 32)];
