/** Colours and lines that are written over are for terminals that want them. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TINY, cli, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const ESCAPE = '\u001b';

let numRuns = 0;
/** A command with a progress bar and one with colours. */
async function output(env: Readonly<Record<string, string>>, isTerminal: boolean) {
  const out = join(folder, `q8-${(numRuns += 1)}`);
  const converted = await cli(['convert', TINY, '--dtype', 'q8', '--out', out], {
    env,
    isTerminal,
  });
  const argv = [
    'generate',
    '--prompt',
    'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?',
  ];
  const generated = await cli(argv, { env, isTerminal });
  expect([converted.exitCode, generated.exitCode]).toEqual([0, 0]);
  return { bar: converted.stderr, table: converted.stdout, answer: generated.stdout };
}

test('a terminal gets colours and a bar', async () => {
  const { bar, table, answer } = await output({ TERM: 'xterm' }, true);
  for (const text of [bar, table, answer]) expect(text).toContain(ESCAPE);
});

test.each<[string, Readonly<Record<string, string>>, boolean]>([
  ['a pipe', { TERM: 'xterm' }, false],
  ['TERM=dumb', { TERM: 'dumb' }, true],
  ['NO_COLOR', { TERM: 'xterm', NO_COLOR: '1' }, true],
  ['FORCE_COLOR=0 and a pipe', { TERM: 'xterm', FORCE_COLOR: '0' }, false],
])('%s gets neither an escape code nor a line that is written over', async (_, env, isTerminal) => {
  const { bar, table, answer } = await output(env, isTerminal);
  expect(bar).toMatch(/^converting: .*100 %/s);
  for (const text of [bar, table, answer]) {
    expect(text).not.toContain(ESCAPE);
    expect(text).not.toContain('\r');
  }
});
