/**
 * Words that must not ship: paths of the machine somebody worked on, and hosts of package
 * registries, which make a checkout depend on a place that others do not have.
 *
 * Looks at every text file of the tree, the lock file included; a file with a NUL byte is binary.
 */
import { type Finding, lineAt } from './finding.js';
import type { Tree } from './tree.js';

/** What to look for, in which files, and what to do instead. */
interface WordRule {
  readonly pattern: RegExp;
  readonly files: RegExp;
  readonly todo: string;
}

const WORD_RULES: readonly WordRule[] = [
  {
    // Not part of a longer path or an address: nothing path-like stands before it.
    pattern: /(?<![\w.~}@-])\/(?:work|root|home|Users)\/[\w.-]*/g,
    files: /./,
    todo: 'use a path relative to the repository',
  },
  {
    pattern: /https?:\/\/[^/\s"']*\b(?:registry|mirrors?|artifactory|nexus|verdaccio)\b[^/\s"']*/g,
    files: /^(?!package-lock\.json$)/,
    todo: 'leave the registry to the reader’s npm configuration',
  },
  {
    pattern: /"resolved": "(?!https:\/\/registry\.npmjs\.org\/|web")[^"]*/g,
    files: /^package-lock\.json$/,
    todo: 'resolve the lock file against the public npm registry',
  },
  {
    pattern: /^.*registry\s*=.*/gm,
    files: /(^|\/)\.npmrc$/,
    todo: 'leave the registry to the reader’s npm configuration',
  },
];

/** Every forbidden word in a text file of the tree. */
export function checkWords(tree: Tree): Finding[] {
  return tree.files.flatMap((path) => {
    const text = tree.read(path);
    if (text.includes('\0')) return [];
    return WORD_RULES.filter((rule) => rule.files.test(path)).flatMap(({ pattern, todo }) =>
      [...text.matchAll(pattern)].map((match) => ({
        path,
        line: lineAt(text, match.index),
        what: `contains ${match[0]}`,
        todo,
      })),
    );
  });
}
