/** The program as a process: its exit code, its silence on a closed pipe, and the examples. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
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

/** Runs the program with these streams; what is a pipe is closed before it writes. */
async function endOf(argv: readonly string[], stdio: ('pipe' | number)[], closed: number[]) {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', ...stdio] });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  for (const index of closed) (child.stdio[index] as Readable).destroy();
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, errors };
}

test('a reader that goes away ends the program quietly, with the code of SIGPIPE', async () => {
  expect(await endOf(['inspect', '--model', TINY], ['pipe', 'pipe'], [1])).toEqual({
    exitCode: 141,
    errors: '',
  });
});

describe.each([
  ['generate', ['generate', '--model', TINY, '--ids', '1,2']],
  ['inspect', ['inspect', '--model', TINY]],
  ['help', ['train', '--help']],
])('%s', (_, argv) => {
  test('on a full device is one sentence and exit code 2', async (context) => {
    if (!existsSync('/dev/full')) context.skip('needs /dev/full');
    const full = openSync('/dev/full', 'w');
    try {
      const { exitCode, errors } = await endOf(argv, [full, 'pipe'], []);
      expect(errors.split('\n').filter((line) => line.startsWith('error:'))).toEqual([
        expect.stringMatching(/^error: Cannot write standard output: .*the disk is full\. /),
      ]);
      expect(errors).not.toMatch(/\bat .*:\d+:\d+/);
      expect(exitCode).toBe(2);
    } finally {
      closeSync(full);
    }
  });
});

test('the example of the library streams an answer with its depths', async () => {
  const argv = [repositoryPath('dist/examples/generate.js')];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, argv);
  expect(stderr).toBe('');
  expect(stdout).toMatch(
    /^" It" at depth [1-4]\n(".*" at depth [1-4]\n)*\d+ of \d+ loops were run\n$/,
  );
});
