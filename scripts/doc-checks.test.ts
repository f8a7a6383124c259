/** The map, and commands and links of the documentation, on small trees. */
import { describe, expect, it } from 'vitest';
import { checkDocCommands, cliCommands } from './doc-commands.js';
import { checkMap, expectedPlaces, mapEntries } from './map.js';
import { memoryTree } from './tree.js';

const SOURCES = { 'src/index.ts': '', 'src/graph/ops/a.ts': '', '.ci/x': '', 'docs/a.md': '' };

describe('checkMap', () => {
  const judge = (lines: readonly string[]) =>
    checkMap(memoryTree({ ...SOURCES, 'docs/map.md': lines.join('\n') })).map(
      ({ line, what }) => `${line} ${what}`,
    );
  const complete = [
    'A title',
    '# Map',
    '- `docs/` pages',
    '- `src/` the library',
    '  - `src/graph/` tensors',
    '  - `src/graph/ops` operators',
    '  - `src/index.ts` public names',
  ];

  it('wants visible folders, folders of src at any depth and first-level files of src', () => {
    const tree = memoryTree({ ...SOURCES, 'src/a.test.ts': '', 'docs/deep/a.md': '' });
    expect(expectedPlaces(tree)).toEqual([
      'docs',
      'src',
      'src/graph',
      'src/graph/ops',
      'src/index.ts',
    ]);
  });

  it('accepts a map that equals the tree', () => {
    expect(judge(complete)).toEqual([]);
  });

  it('lets the map name more than it must', () => {
    expect(judge([...complete, '- `docs/a.md` a page'])).toEqual([]);
  });

  it('names what the map lacks', () => {
    expect(judge(complete.slice(0, -1))).toEqual(['3 the map lacks src/index.ts']);
  });

  it('names what does not exist, stands twice or says nothing', () => {
    const odd = ['- `src/gone` was here', '- `docs` pages', '- `docs/map.md`'];
    expect(judge([...complete, ...odd])).toEqual([
      '8 the map names src/gone, which does not exist',
      '9 the map names docs twice',
      '10 the map says nothing about docs/map.md',
    ]);
  });

  it('fails without the section or the file', () => {
    expect(judge(['A title'])).toEqual(['1 has no section "# Map"']);
    expect(checkMap(memoryTree(SOURCES))).toHaveLength(1);
  });

  it('ends at the next heading', () => {
    expect(mapEntries('# Map\n- `a` b\n## Next\n- `c` d')).toEqual([
      { path: 'a', phrase: 'b', line: 2 },
    ]);
  });
});

describe('checkDocCommands', () => {
  const BASE = {
    'package.json': JSON.stringify({ scripts: { test: 'vitest', build: 'tsc' } }, null, 2),
    'src/cli/commands/train.ts': '',
    'src/cli/commands/train.test.ts': '',
  };
  const judge = (texts: Record<string, string>) =>
    checkDocCommands(memoryTree({ ...BASE, ...texts })).map(
      ({ path, line, what }) => `${path}:${line} ${what}`,
    );

  it('knows one command per file, tests and index aside', () => {
    const tree = memoryTree({ ...BASE, 'src/cli/commands/index.ts': '' });
    expect(cliCommands(tree)).toEqual(['train']);
  });

  it('accepts commands that exist, inline and in blocks', () => {
    const text = 'Run `npm test` or `npx looplm train --help`.\n\n```sh\nnpm run build\n```\n';
    expect(judge({ 'README.md': text })).toEqual([]);
  });

  it('names scripts and commands that do not exist', () => {
    const text = 'Run `npm start`,\n`looplm dance`.\n\n```sh\n$ looplm sing\nnpm run fly\n```\n';
    expect(judge({ 'README.md': text })).toEqual([
      'README.md:1 names the script "start", which package.json lacks',
      'README.md:6 names the script "fly", which package.json lacks',
      'README.md:2 names the command "looplm dance", which does not exist',
      'README.md:5 names the command "looplm sing", which does not exist',
    ]);
  });

  it('reads neither prose nor programs as commands', () => {
    const text = 'The looplm engine.\n\n```ts\nconst a = 1; // looplm sings\n```\n';
    expect(judge({ 'README.md': text })).toEqual([]);
  });

  it('leaves the commands of dated records alone', () => {
    expect(judge({ 'docs/decisions/2020-01-01-a.md': '`looplm sing`' })).toEqual([]);
  });

  it('names relative links that lead nowhere, from the page’s folder', () => {
    const text = '[a](b.md#part) [c](../README.md)\n[d](e/f.md) [g](https://example.org) [h](#i)';
    expect(judge({ 'docs/a.md': text, 'docs/b.md': '', 'README.md': '' })).toEqual([
      'docs/a.md:2 links to missing e/f.md',
    ]);
  });

  it('names pictures that are missing', () => {
    expect(judge({ 'README.md': '![a](a.svg)\n<img src="docs/b.svg">' })).toEqual([
      'README.md:1 links to missing a.svg',
      'README.md:2 links to missing docs/b.svg',
    ]);
  });

  it('holds the scripts of package.json to the same', () => {
    const scripts = { a: 'node dist/gone.js && node dist/bin/looplm.js sing' };
    const manifest = JSON.stringify({ scripts }, null, 2);
    expect(judge({ 'package.json': manifest })).toEqual([
      'package.json:3 the script "a" runs gone.ts, which does not exist',
      'package.json:3 names the command "looplm sing", which does not exist',
    ]);
  });

  it('wants the README to show the command that the test run uses', () => {
    const run = { '.ci/run': "command='npm ci && npm test'\n" };
    expect(judge({ ...run, 'README.md': '```sh\nnpm ci && npm test\n```' })).toEqual([]);
    expect(judge({ ...run, 'README.md': '`npm test`' })).toHaveLength(1);
  });
});
