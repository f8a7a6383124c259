/**
 * Exit policies written as text, for flags, request bodies and rollout records.
 *
 * Grammar: `word`, `word:value`, `any(spec,spec...)` or `all(spec,spec...)`; spaces may stand between them.
 * The one idea: `parseExitPolicy(policy.name)` is the same policy, so a record's text is enough to
 * run it again. Knows the words of the policies, not what they do.
 */
import { ConfigError } from '../errors.js';
import { quote, showValue } from '../util/quote.js';
import {
  allOf,
  anyOf,
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  logitKl,
  replay,
  sampledExit,
  stateDelta,
} from './exit-policies.js';
import type { ExitPolicy } from './exit-policy.js';

/** The forms that `parseExitPolicy` reads, for help texts. */
export const EXIT_POLICY_FORMS =
  'full, fixed:N, cdf:Q, delta:EPS, kl:EPS, confidence:P, sampled, replay:N,N,..., any(...), all(...)';

const PLAIN: Readonly<Record<string, () => ExitPolicy>> = { full: fullDepth, sampled: sampledExit };

const WITH_NUMBER: Readonly<Record<string, (value: number) => ExitPolicy>> = {
  fixed: fixedDepth,
  cdf: cdfThreshold,
  delta: stateDelta,
  kl: logitKl,
  confidence,
};

const COMBINED: Readonly<Record<string, (...parts: ExitPolicy[]) => ExitPolicy>> = {
  any: anyOf,
  all: allOf,
};

const WORD = /[^\s:,()]*/y;
const NUMBER = /[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?/iy;
// greedy: a part of any(...) begins with a letter, so digits after a comma are still depths
const DEPTHS = /\d+(?:\s*,\s*\d+)*/y;

/**
 * The exit policy that a spec such as `cdf:0.5` or `any(cdf:0.5,fixed:3)` describes.
 *
 * @throws ConfigError if the spec cannot be read or a value in it is not allowed.
 */
export function parseExitPolicy(spec: string): ExitPolicy {
  if (typeof spec !== 'string') {
    throw new ConfigError(
      'exitPolicy',
      `The exit policy is ${showValue(spec)}; it must be a text, one of ${EXIT_POLICY_FORMS}.`,
    );
  }
  const reader = new SpecReader(spec);
  const policy = readPolicy(reader);
  const rest = reader.take(/.*/sy);
  if (rest) throw reader.error(`${quote(rest)} follows a complete policy`);
  return policy;
}

/** Nobody needs more, and each level is a call. */
const MAX_LEVELS = 32;

function readPolicy(reader: SpecReader, level = 1): ExitPolicy {
  if (level > MAX_LEVELS) throw reader.error(`it nests more than ${MAX_LEVELS} brackets`);
  const word = reader.take(WORD) ?? '';
  const plain = own(PLAIN, word);
  if (plain) return plain();
  const combine = own(COMBINED, word);
  if (combine) return combine(...readParts(reader, word, level));
  const withNumber = own(WITH_NUMBER, word);
  if (withNumber) return withNumber(Number(readValue(reader, word, NUMBER)));
  if (word === 'replay') return replay(readValue(reader, word, DEPTHS).split(',').map(Number));
  throw reader.error(`${quote(word)} is not the word of an exit policy`);
}

function readParts(reader: SpecReader, word: string, level: number): ExitPolicy[] {
  if (!reader.take(/\(/y)) throw reader.error(`${word} needs its parts in brackets`);
  const parts = [readPolicy(reader, level + 1)];
  while (reader.take(/,/y)) parts.push(readPolicy(reader, level + 1));
  if (!reader.take(/\)/y)) throw reader.error(`the bracket of ${word}( is not closed`);
  return parts;
}

function readValue(reader: SpecReader, word: string, pattern: RegExp): string {
  const value = reader.take(/:/y) && reader.take(pattern);
  if (!value) throw reader.error(`${word} needs a number after a colon`);
  return value;
}

// not a plain lookup: a word such as "constructor" must not find Object.prototype
function own<T>(table: Readonly<Record<string, T>>, word: string): T | undefined {
  return Object.hasOwn(table, word) ? table[word] : undefined;
}

/** A spec and a place in it. */
class SpecReader {
  readonly #spec: string;
  #place = 0;

  constructor(spec: string) {
    this.#spec = spec;
  }

  /** Moves over spaces and the sticky pattern; returns what it matched, undefined if it does not. */
  take(pattern: RegExp): string | undefined {
    this.#place += this.#spec.slice(this.#place).search(/\S|$/);
    pattern.lastIndex = this.#place;
    const match = pattern.exec(this.#spec)?.[0];
    this.#place += match?.length ?? 0;
    return match;
  }

  error(problem: string): ConfigError {
    return new ConfigError(
      'exitPolicy',
      `Exit policy ${quote(this.#spec)} cannot be read: ${problem}. Write one of ${EXIT_POLICY_FORMS}.`,
    );
  }
}
