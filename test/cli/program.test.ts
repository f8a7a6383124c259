/** The program as it is installed: a few files that do what the sources do, threads and models included. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TINY, repositoryPath, temporaryFolder } from './support.js';

const root = temporaryFolder();
const newFolder = () => mkdtempSync(join(root, 'run-'));

function run(main: string, argv: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [repositoryPath(main), ...argv], {
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(0);
  return stdout;
}

const both = (argv: readonly string[]) => {
  const said = run('dist/bin/looplm.js', argv);
  expect(said).toBe(run('dist/src/cli/main.js', argv));
  return said;
};

test('it says and computes what the sources do, with the model that comes along', () => {
  both(['--version']);
  both(['--help']);
  both([
    'generate',
    '--prompt',
    'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?',
    '--json',
  ]);
});

test('its threads make and convert models', () => {
  const made = join(newFolder(), 'random');
  const shape = join(TINY, 'config.json');
  run('dist/bin/looplm.js', ['random', made, '--shape', shape]);
  const written = ['dist/bin/looplm.js', 'dist/src/cli/main.js'].map((main) => {
    const folder = join(newFolder(), 'f16');
    run(main, ['convert', made, '--dtype', 'f16', '--out', folder]);
    return readFileSync(join(folder, 'model.safetensors'));
  });
  expect(written[0]!.equals(written[1]!)).toBe(true);
});

test('no file of it is loaded that is not there', () => {
  const folder = repositoryPath('dist/bin');
  const files = readdirSync(folder).filter((name) => name.endsWith('.js'));
  for (const name of ['looplm', 'worker', 'attention-worker', 'convert-worker', 'random-worker']) {
    expect(files).toContain(`${name}.js`);
  }
  for (const file of files) {
    const text = readFileSync(join(folder, file), 'utf8');
    for (const [, path] of text.matchAll(/(?:from|import)\s*\(?\s*["']\.\/([^"']+)["']/g)) {
      expect(files).toContain(path);
    }
  }
});
