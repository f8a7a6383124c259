/** All that is wrong with settings is told at once, each fault with its path, value and rule. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { checkFields, numberWhere, parseFields } from './parse-fields.js';

const count = numberWhere('it must be a count.', (value) => Number.isInteger(value) && value > 0);
const schema = z.strictObject({
  a: count,
  inner: z.strictObject({ b: count.default(1), c: count.optional() }).prefault({}),
});
const faultsOf = (value: unknown) => {
  const checked = checkFields(schema, value, 'the file');
  return 'faults' in checked ? checked.faults : [];
};

test('each fault has its path and a sentence', () => {
  expect(faultsOf({ a: 0, inner: { b: 'x', d: 1 }, e: 2 })).toEqual([
    { path: 'a', sentence: 'a is 0; it must be a count.' },
    { path: 'inner.b', sentence: 'inner.b is "x"; it must be a count.' },
    {
      path: 'inner',
      unknownKey: 'd',
      sentence: 'Field "d" of inner is not known; remove it. Known are b, c.',
    },
    {
      path: '',
      unknownKey: 'e',
      sentence: 'Field "e" of the file is not known; remove it. Known are a, inner.',
    },
  ]);
  expect(faultsOf({})).toEqual([{ path: 'a', sentence: 'a is missing; it must be a count.' }]);
});

test('the error names all faults and the first field', () => {
  const act = () => parseFields(schema, { a: 0, inner: { b: 0 } }, 'the settings');
  expect(act).toThrow(ConfigError);
  expect(act).toThrow(
    'Of the settings, 2 are wrong. a is 0; it must be a count. inner.b is 0; it must be a count.',
  );
  expect(() => parseFields(schema, { a: 0 }, 'the settings')).toThrow(/^a is 0; it must be/);
  expect(parseFields(schema, { a: 1 }, 'the settings')).toEqual({ a: 1, inner: { b: 1 } });
});
