/**
 * How much of the end of a text could be the beginning of another: what a stream holds back until more
 * has come.
 */

/** The largest n below the length of `wanted` such that `text` ends in its first n characters. */
export function overlap(text: string, wanted: string): number {
  let length = Math.min(text.length, wanted.length - 1);
  while (!text.endsWith(wanted.slice(0, length))) length -= 1;
  return length;
}
