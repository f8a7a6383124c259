/**
 * All that is wrong with one thing as one message.
 */

/** @param what - names the thing, such as a file. One fault is told as it is, several are counted. */
export function tellFaults(what: string, sentences: readonly string[]): string {
  if (sentences.length === 1) return `${what}: ${sentences[0]}`;
  const numbered = sentences.map((sentence, index) => `(${index + 1}) ${sentence}`);
  return `${what} has ${sentences.length} faults. ${numbered.join(' ')}`;
}
