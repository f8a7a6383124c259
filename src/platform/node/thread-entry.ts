/**
 * Where the entries of threads are: beside this file, in the compiled sources as in the program that is
 * made of them.
 */

/** Files that are run as threads; `scripts/bundle.ts` keeps their names. */
export type ThreadName =
  | 'worker'
  | 'attention-worker'
  | 'convert-worker'
  | 'random-worker'
  | 'tokenize-worker';

export function threadEntry(name: ThreadName): URL {
  return new URL(`./${name}.js`, import.meta.url);
}
