/** Whether two sides do the same work: from the same weights on the same batch their losses agree. */

/** The side that the others are held against. */
const REFERENCE = 'looplm f32';

/**
 * How far two losses may be apart, as a fraction of the first: by other sums in f32, by 8 bits of
 * mantissa in bf16. Of the first, since one batch is learnt by heart and its loss goes to 0.
 */
export const LOSS_TOLERANCE = { f32: 1e-3, bf16: 1e-2 } as const;

/**
 * Compares the losses of all sides, step by step; a side is named "LIBRARY DTYPE, ALLOCATOR".
 *
 * @throws Error at the first step where a side differs, or where one lacks steps
 */
export function checkLosses(losses: Readonly<Record<string, readonly number[]>>): void {
  const [reference, expected] =
    Object.entries(losses).find(([name]) => name.startsWith(REFERENCE)) ?? [];
  if (!expected?.length) throw new Error('There are no losses to compare.');
  for (const [name, own] of Object.entries(losses)) {
    const tolerance = LOSS_TOLERANCE[name.includes(' bf16') ? 'bf16' : 'f32'];
    const allowed = tolerance * Math.abs(expected[0]!);
    expected.forEach((loss, index) => {
      const other = own[index];
      if (other !== undefined && Math.abs(other - loss) <= allowed) return;
      throw new Error(
        `Step ${index + 1}: the loss of "${name}" is ${other}, that of "${reference}" ${loss}; they may differ by ${allowed.toFixed(4)}. The two do not do the same work, so their times are not compared.`,
      );
    });
  }
}
