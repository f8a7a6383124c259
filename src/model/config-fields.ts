/**
 * Reads the keys of a config file by rule, and tells all that is wrong with them at once.
 *
 * A rule is a check with its words. A key that breaks its rule is noted and reading goes on; `finish`
 * throws one error that names every fault. It remembers which keys were asked for, so that the rest
 * can be shown. It knows no key and no model.
 */
import { z } from 'zod';
import { ConfigError, UnsupportedError } from '../errors.js';
import { tellFaults } from '../util/faults.js';
import { showValue } from '../util/quote.js';

/** What a key's value must be, as a check and in words. */
export interface Rule<T> {
  readonly schema: z.ZodType<T>;
  readonly allowed: string;
}

export function rule<T>(schema: z.ZodType<T>, allowed: string): Rule<T> {
  return { schema, allowed };
}

export const count = (max: number): Rule<number> =>
  rule(z.int().min(1).max(max), `an integer from 1 to ${max}`);
export const numberFrom = (min: number, max: number): Rule<number> =>
  rule(z.number().min(min).max(max), `a number from ${min} to ${max}`);
export const flag: Rule<boolean> = rule(z.boolean(), 'true or false');

/** One way in which a file is wrong. */
interface Fault {
  readonly key: string;
  /** What is wrong, what is allowed, what to do; without the name of the file. */
  readonly sentence: string;
  /** Whether the file is right and describes what looplm does not compute. */
  readonly isUnsupported: boolean;
}

export class ConfigFields {
  /** What a user should know though nothing is wrong, in sentences. */
  readonly notes: string[] = [];
  readonly #file: string;
  readonly #json: Readonly<Record<string, unknown>>;
  readonly #known = new Set<string>();
  readonly #faults: Fault[] = [];

  /** @param file - what to call the file in messages */
  constructor(file: string, json: Readonly<Record<string, unknown>>) {
    this.#file = file;
    this.#json = json;
  }

  /** The value; `undefined` where it is missing or breaks the rule, which `finish` tells. */
  required<T>(key: string, allowed: Rule<T>): T | undefined {
    if (this.has(key)) return this.#checked(key, allowed);
    this.fault(
      key,
      `${key} is missing; it must be ${allowed.allowed}. Add it: looplm assumes no default.`,
    );
    return undefined;
  }

  /** The value; `undefined` where it is absent or null, or breaks the rule, which `finish` tells. */
  optional<T>(key: string, allowed: Rule<T>): T | undefined {
    return this.has(key) ? this.#checked(key, allowed) : undefined;
  }

  /** Whether a key is there and not null. */
  has(key: string): boolean {
    const value = this.raw(key);
    return value !== undefined && value !== null;
  }

  /** The value as it is. */
  raw(key: string): unknown {
    this.#known.add(key);
    return Object.hasOwn(this.#json, key) ? this.#json[key] : undefined;
  }

  /** Keys that change nothing here, whatever their value. */
  ignore(keys: Iterable<string>): void {
    for (const key of keys) this.#known.add(key);
  }

  /** Notes a fault that no rule of one key tells. */
  fault(key: string, sentence: string): void {
    this.#faults.push({ key, sentence, isUnsupported: false });
  }

  /** Notes that the file describes what looplm does not compute. */
  unsupported(key: string, sentence: string): void {
    this.#faults.push({ key, sentence, isUnsupported: true });
  }

  /** Keys that nobody asked for, sorted. */
  unread(): string[] {
    return Object.keys(this.#json)
      .filter((key) => !this.#known.has(key))
      .toSorted();
  }

  /**
   * @throws UnsupportedError if the file describes what looplm does not compute and is right
   *   otherwise; else ConfigError with the first key that is wrong. The message names all.
   */
  finish(): void {
    const [first] = this.#faults;
    if (first === undefined) return;
    const faults = this.#faults.map(({ sentence }) => sentence);
    const message = tellFaults(this.#file, faults);
    if (this.#faults.every(({ isUnsupported }) => isUnsupported)) {
      throw new UnsupportedError(message);
    }
    throw new ConfigError(first.key, message, { faults });
  }

  #checked<T>(key: string, { schema, allowed }: Rule<T>): T | undefined {
    const value = this.raw(key);
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    this.fault(key, `${key} is ${showValue(value)}; it must be ${allowed}. Correct it.`);
    return undefined;
  }
}
