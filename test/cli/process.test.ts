/** The program as a process: its exit code, its silence on a closed pipe, and the examples. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { TINY, repositoryPath } from './support.js';

const MAIN = repositoryPath('dist/src/cli/main.js');

test('a mistake ends the process with code 2 and one line', async () => {
  const argv = [MAIN, 'generate', '--model', TINY, '--ids', '999'];
  const failed = promisify(execFile)(process.execPath, argv);
  await expect(failed).rejects.toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(/^error: .*999.*\n$/),
  });
});

test('a reader that goes away ends the program quietly', async () => {
  const child = spawn(process.execPath, [MAIN, 'inspect', '--model', TINY], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [exitCode] = (await once(child, 'close')) as [number];
  expect(errors).toBe('');
  expect(exitCode).toBe(0);
});

test('the example of the library streams an answer with its depths', async () => {
  const argv = [repositoryPath('dist/examples/generate.js')];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, argv);
  expect(stderr).toBe('');
  expect(stdout).toMatch(
    /^" \d" at depth [1-4]\n(".*" at depth [1-4]\n)*\d+ of \d+ loops were run\n$/,
  );
});
