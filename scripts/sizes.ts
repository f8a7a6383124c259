/**
 * File sizes: a source file that no longer fits in a reader's head fails.
 *
 * Lines are physical lines; tests count too. The only way past the limit is an entry with a reason.
 */
import type { Finding } from './finding.js';
import type { Tree } from './tree.js';

export const MAX_LINES = 600;

/** Path and the reason why the file may be longer. */
const LONGER_ALLOWED: Readonly<Record<string, string>> = {};

/** Every source file above `MAX_LINES`. */
export function checkSizes(tree: Tree): Finding[] {
  return tree.files
    .filter((path) => /\.[mc]?[jt]sx?$/.test(path) && !Object.hasOwn(LONGER_ALLOWED, path))
    .flatMap((path) => {
      const lines = tree.read(path).trimEnd().split('\n').length;
      if (lines <= MAX_LINES) return [];
      const what = `has ${lines} lines; ${MAX_LINES} are allowed`;
      return [{ path, line: MAX_LINES + 1, what, todo: 'split it by concern' }];
    });
}
