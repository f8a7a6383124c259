/**
 * Which documents are copies of earlier ones, by their hashes.
 */

/**
 * For each list of hashes, 1 where the hash was seen before, in this list or an earlier one. Two
 * documents that differ and share 64 bits are taken for one: a chance of 1 in 40,000 with 30 million.
 */
export function firstOfEach(lists: readonly BigUint64Array[]): Uint8Array[] {
  const total = lists.reduce((sum, { length }) => sum + length, 0);
  // Open addressing, at most half full; zero is a free place.
  const size = 2 ** Math.ceil(Math.log2(2 * total + 2));
  const seen = new BigUint64Array(size);
  const isNew = (hash: bigint): boolean => {
    const value = hash === 0n ? 1n : hash;
    let place = Number(value & BigInt(size - 1));
    for (; seen[place] !== 0n; place = (place + 1) % size) {
      if (seen[place] === value) return false;
    }
    seen[place] = value;
    return true;
  };
  return lists.map((hashes) => Uint8Array.from(hashes, (hash) => (isNew(hash) ? 0 : 1)));
}
