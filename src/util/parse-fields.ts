/**
 * Settings of unknown origin (flags, request bodies, files) into typed values, or one clear message.
 *
 * The one idea: a schema's messages say what is allowed and what to do; what was got is read from
 * the value itself and put in front. All faults are told at once. Knows no schema.
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

/** One thing that is wrong with a value. */
export interface FieldFault {
  /** Keys between dots; empty for the value as a whole. */
  readonly path: string;
  /** A key of the value at the path that should not be there, if that is the fault. */
  readonly unknownKey?: string;
  /** What was got, what is allowed, what to do. */
  readonly sentence: string;
}

/**
 * Checks an object whose fields are all known to the schema.
 *
 * @param what - names the whole value in messages, such as `the sampling settings`.
 * @returns the parsed value, or all that is wrong with it.
 */
export function checkFields<S extends z.ZodObject>(
  schema: S,
  value: unknown,
  what: string,
): { readonly data: z.output<S> } | { readonly faults: readonly FieldFault[] } {
  const result = schema.safeParse(value);
  if (result.success) return { data: result.data };
  const faults = result.error.issues.flatMap(innermost).flatMap((issue): FieldFault[] => {
    const path = issue.path.map(String).join('.');
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((unknownKey) => {
        return { path, unknownKey, sentence: unknownField(unknownKey, issue, schema, what) };
      });
    }
    const got = valueAt(value, issue.path);
    const state = got === undefined ? 'is missing' : `is ${showValue(got)}`;
    const start = path === '' ? `Got ${showValue(got)} as ${what}` : `${path} ${state}`;
    return [{ path, sentence: `${start}; ${issue.message}` }];
  });
  return { faults };
}

/**
 * Where a value has the kind of one alternative only, what is wrong within it: of a list that may be a text,
 * the entry.
 */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const ofItsKind = issue.errors.filter((issues) => issues.every(({ path }) => path.length > 0));
  if (ofItsKind.length !== 1) return [issue];
  return ofItsKind[0]!.flatMap((inner) =>
    innermost({ ...inner, path: [...issue.path, ...inner.path] }),
  );
}

/**
 * Parses an object whose fields are all known to the schema.
 *
 * @param what - as for `checkFields`.
 * @throws ConfigError with the path of each faulty field, its value, and the schema's rule.
 */
export function parseFields<S extends z.ZodObject>(
  schema: S,
  value: unknown,
  what: string,
): z.output<S> {
  const checked = checkFields(schema, value, what);
  if ('data' in checked) return checked.data;
  const sentences = checked.faults.map(({ sentence }) => sentence);
  const message =
    sentences.length === 1
      ? sentences[0]!
      : `Of ${what}, ${sentences.length} are wrong. ${sentences.join(' ')}`;
  throw new ConfigError(checked.faults[0]!.path, message, { faults: sentences });
}

function unknownField(
  key: string,
  { path }: Pick<z.core.$ZodIssue, 'path'>,
  schema: z.ZodObject,
  what: string,
): string {
  const place = path.length === 0 ? what : path.map(String).join('.');
  const known = keysAt(schema, path);
  const list = known ? ` Known are ${known.join(', ')}.` : '';
  return `Field ${quote(key)} of ${place} is not known; remove it.${list}`;
}

/** The keys of the object that a schema has at a path; undefined where it is not one object. */
function keysAt(schema: z.ZodObject, path: readonly PropertyKey[]): string[] | undefined {
  let inner: unknown = schema;
  for (const key of path) {
    inner = shapeOf(inner)?.[String(key)];
  }
  const shape = shapeOf(inner);
  return shape && Object.keys(shape);
}

function shapeOf(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  let inner = schema;
  while (
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault
  ) {
    inner = inner.unwrap();
  }
  return inner instanceof z.ZodObject ? inner.shape : undefined;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
}
