/**
 * A command loads what it uses and no more, since that is what its user waits for. Node.js itself says
 * what was loaded: under NODE_V8_COVERAGE it lists all modules of all threads.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TINY, repositoryPath, temporaryFolder } from './support.js';

const root = temporaryFolder();
const newFolder = () => mkdtempSync(join(root, 'run-'));

/** The paths that a command line loads, the program's own from dist/ on, packages by their names. */
function loaded(argv: readonly string[]): readonly string[] {
  const folder = newFolder();
  const main = repositoryPath('dist/src/cli/main.js');
  const { status, stderr } = spawnSync(process.execPath, [main, ...argv], {
    env: { ...process.env, NODE_V8_COVERAGE: folder },
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(0);
  const urls = readdirSync(folder).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as {
      result: readonly { readonly url: string }[];
    };
    return result.map(({ url }) => url);
  });
  return urls.map((url) => url.replace(/^.*\/(?:dist\/|node_modules\/)(?!.*node_modules\/)/, ''));
}

const among = (paths: readonly string[], beginnings: readonly string[]) =>
  paths.filter((path) => beginnings.some((beginning) => path.startsWith(beginning)));

test('generate loads neither other commands nor what a small model on disk does not need', () => {
  const paths = loaded(['generate', '--model', TINY, '--ids', '1,2', '--max-new-tokens', '1']);
  expect(among(paths, ['src/cli/commands/'])).toEqual(['src/cli/commands/generate.js']);
  expect(among(paths, ['src/platform/node/worker.js', 'zod/'])).not.toEqual([]);
  const unused = ['src/train/', 'src/eval/', 'src/charts/', 'src/data/', 'recipes/'];
  const others = ['src/platform/node/convert/convert.js', 'src/platform/node/hub/pull.js'];
  const packages = ['cli-progress/', 'd3-', '@huggingface/hub/'];
  expect(among(paths, [...unused, ...others, ...packages])).toEqual([]);
});

test('what lists files loads no graph and no engine, and starts no other thread', () => {
  const paths = loaded(['list', '--cache-dir', newFolder()]);
  expect(among(paths, ['src/cli/commands/'])).toEqual(['src/cli/commands/list.js']);
  expect(among(paths, ['src/engine/', 'src/runtime/executor.js'])).toEqual([]);
});
