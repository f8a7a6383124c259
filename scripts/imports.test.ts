/** Import directions on small trees: what is found, what is allowed, what is refused. */
import { describe, expect, it } from 'vitest';
import { AREA_RULES } from './import-rules.js';
import { areaOf, checkImports, importsOf, targetArea } from './imports.js';
import { memoryTree } from './tree.js';

/** What the check says about one file with one text. */
function judge(path: string, text: string): string[] {
  return checkImports(memoryTree({ [path]: text })).map(({ line, what }) => `${line} ${what}`);
}

describe('importsOf', () => {
  it('finds imports, re-exports, side effects and dynamic imports with their lines', () => {
    const text = [
      "import { a } from './a.js';",
      'import {',
      '  b,',
      "} from './b.js';",
      "export * from './c.js';",
      "import './d.js';",
      "const e = await import('./e.js');",
    ].join('\n');
    expect(importsOf(text).map(({ specifier, line }) => [specifier, line])).toEqual([
      ['./a.js', 1],
      ['./b.js', 2],
      ['./c.js', 5],
      ['./d.js', 6],
      ['./e.js', 7],
    ]);
  });

  it('takes a statement as type-only when the keyword covers all of it', () => {
    const kinds = (text: string) => importsOf(text).map(({ typeOnly }) => typeOnly);
    expect(kinds("import type { A } from './a.js';")).toEqual([true]);
    expect(kinds("export type { A } from './a.js';")).toEqual([true]);
    expect(kinds("import { type A, b } from './a.js';")).toEqual([false]);
    expect(kinds("import type from './a.js';")).toEqual([false]);
  });

  it('reads neither comments nor strings nor other statements that begin alike', () => {
    const text = [
      "// import { a } from './a.js';",
      ' * import { a } from "./a.js";',
      " * await import('./a.js')",
      "export const from = './a.js';",
      'export const text = "import { a } from \'./a.js\'";',
      "const url = new URL('./a.js', import.meta.url);",
    ].join('\n');
    expect(importsOf(text)).toEqual([]);
  });
});

describe('areas', () => {
  it('are folders of src, first-level files of src, or top-level folders', () => {
    expect(areaOf('src/graph/ops/a.ts')).toBe('src/graph');
    expect(areaOf('src/index.ts')).toBe('src/index.ts');
    expect(areaOf('recipes/bundled/a.ts')).toBe('recipes');
  });

  it('hold the errors and the helpers together', () => {
    expect(areaOf('src/errors.ts')).toBe(areaOf('src/util/a.ts'));
  });

  it('are the same for a relative path and for the published name', () => {
    expect(targetArea('recipes/bundled/a.ts', '../../src/graph/index.js')).toBe('src/graph');
    expect(targetArea('recipes/bundled/a.ts', 'looplm/graph')).toBe('src/graph');
    expect(targetArea('recipes/bundled/a.ts', 'looplm/node')).toBe('src/platform');
    expect(targetArea('recipes/bundled/a.ts', 'looplm')).toBe('src/index.ts');
  });

  it('do not exist for packages', () => {
    expect(targetArea('src/util/a.ts', 'zod')).toBeUndefined();
  });
});

describe('the table', () => {
  it('runs one way: no area imports itself through others', () => {
    const reaches = (from: string, goal: string): boolean =>
      (AREA_RULES[from]?.imports ?? []).some((to) => to === goal || reaches(to, goal));
    for (const area of Object.keys(AREA_RULES)) expect(reaches(area, area), area).toBe(false);
  });
});

