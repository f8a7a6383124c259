/**
 * Import directions: finds every import of every source file, holds it against `import-rules.ts`, and
 * follows it: imports make no circle.
 *
 * Statements are found by their first column: formatted code starts them there, and comments and
 * strings do not. Test files are free, because they look at code from outside. Whether a target
 * exists is the compiler's question, not this one's.
 */
import { posix } from 'node:path';
import { type Finding, lineAt } from './finding.js';
import { AREA_RULES, PACKAGE_RULES, SAME_AREA } from './import-rules.js';
import { isTest, type Tree } from './tree.js';

/** One import, export-from or dynamic import. */
export interface ImportStatement {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

const STATIC = /^(?:import|export)\b([^'"`;()]*?\bfrom\s*|\s*)(['"])([^'"\n]+)\2/gm;
const DYNAMIC = /^(?!\s*(?:\*|\/\/)).*?\bimport\(\s*(['"])([^'"\n]+)\1/gm;

/** The imports of a source text, in order of line. */
export function importsOf(text: string): ImportStatement[] {
  const found: ImportStatement[] = [];
  for (const match of text.matchAll(STATIC)) {
    const [, clause = '', , specifier = ''] = match;
    const typeOnly = /^\s+type\b(?!\s*from\b|\s*,)/.test(clause);
    found.push({ specifier, typeOnly, line: lineAt(text, match.index) });
  }
  for (const match of text.matchAll(DYNAMIC)) {
    const [whole, , specifier = ''] = match;
    const line = lineAt(text, match.index + whole.length - 1);
    found.push({ specifier, typeOnly: false, line });
  }
  return found.toSorted((a, b) => a.line - b.line);
}

/** The area a path belongs to: `src/graph`, `src/index.ts`, `recipes`, ... */
export function areaOf(path: string): string {
  const [top = '', second] = path.split('/');
  const area = top === 'src' && second !== undefined ? `src/${second}` : top;
  return SAME_AREA[area] ?? area;
}

/** The file an import of `from` leads to; undefined for a package outside the repository. */
function targetFile(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) {
    const path = posix.join(posix.dirname(from), specifier);
    return posix.extname(path) === '' ? `${path}.ts` : path.replace(/\.js$/, '.ts');
  }
  if (specifier === 'looplm') return 'src/index.ts';
  if (specifier === 'looplm/node') return 'src/platform/node/index.ts';
  if (specifier === 'looplm/errors') return 'src/errors.ts';
  return specifier.startsWith('looplm/') ? `src/${specifier.slice(7)}/index.ts` : undefined;
}

/** The area an import of `from` leads to; undefined for a package outside the repository. */
export function targetArea(from: string, specifier: string): string | undefined {
  const file = targetFile(from, specifier);
  return file === undefined ? undefined : areaOf(file);
}

/** Why `from` may not contain this import, or undefined where it may. */
function violation(
  from: string,
  { specifier, typeOnly }: ImportStatement,
): Pick<Finding, 'what' | 'todo'> | undefined {
  const to = targetArea(from, specifier);
  const area = areaOf(from);
  if (to === undefined) {
    const rule = PACKAGE_RULES.find(
      ({ packages, within, types }) =>
        packages.test(specifier) && !within.test(from) && !(typeOnly && types?.test(from)),
    );
    return rule && { what: `imports ${specifier}`, todo: rule.todo };
  }
  const published = area === 'examples' && specifier.startsWith('looplm');
  if (to === area || to === 'src/util' || published) return undefined;
  const { imports, types = [] } = AREA_RULES[area] ?? { imports: [] };
  if (imports.includes(to)) return undefined;
  if (types.includes(to)) {
    if (typeOnly) return undefined;
    return {
      what: `imports a value of ${to}`,
      todo: `use \`import type\`; ${area} may import only types of it`,
    };
  }
  const allowed = ['src/util', ...imports, ...types].join(', ');
  return {
    what: `${area} imports ${to}`,
    todo: `${area} may import ${allowed}; move the code, or change scripts/import-rules.ts`,
  };
}

type Imports = ReadonlyMap<string, readonly ImportStatement[]>;

/**
 * Every import of a non-test source file that `import-rules.ts` does not allow, and every circle of
 * imports.
 */
export function checkImports(tree: Tree): Finding[] {
  const sources = tree.files.filter(
    (file) => /\.[mc]?[jt]sx?$/.test(file) && !isTest(file) && file.includes('/'),
  );
  const imports: Imports = new Map(sources.map((path) => [path, importsOf(tree.read(path))]));
  const forbidden = [...imports].flatMap(([path, statements]) =>
    statements.flatMap((statement) => {
      const found = violation(path, statement);
      return found ? [{ path, line: statement.line, ...found }] : [];
    }),
  );
  return [...forbidden, ...findCircles(imports, internalNames(tree))];
}

/** Where names such as `#platform` lead in Node.js, by package.json. */
function internalNames(tree: Tree): ReadonlyMap<string, string> {
  if (!tree.files.includes('package.json')) return new Map();
  const { imports = {} } = JSON.parse(tree.read('package.json')) as {
    readonly imports?: Readonly<Record<string, { readonly node: string }>>;
  };
  const sourceOf = (path: string) => path.replace('./dist/', '').replace(/\.js$/, '.ts');
  return new Map(Object.entries(imports).map(([name, { node }]) => [name, sourceOf(node)]));
}

/** One finding for each import that closes a circle; types and `import()` count like all others. */
function findCircles(imports: Imports, names: ReadonlyMap<string, string>): Finding[] {
  const findings: Finding[] = [];
  const isDone = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    path.push(file);
    for (const { specifier, line } of imports.get(file) ?? []) {
      const found = names.get(specifier) ?? targetFile(file, specifier);
      const target = found === undefined || imports.has(found) ? found : `${found}x`;
      if (target === undefined || isDone.has(target)) continue;
      const start = path.indexOf(target);
      if (start < 0) {
        visit(target);
        continue;
      }
      const circle = [...path.slice(start), target].join(' > ');
      const todo = 'move what both need to a third file, or hand it in';
      findings.push({ path: file, line, what: `closes a circle of imports: ${circle}`, todo });
    }
    path.pop();
    isDone.add(file);
  };
  for (const file of imports.keys()) if (!isDone.has(file)) visit(file);
  return findings;
}
