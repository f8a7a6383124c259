/** A mistake in the arguments of a script says what is allowed; anything else stays a bug. */
import { afterEach, expect, it, vi } from 'vitest';
import { ConfigError } from 'looplm/errors';
import { countFlag, readArguments, runScript } from './run-script.js';

const OPTIONS = { runs: { type: 'string' }, quick: { type: 'boolean' } } as const;
const { exitCode } = process;
afterEach(() => {
  process.exitCode = exitCode;
  vi.restoreAllMocks();
});

it.each([
  [['--fast'], /Unknown option '--fast'\. The flags are --runs <value>, --quick\.$/],
  [['--runs'], /'--runs <value>' argument missing\. The flags/],
  [['--quick=1'], /'--quick' does not take an argument\. The flags/],
  [['folder'], /Unexpected argument 'folder'\. The flags/],
])('arguments %j are refused', (args, message) => {
  const read = () => readArguments({ args, options: OPTIONS });
  expect(read).toThrow(ConfigError);
  expect(read).toThrow(message);
});

it('arguments are read', () => {
  const { values } = readArguments({ args: ['--runs', '3', '--quick'], options: OPTIONS });
  expect({ ...values }).toEqual({ runs: '3', quick: true });
  expect(() => readArguments({ args: ['--any'] })).toThrow(/There are no flags\.$/);
});

it('counts are whole numbers from 1 up', () => {
  expect(countFlag('runs', undefined, 4)).toBe(4);
  expect(countFlag('runs', '12', 4)).toBe(12);
  for (const text of ['0', '-1', '1.5', 'x', '', '9e99']) {
    expect(() => countFlag('runs', text, 4)).toThrow(`--runs is ${text}; it must be`);
  }
  expect(countFlag('seed', '0', 4, 0)).toBe(0);
  expect(countFlag('seed', undefined, undefined, 0)).toBeUndefined();
  expect(() => countFlag('seed', '', 4, 0)).toThrow('a whole number from 0 up');
});

it('a mistake is one line and exit code 2, a bug is thrown', async () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => {});
  await runScript(() => Promise.resolve(3));
  expect(process.exitCode).toBe(3);
  await runScript(async () => {}); // what is set stays
  expect(process.exitCode).toBe(3);
  await runScript(() => Promise.reject(new ConfigError('runs', 'Give runs.')));
  expect(said.mock.calls).toEqual([['error: Give runs.']]);
  expect(process.exitCode).toBe(2);
  await expect(runScript(() => Promise.reject(new TypeError('bug')))).rejects.toThrow('bug');
});
