/** Sizes, exports and forbidden words on small trees. */
import { describe, expect, it } from 'vitest';
import { formatFinding, lineAt } from './finding.js';
import { checkPackageExports } from './package-exports.js';
import { checkPackedFiles } from './packed.js';
import { checkSizes, MAX_LINES } from './sizes.js';
import { foldersOf, memoryTree } from './tree.js';
import { checkWords } from './words.js';

describe('findings', () => {
  it('are one line each, with path, line, what and what to do', () => {
    const finding = { path: 'a.ts', line: 3, what: 'is\n  odd', todo: 'mend it' };
    expect(formatFinding(finding)).toBe('a.ts:3 is odd / mend it');
  });

  it('count lines from 1, the line end belonging to its line', () => {
    expect([0, 1, 2, 3, 4].map((offset) => lineAt('a\nb\nc', offset))).toEqual([1, 1, 2, 2, 3]);
  });
});

describe('trees', () => {
  it('have a folder for every step of every path', () => {
    const tree = memoryTree({ 'a/b/c.ts': '', 'd.ts': '' });
    expect([...foldersOf(tree)]).toEqual(['a', 'a/b']);
  });
});

describe('checkSizes', () => {
  const lines = (count: number) => 'x;\n'.repeat(count);

  it('accepts the limit and refuses one line more', () => {
    const tree = memoryTree({ 'a.ts': lines(MAX_LINES), 'b.ts': lines(MAX_LINES + 1) });
    expect(checkSizes(tree).map(({ path }) => path)).toEqual(['b.ts']);
  });

  it('measures programs only', () => {
    expect(checkSizes(memoryTree({ 'a.md': lines(2 * MAX_LINES) }))).toEqual([]);
  });
});

describe('checkPackageExports', () => {
  const manifest = (exports: object) => JSON.stringify({ exports }, null, 2);
  const judge = (texts: Record<string, string>) =>
    checkPackageExports(memoryTree(texts)).map(({ path, line, what }) => `${path}:${line} ${what}`);

  it('accepts exports and folders that agree', () => {
    const exports = { '.': './dist/src/index.js', './graph': './dist/src/graph/index.js' };
    const texts = { 'src/index.ts': '', 'src/graph/index.ts': '', 'src/util/a.ts': '' };
    expect(judge({ 'package.json': manifest(exports), ...texts })).toEqual([]);
  });

  it('names an export without a source at its line', () => {
    const exports = { './package.json': './package.json', './graph': './dist/src/graph/index.js' };
    expect(judge({ 'package.json': manifest(exports) })).toEqual([
      'package.json:4 exports "./graph" from src/graph/index.ts, which does not exist',
    ]);
  });

  it('names a folder without an index and an index without an export', () => {
    const texts = { 'src/graph/op.ts': '', 'src/model/index.ts': '' };
    expect(judge({ 'package.json': manifest({}), ...texts })).toEqual([
      'src/graph/index.ts:1 does not exist',
      'src/graph/index.ts:1 has no export in package.json',
      'src/model/index.ts:1 has no export in package.json',
    ]);
  });
});

describe('checkPackedFiles', () => {
  const MANIFEST = {
    name: 'looplm',
    bin: { looplm: 'dist/bin/looplm.js' },
    exports: { '.': './dist/src/index.js' },
    dependencies: { zod: '^4' },
  };
  const FILES = {
    'package.json': JSON.stringify(MANIFEST, null, 2),
    'dist/src/index.js': "import { z } from 'zod';\nimport { all } from 'looplm';\n",
    'dist/src/index.d.ts': "import type { z } from 'zod';\n",
    'dist/src/node/a.js': "import fs from 'node:fs';\nimport { a } from '../index.js';\n",
    'dist/bin/looplm.js': "import './run-a1.js';\n",
    'dist/bin/run-a1.js': '',
  };
  const judge = (changed: Readonly<Record<string, string>>) =>
    checkPackedFiles(memoryTree({ ...FILES, ...changed })).map(
      ({ path, line, what }) => `${path}:${line} ${what}`,
    );

  it('accepts what is complete', () => {
    expect(judge({})).toEqual([]);
  });

  it('names files that nobody needs', () => {
    for (const path of [
      'dist/src/a.test.js',
      'dist/src/a.conformance.d.ts',
      'dist/src/index.js.map',
      'dist/src/cli/main.js',
      'dist/benchmarks/report.js',
      'src/index.ts',
      '.env',
    ]) {
      expect(judge({ [path]: '' })).toEqual([`${path}:1 would be published`]);
    }
  });

  it('names a program without its declarations at the line of package.json', () => {
    const { 'dist/src/index.d.ts': _, ...files } = FILES;
    const found = checkPackedFiles(memoryTree(files)).map(({ line, what }) => `${line} ${what}`);
    expect(found).toEqual(['7 names dist/src/index.d.ts, which would not be published']);
  });

  it.each([
    ['./gone.js', "import './gone.js';"],
    ['../../../benchmarks/a.js', "const a = await import('../../../benchmarks/a.js');"],
    ['./worker.js', "new Worker(new URL('./worker.js', import.meta.url));"],
    ['vitest', "import { test } from 'vitest';"],
    ['@types/d3-scale', "import type { a } from '@types/d3-scale';"],
    ['looplm/secret', "import { a } from 'looplm/secret';"],
  ])('names an import that users do not get: %s', (specifier, text) => {
    expect(judge({ 'dist/src/node/a.js': `\n${text}\n` })).toEqual([
      `dist/src/node/a.js:2 imports ${specifier}, which users do not get`,
    ]);
  });
});

describe('checkWords', () => {
  const judge = (path: string, text: string) =>
    checkWords(memoryTree({ [path]: text })).map(({ line, what }) => `${line} ${what}`);
  // Joined here, so that this file does not contain what it looks for.
  const absolute = ['', 'home', 'someone', 'model'].join('/');
  const host = ['https:', '', 'registry.example.org', 'looplm'].join('/');

  it('finds absolute paths of a machine with their line', () => {
    expect(judge('a.md', `first\nsee ${absolute}`)).toEqual([
      `2 contains ${absolute.slice(0, -'/model'.length)}`,
    ]);
    expect(judge('a.ts', `open('${absolute}')`)).toHaveLength(1);
  });

  it('leaves paths and addresses that only contain such a part', () => {
    expect(judge('a.md', `src${absolute} https://example.org${absolute} ~${absolute}`)).toEqual([]);
  });

  it('finds registry hosts, in a lock file only others than the public one', () => {
    expect(judge('a.md', host)).toHaveLength(1);
    const locked = (address: string) => judge('package-lock.json', `"resolved": "${address}"`);
    expect(locked(host)).toHaveLength(1);
    expect(locked(['https:', '', 'registry.npmjs.org', 'zod'].join('/'))).toEqual([]);
  });

  it('finds a registry in npm’s settings', () => {
    expect(judge('.npmrc', 'ignore-scripts=true\nregistry=here')).toHaveLength(1);
  });

  it('skips binary files', () => {
    expect(judge('a.safetensors', `\0${absolute}`)).toEqual([]);
  });
});
