/** What takes long says how far it is, at a terminal; what does not, and elsewhere, is silent. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { TINY, cli, temporaryFolder } from './support.js';

const out = join(temporaryFolder(), 'trace.safetensors');
const TRACE = ['trace', '--model', TINY, '--ids', '1,2,3', '--out', out];

/** A clock on which every look takes a second. */
function slowClock(): () => number {
  let seconds = 0;
  return () => 1000 * seconds++;
}

it('loading and tracing show a bar at a terminal once they have taken a second', async () => {
  const { exitCode, stderr } = await cli(TRACE, { isTerminal: true, now: slowClock() });
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(/loading .*100 % \| [\d.]+ kB of [\d.]+ kB/);
  expect(stderr).toMatch(/tracing .*100 % \| 24 of 24 \|/);
});

it.each([
  ['that is quick', { isTerminal: true }],
  ['that goes elsewhere', { now: slowClock() }],
  ['in a terminal that cannot move', { isTerminal: true, now: slowClock(), env: { TERM: 'dumb' } }],
])('work %s shows none', async (_, options) => {
  const { exitCode, stderr } = await cli([...TRACE, '--json'], options);
  expect([exitCode, stderr]).toEqual([0, '']);
});