describe('checkImports', () => {
  it('allows the table’s direction and refuses the opposite one', () => {
    expect(judge('src/model/a.ts', "import { a } from '../graph/index.js';")).toEqual([]);
    expect(judge('src/graph/a.ts', "\nimport { a } from '../model/index.js';")).toEqual([
      '2 src/graph imports src/model',
    ]);
  });

  it('lets every area import its own files and the helpers', () => {
    expect(judge('src/eval/a.ts', "import { a } from './b.js';")).toEqual([]);
    expect(judge('src/eval/a.ts', "import { a } from '../util/index.js';")).toEqual([]);
    expect(judge('src/eval/a.ts', "import { a } from '../errors.js';")).toEqual([]);
  });

  it('keeps src away from recipes, experiments and tests, but lets the cli use recipes', () => {
    for (const folder of ['recipes', 'experiments', 'test']) {
      const text = `import { a } from '../../${folder}/a.js';`;
      expect(judge('src/train/a.ts', text)).toEqual([`1 src/train imports ${folder}`]);
    }
    expect(judge('src/cli/a.ts', "import { a } from '../../recipes/a.js';")).toEqual([]);
  });

  it('lets platform see the core as types, and runtime as values too', () => {
    const from = (text: string) => judge('src/platform/node/a.ts', text);
    expect(from("import type { A } from '../../engine/index.js';")).toEqual([]);
    expect(from("import { a } from '../../runtime/index.js';")).toEqual([]);
    expect(from("import { a } from '../../engine/index.js';")).toEqual([
      '1 imports a value of src/engine',
    ]);
  });

  it('keeps Node out of the core', () => {
    const text = "import { readFile } from 'node:fs/promises';";
    expect(judge('src/runtime/a.ts', text)).toEqual(['1 imports node:fs/promises']);
    expect(judge('src/cli/a.ts', text)).toEqual([]);
    expect(judge('src/platform/node/a.ts', text)).toEqual([]);
    expect(judge('benchmarks/a.ts', text)).toEqual([]);
  });

  it('keeps ONNX Runtime in its files of runtime, and its types there and in tests', () => {
    const text = "import * as ort from 'onnxruntime-node';";
    const types = "import type * as Ort from 'onnxruntime-node';";
    expect(judge('src/runtime/ort.ts', text)).toEqual([]);
    expect(judge('test/graph/support.ts', types)).toEqual([]);
    expect(judge('src/runtime/device.ts', types)).toEqual(['1 imports onnxruntime-node']);
    expect(judge('test/graph/support.ts', text)).toEqual(['1 imports onnxruntime-node']);
    expect(judge('src/runtime/device.ts', text)).toEqual(['1 imports onnxruntime-node']);
    expect(judge('benchmarks/a.ts', text)).toEqual(['1 imports onnxruntime-node']);
  });

  it('makes examples use the published names only', () => {
    expect(judge('examples/a.ts', "import { a } from 'looplm/engine';")).toEqual([]);
    expect(judge('examples/a.ts', "import { a } from '../src/engine/index.js';")).toEqual([
      '1 examples imports src/engine',
    ]);
  });

  it('leaves tests free', () => {
    expect(judge('src/graph/a.test.ts', "import { a } from '../engine/index.js';")).toEqual([]);
  });

  it('refuses a circle, of types and of imports at run time too, and says which it is', () => {
    const circles = (files: Readonly<Record<string, string>>) =>
      checkImports(memoryTree(files)).map(({ path, line, what }) => `${path}:${line} ${what}`);
    const back = (text: string) => ({
      'src/graph/a.ts': "import { b } from './b.js';",
      'src/graph/b.ts': "import { c } from './c.js';",
      'src/graph/c.ts': `\n${text}`,
    });
    const found =
      'src/graph/c.ts:2 closes a circle of imports: src/graph/a.ts > src/graph/b.ts > src/graph/c.ts > src/graph/a.ts';
    expect(circles(back("import { a } from './a.js';"))).toEqual([found]);
    expect(circles(back("export type { A } from './a.js';"))).toEqual([found]);
    expect(circles(back("const a = await import('./a.js');"))).toEqual([found]);
    expect(circles(back("import { d } from './d.js';"))).toEqual([]);
    expect(circles({ 'src/graph/a.ts': "import { b } from './a.js';" })).toHaveLength(1);
    const diamond = { 'src/graph/a.ts': "import './b.js';\nimport './c.js';" };
    expect(circles({ ...diamond, 'src/graph/b.ts': "import './c.js';" })).toEqual([]);
  });

  it('follows names of package.json around a circle', () => {
    const files = {
      'package.json': JSON.stringify({ imports: { '#rim': { node: './dist/src/platform/a.js' } } }),
      'src/loop-lm.ts': "const rim = await import('#rim');",
      'src/platform/a.ts': "import type { A } from '../loop-lm.js';",
    };
    expect(checkImports(memoryTree(files)).map(({ path, what }) => `${path} ${what}`)).toEqual([
      'src/platform/a.ts closes a circle of imports: src/loop-lm.ts > src/platform/a.ts > src/loop-lm.ts',
    ]);
  });

  it('refuses an area that the table does not know', () => {
    expect(judge('src/other/a.ts', "import { a } from '../graph/index.js';")).toEqual([
      '1 src/other imports src/graph',
    ]);
  });
});
