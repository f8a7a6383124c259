/**
 * What every check returns, and how it is printed.
 *
 * A finding is one line a reader can act on: where, what was found, what to do. Checks are pure
 * functions from a `Tree` to findings; only `check.ts` prints and exits.
 */

/** One thing that is wrong in the tree. `path` is relative to the root, `line` is 1-based. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly what: string;
  readonly todo: string;
}

/** `path:line what / what to do`, always on one line. */
export function formatFinding(finding: Finding): string {
  const text = `${finding.path}:${finding.line} ${finding.what} / ${finding.todo}`;
  return text.replaceAll(/\s*\n\s*/g, ' ');
}

/** The 1-based line of a character offset. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
    line++;
  }
  return line;
}
