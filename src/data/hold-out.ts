/**
 * Which documents a model is tested on and never trained on.
 *
 * The one idea: the hash of a document's text decides, so the answer does not depend on its place, on
 * what else there is, or on a seed, and equal documents are never on both sides.
 */
import { hashText } from '../util/hash.js';

/**
 * Whether a text is held out, whatever others there are.
 *
 * @param fraction - expected part of the texts, 0 (none) to below 1.
 */
export function isHeldOut(text: string, fraction: number): boolean {
  return hashText(text) / 2 ** 32 < fraction;
}

/**
 * Says for each text whether it is held out. Of a few texts, of which the fraction may choose none,
 * the one with the lowest hash is held out all the same, unless nothing else would be left.
 *
 * @param fraction - expected part of the texts, 0 (none) to below 1.
 */
export function holdOut(texts: readonly string[], fraction: number): boolean[] {
  if (fraction === 0) return texts.map(() => false);
  const hashes = texts.map(hashText);
  const chosen = hashes.map((hash) => hash / 2 ** 32 < fraction);
  if (chosen.includes(true)) return chosen;
  const lowest = hashes.reduce((least, hash) => Math.min(least, hash), Infinity);
  const isAlone = hashes.every((hash) => hash === lowest);
  return hashes.map((hash) => hash === lowest && !isAlone);
}
