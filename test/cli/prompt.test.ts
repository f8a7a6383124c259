/** Prompts from flags, files and standard input are one prompt; a terminal is never waited for. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TINY, cli, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const PROMPT = 'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?';

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function promptIds(flags: readonly string[], input = ''): Promise<readonly number[]> {
  const argv = ['generate', '--max-new-tokens', '1', '--json', ...flags];
  const { exitCode, stdout, stderr } = await cli(argv, { input });
  expect([exitCode, stderr]).toEqual([0, '']);
  return (JSON.parse(stdout) as { promptIds: readonly number[] }).promptIds;
}

test('a prompt is the same from a flag, a file and standard input', async () => {
  const expected = await promptIds(['--prompt', PROMPT]);
  expect(await promptIds(['--prompt-file', file('prompt.txt', PROMPT)])).toEqual(expected);
  expect(await promptIds([], PROMPT)).toEqual(expected);
  expect(await promptIds(['--prompt', '-'], PROMPT)).toEqual(expected);
});

test('of a file and of standard input the last line end is left out, and no more', async () => {
  const expected = await promptIds(['--prompt', PROMPT]);
  const longer = await promptIds(['--prompt', `${PROMPT}\n`]);
  expect(longer).not.toEqual(expected);
  expect(await promptIds([], `${PROMPT}\n`)).toEqual(expected);
  expect(await promptIds([], `${PROMPT}\r\n`)).toEqual(expected);
  expect(await promptIds([], `${PROMPT}\n\n`)).toEqual(longer);
  expect(await promptIds(['--prompt-file', file('line.txt', `${PROMPT}\n`)])).toEqual(expected);
});

test('a flag goes before standard input, and a terminal is not read without being asked', async () => {
  const expected = await promptIds(['--prompt', PROMPT]);
  expect(await promptIds(['--prompt', PROMPT], 'something else')).toEqual(expected);
  const argv = ['generate', '--model', TINY];
  const { exitCode, stderr } = await cli(argv, { input: PROMPT, isTerminal: true });
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^error: No prompt is given; .*\n$/);
});
