/**
 * Small hashes that are the same on every machine; not for secrets.
 * The mixing is the 32-bit finaliser of MurmurHash3.
 */

/** 2^32 divided by the golden ratio: spreads neighbouring integers. */
export const GOLDEN_RATIO_32 = 0x9e3779b9;

/** MurmurHash3's finaliser: every input bit reaches every output bit. */
export function mix(word: number): number {
  let mixed = word | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** Hash of a text in [0, 2^32). */
export function hashText(text: string): number {
  let hash = mix(text.length);
  for (let index = 0; index < text.length; index++) {
    hash = mix(Math.imul(hash ^ text.charCodeAt(index), GOLDEN_RATIO_32));
  }
  return hash >>> 0;
}
