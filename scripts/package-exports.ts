/**
 * The subpath exports of package.json and the folders of `src/` tell the same story.
 *
 * Every export leads to a source file, every folder of `src/` with an `index.ts` is exported, and
 * every folder has one. Folders that are not public are listed with the reason.
 */
import { type Finding, lineAt } from './finding.js';
import type { Tree } from './tree.js';

const PACKAGE = 'package.json';

/** Folders of `src/` without an export of their own, and why. */
const NOT_EXPORTED: Readonly<Record<string, string>> = {
  util: 'helpers of the other folders, no promise to users',
  platform: 'exported by runtime, as looplm/node',
  cli: 'a program, not a library',
};

/** Exports without a source, folders without an index, and indexes without an export. */
export function checkPackageExports(tree: Tree): Finding[] {
  const text = tree.read(PACKAGE);
  const { exports = {} } = JSON.parse(text) as { exports?: Record<string, string> };
  const findings: Finding[] = [];
  const sources = new Set<string>();
  for (const [subpath, target] of Object.entries(exports)) {
    if (target === './package.json') continue;
    const source = target.replace(/^\.\/dist\//, '').replace(/\.js$/, '.ts');
    sources.add(source);
    if (tree.files.includes(source)) continue;
    const what = `exports "${subpath}" from ${source}, which does not exist`;
    const line = lineAt(text, text.indexOf(`"${subpath}":`));
    findings.push({ path: PACKAGE, line, what, todo: 'add the file or remove the export' });
  }
  const folders = tree.files.flatMap((file) => /^src\/([^/]+)\//.exec(file)?.[1] ?? []);
  for (const folder of new Set(folders)) {
    if (Object.hasOwn(NOT_EXPORTED, folder)) continue;
    const index = `src/${folder}/index.ts`;
    const problem = (what: string, todo: string) =>
      findings.push({ path: index, line: 1, what, todo });
    if (!tree.files.includes(index)) problem('does not exist', 'export the public names in it');
    if (!sources.has(index)) {
      problem('has no export in package.json', `add "./${folder}", or list it in NOT_EXPORTED`);
    }
  }
  return findings;
}
