/**
 * What would be published: every file that the package's users need, and no other.
 *
 * The list is npm's own. Needed is what package.json names and what any packed program imports;
 * a package that it imports must be one of the dependencies, since users get no others.
 */
import { execFileSync } from 'node:child_process';
import { posix } from 'node:path';
import { type Finding, lineAt } from './finding.js';
import { importsOf } from './imports.js';
import type { Tree } from './tree.js';
import { memoryTree } from './tree.js';
import { readFileSync } from 'node:fs';

const MANIFEST = 'package.json';
const WANTED = [
  /^(package\.json|README\.md|CHANGELOG\.md|LICENSE)$/,
  /^dist\/src\/(?!cli\/)(?!.*\.(test|conformance)\.).*\.(js|d\.ts)$/,
  /^dist\/bin\/([\w.-]+\.js|zod\.LICENSE)$/,
  /^dist\/web\/(index\.html|favicon\.svg|licences\.txt|fonts-licence\.txt|assets\/[\w.-]+\.(js|css|woff2))$/,
  /^models\/bundled\/[\w.-]+$/,
];
const URL_TARGET = /new URL\(\s*'(\.[^']+)',\s*import\.meta\.url/g;

interface Manifest {
  readonly name: string;
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, string>>;
  readonly imports?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** Files that nobody needs, and needs that no file meets. `packed` holds the packed files. */
export function checkPackedFiles(packed: Tree): Finding[] {
  const text = packed.read(MANIFEST);
  const manifest = JSON.parse(text) as Manifest;
  const files = new Set(packed.files);
  const todo = 'see "files" in package.json; after a build from nothing (rm -r dist)';
  const unwanted = packed.files
    .filter((path) => !WANTED.some((pattern) => pattern.test(path)))
    .map((path) => ({ path, line: 1, what: 'would be published', todo }));
  const modules = [
    ...Object.values(manifest.exports ?? {}),
    ...Object.values(manifest.imports ?? {}).flatMap((targets) => Object.values(targets)),
  ];
  const named = [
    ...Object.values(manifest.bin ?? {}),
    ...modules.flatMap((target) => [target, target.replace(/\.js$/, '.d.ts')]),
  ];
  const missing = named
    .map((target) => posix.normalize(target))
    .filter((target) => !files.has(target))
    .map((target) => ({
      path: MANIFEST,
      line: lineAt(text, Math.max(0, text.indexOf(target.replace(/\.d\.ts$/, '.js')))),
      what: `names ${target}, which would not be published`,
      todo,
    }));
  // the playground is bundled: it imports nothing any more
  const programs = packed.files.filter(
    (path) => /\.(js|d\.ts)$/.test(path) && !path.startsWith('dist/web/'),
  );
  return [...unwanted, ...missing, ...programs.flatMap((path) => unmet(path, packed, manifest))];
}

/** Imports of a program that lead to nothing in an installed package. */
function unmet(path: string, packed: Tree, manifest: Manifest): Finding[] {
  const text = packed.read(path);
  const isMet = (specifier: string) => {
    if (specifier.startsWith('.')) {
      const target = posix.join(posix.dirname(path), specifier);
      return packed.files.includes(
        path.endsWith('.d.ts') ? target.replace(/\.js$/, '.d.ts') : target,
      );
    }
    if (specifier.startsWith('node:')) return true;
    if (specifier.startsWith('#')) return Object.hasOwn(manifest.imports ?? {}, specifier);
    const [, name = ''] = /^((?:@[^/]+\/)?[^/]+)/.exec(specifier) ?? [];
    if (name !== manifest.name) return Object.hasOwn(manifest.dependencies ?? {}, name);
    return Object.hasOwn(manifest.exports ?? {}, `.${specifier.slice(name.length)}`);
  };
  const urls = [...text.matchAll(URL_TARGET)].map((match) => ({
    specifier: match[1]!,
    line: lineAt(text, match.index),
  }));
  return [...importsOf(text), ...urls]
    .filter(({ specifier }) => !isMet(specifier))
    .map(({ specifier, line }) => ({
      path,
      line,
      what: `imports ${specifier}, which users do not get`,
      todo: 'publish it by "files" of package.json, or make it a dependency',
    }));
}

/** The check of the repository at `root`, which has been built. */
export function checkPacked(_: Tree, root: string): Finding[] {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    shell: process.platform === 'win32',
  });
  const [{ files }] = JSON.parse(output) as [{ files: readonly { readonly path: string }[] }];
  const texts = files.map(({ path }) => [path, readFileSync(posix.join(root, path), 'utf8')]);
  return checkPackedFiles(memoryTree(Object.fromEntries(texts) as Record<string, string>));
}
