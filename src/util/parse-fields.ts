/**
 * Settings of unknown origin (flags, request bodies, files) into typed values, or one clear line.
 *
 * The one idea: a schema's messages say what is allowed and what to do; what was got is read from
 * the value itself and put in front. Only the first fault is told. Knows no schema.
 */
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { quote, showValue } from './quote.js';

/** A number for which `isAllowed` holds; `rule` finishes the sentence "<field> is <value>; ...". */
export function numberWhere(rule: string, isAllowed: (value: number) => boolean): z.ZodNumber {
  return z.number(rule).refine(isAllowed, rule);
}

/** One of a few words. */
export function wordOf<const T extends readonly string[]>(words: T, remedy: string) {
  return z.enum(words, `it must be one of ${words.join(', ')}. ${remedy}`);
}

/** A function, which is called later; its result is not checked. */
export function callback<T extends (...values: never[]) => void>(): z.ZodType<T> {
  const isFunction = (value: unknown) => typeof value === 'function';
  return z.custom<T>(isFunction, 'it must be a function. Leave it out for none.');
}

/** The signal of an `AbortController`. */
export const abortSignal = z.instanceof(AbortSignal, {
  error: 'it must be an AbortSignal. Use the signal of an AbortController, or leave it out.',
});

/**
 * Parses an object whose fields are all known to the schema.
 *
 * @param what - names the whole value in messages, such as `the sampling settings`.
 * @throws ConfigError with the path of the first faulty field, its value, and the schema's rule.
 */
export function parseFields<S extends z.ZodObject>(
  schema: S,
  value: unknown,
  what: string,
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') throw unknownField(issue.keys[0]!, path, schema, what);
  const got = valueAt(value, issue.path);
  const state = got === undefined ? 'is missing' : `is ${showValue(got)}`;
  const start = path === '' ? `Got ${showValue(got)} as ${what}` : `${path} ${state}`;
  throw new ConfigError(path, `${start}; ${issue.message}`);
}

function unknownField(key: string, path: string, schema: z.ZodObject, what: string): ConfigError {
  const known = path === '' ? ` Known are ${Object.keys(schema.shape).join(', ')}.` : '';
  const place = path === '' ? what : path;
  return new ConfigError(path, `Field ${quote(key)} of ${place} is not known; remove it.${known}`);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
}
