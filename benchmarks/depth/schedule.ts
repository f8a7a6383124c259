/**
 * Which depth every token of a measurement is forced to.
 *
 * A round passes through the mean depths, a segment of tokens for each, and the next passes back, so
 * that over an even number of rounds every mean depth is met at the same context on average, and
 * drift of the machine hits all alike.
 *
 * A segment ends with one of its deepest tokens. Under `per-loop` that one runs the loops its
 * predecessors deferred, so a segment pays for its own. Before each segment stands a token of full
 * depth that belongs to none: it pays for what a segment of shallow tokens left for nobody.
 */
import { generatorFor } from 'looplm/data';
import { uniformInt } from 'pure-rand/distribution/uniformInt';

/** Loops of full depth of the models that are measured. */
export const NUM_LOOPS = 4;

/** Tokens of depth 1 to 4 in a segment, by their mean depth: all depths, but at the two ends. */
const COUNTS: ReadonlyMap<number, readonly [number, number, number, number]> = new Map([
  [1, [12, 0, 0, 0]],
  [1.5, [9, 1, 1, 1]],
  [2, [6, 2, 2, 2]],
  [2.5, [3, 3, 3, 3]],
  [3, [2, 2, 2, 6]],
  [3.5, [1, 1, 1, 9]],
  [4, [0, 0, 0, 12]],
]);

export const MEAN_DEPTHS: readonly number[] = [...COUNTS.keys()];

/** A token of a schedule; `meanDepth` is absent where its time is not counted. */
export interface ScheduledToken {
  readonly depth: number;
  readonly meanDepth?: number;
}

/**
 * Depths in an order of their own, one of the deepest last.
 *
 * @param counts - tokens of depth 1, 2 and so on
 * @param words - equal ones give equal orders
 */
export function drawDepths(counts: readonly number[], ...words: readonly number[]): number[] {
  const rng = generatorFor(...words);
  const depths = counts.flatMap((count, loopIndex) =>
    Array.from({ length: count }, () => loopIndex + 1),
  );
  for (let rest = depths.length - 2; rest > 0; rest--) {
    const other = uniformInt(rng, 0, rest);
    [depths[rest], depths[other]] = [depths[other]!, depths[rest]!];
  }
  return depths;
}

function segment(meanDepth: number, seed: number, round: number): readonly ScheduledToken[] {
  const depths = drawDepths(COUNTS.get(meanDepth)!, seed, round, 2 * meanDepth);
  return [{ depth: NUM_LOOPS }, ...depths.map((depth) => ({ depth, meanDepth }))];
}

/** The tokens of a round; the same for equal seeds. @param round - from 0 */
export function scheduleRound(
  round: number,
  seed: number,
  meanDepths: readonly number[] = MEAN_DEPTHS,
): readonly ScheduledToken[] {
  const order = round % 2 === 0 ? meanDepths : meanDepths.toReversed();
  return order.flatMap((meanDepth) => segment(meanDepth, seed, round));
}

export const ROUND_TOKENS = scheduleRound(0, 0).length;
