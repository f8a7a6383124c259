/** Standard input that is no text, or has no end, is an error in one line. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { repositoryPath } from './support.js';

const MAIN = repositoryPath('dist/src/cli/main.js');

/** Runs a command that is sent these chunks, over and over if it does not stop reading. */
async function fed(argv: readonly string[], chunks: readonly Uint8Array[], isEndless = false) {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: 'pipe' });
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
  child.stdin.on('error', () => {}); // it reads no more
  let isOver = false;
  const closed = once(child, 'close').then(([exitCode]) => {
    isOver = true;
    return exitCode as number;
  });
  do {
    for (const chunk of chunks) {
      if (!isOver && !child.stdin.write(chunk)) {
        await Promise.race([once(child.stdin, 'drain').catch(() => {}), closed]);
      }
    }
  } while (isEndless && !isOver);
  if (!isEndless) child.stdin.end();
  return { exitCode: await closed, ...texts };
}

const zeros = new Uint8Array(2 ** 20);
const notText = Uint8Array.of(0x61, 0xff, 0x0a);

test.each([['generate'], ['chat']])('%s ends on input without end', async (command) => {
  const { exitCode, stderr } = await fed([command], [zeros], true);
  expect(stderr).toMatch(/(^|\n)error: [^\n]*more than \d+ (bytes|characters)[^\n]*\n$/);
  expect(exitCode).toBe(2);
});

test.each([['generate'], ['chat']])('%s tells input that is not UTF-8', async (command) => {
  const { exitCode, stderr } = await fed([command], [notText]);
  expect(stderr).toMatch(/(^|\n)error: Standard input is not UTF-8[^\n]*\n$/);
  expect(exitCode).toBe(2);
});

test('a line may come in pieces that cut a character', async () => {
  const bytes = new TextEncoder().encode('Start with 4. Add 3. What is the result?\n/exit é\n');
  const pieces = Array.from(bytes, (byte) => Uint8Array.of(byte));
  const { exitCode, stderr } = await fed(['chat', '--max-new-tokens', '1'], pieces);
  expect(stderr).not.toMatch(/UTF-8/);
  expect(exitCode).toBe(0);
});

test('/exit ends the chat though more could come', async () => {
  const child = spawn(process.execPath, [MAIN, 'chat'], { stdio: ['pipe', 'ignore', 'ignore'] });
  child.stdin.write('/exit\n');
  expect(await once(child, 'close')).toEqual([0, null]);
});
