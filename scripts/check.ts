/**
 * `npm run check`: everything about the tree that a machine can judge, one line per check.
 *
 * Names as arguments run only those checks: `node dist/scripts/check.js imports words`. Types are
 * not among them: the build that comes first is the type check. Run it from the repository's root.
 */
import { checkDocCommands } from './doc-commands.js';
import { type Finding, formatFinding } from './finding.js';
import { checkImports } from './imports.js';
import { checkKernel } from './kernel.js';
import { checkPacked } from './packed.js';
import { checkPage } from './page.js';
import { checkPackageExports } from './package-exports.js';
import { checkMap } from './map.js';
import { checkSizes } from './sizes.js';
import { DEAD_CODE, FORMAT, LINT, runTool } from './tools.js';
import { diskTree, type Tree } from './tree.js';
import { checkWords } from './words.js';

const CHECKS: Readonly<Record<string, (tree: Tree, root: string) => Finding[]>> = {
  imports: checkImports,
  sizes: checkSizes,
  map: checkMap,
  commands: checkDocCommands,
  exports: checkPackageExports,
  packed: checkPacked,
  page: checkPage,
  words: checkWords,
  kernel: checkKernel,
  lint: (_, root) => runTool(root, LINT),
  format: (_, root) => runTool(root, FORMAT),
  dead: (_, root) => runTool(root, DEAD_CODE),
};

/** Runs the named checks (all without a name), prints their findings, gives the exit code. */
function main(names: readonly string[]): number {
  const unknown = names.filter((name) => !Object.hasOwn(CHECKS, name));
  if (unknown.length > 0) {
    console.error(`No check ${unknown.join(', ')}; use ${Object.keys(CHECKS).join(', ')}.`);
    return 2;
  }
  const root = process.cwd();
  const tree = diskTree(root);
  let total = 0;
  for (const [name, check] of Object.entries(CHECKS)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const findings = check(tree, root);
    total += findings.length;
    console.log(`${name.padEnd(9)}${findings.length === 0 ? 'ok' : `${findings.length} found`}`);
    for (const finding of findings) console.log(`  ${formatFinding(finding)}`);
  }
  return total === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
