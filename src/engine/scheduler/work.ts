/** What a sequence can do in a step. */

/** One loop for some positions of a sequence. */
export interface Work {
  readonly loopIndex: number;
  /** First position. */
  readonly first: number;
  /** Positions. */
  readonly count: number;
  /** Which they are, rising, where they do not follow one another: those between have exited. */
  readonly positions?: readonly number[];
}

/** All positions, rising. */
export function positionsOf({ first, count, positions }: Work): readonly number[] {
  return positions ?? Array.from({ length: count }, (_, index) => first + index);
}

/** The position after the last. */
export function endOf({ first, count, positions }: Work): number {
  return (positions?.at(-1) ?? first + count - 1) + 1;
}

/** The first positions of a piece of work, so many at most. */
export function beginningOf(work: Work, most: number): Work {
  if (work.count <= most) return work;
  const { positions } = work;
  return { ...work, count: most, ...(positions && { positions: positions.slice(0, most) }) };
}
