/** Where two texts differ, token by token: the tokens outside a longest common subsequence. */

export interface Differences {
  /** Indices of the tokens that only this text has. */
  readonly a: ReadonlySet<number>;
  readonly b: ReadonlySet<number>;
}

/** Beyond so many cells of the table the middle of long texts counts as different as a whole. */
const MAX_CELLS = 4e6;

export function differences(a: readonly string[], b: readonly string[]): Differences {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  const rest = Math.min(a.length, b.length) - start;
  while (end < rest && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const only = {
    a: new Set(indices(start, a.length - end)),
    b: new Set(indices(start, b.length - end)),
  };
  if (only.a.size * only.b.size > MAX_CELLS) return only;
  for (const [left, right] of commonPairs(
    a.slice(start, a.length - end),
    b.slice(start, b.length - end),
  )) {
    only.a.delete(start + left);
    only.b.delete(start + right);
  }
  return only;
}

const indices = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index);

/** Pairs of places of a longest common subsequence. */
function commonPairs(
  a: readonly string[],
  b: readonly string[],
): readonly (readonly [number, number])[] {
  const width = b.length + 1;
  // entry (i, j): the longest common subsequence of a from i and b from j
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const at = i * width + j;
      lengths[at] =
        a[i] === b[j]
          ? lengths[at + width + 1]! + 1
          : Math.max(lengths[at + width]!, lengths[at + 1]!);
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const at = i * width + j;
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (lengths[at + width]! >= lengths[at + 1]!) i += 1;
    else j += 1;
  }
  return pairs;
}
