/** Words and number formats that several charts use. */

export function depthNames(numLoops: number): string[] {
  return Array.from({ length: numLoops }, (_, loopIndex) => `depth ${loopIndex + 1}`);
}

/** A scale of fractions, said in percent. */
export const fraction = { format: (value: number) => `${Math.round(100 * value)} %` } as const;
