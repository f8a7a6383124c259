/**
 * Texts of flags into values. Ranges that hold for every model are checked here, before anything is
 * loaded; those that a model sets, and those of settings that have them elsewhere, are the library's.
 */
import { InvalidArgumentError } from 'commander';

/** A number, such as 0.5 or 1e-3. */
export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new InvalidArgumentError('It must be a number, such as 0.5.');
  }
  return value;
}

/** A number of things, of which there is at least one. */
export const parseCount = wholeFrom(1);

/** A whole number from 0 up: an index, a token id, a seed. */
export const parseWhole = wholeFrom(0);

/** A parser of whole numbers in a range. */
export function wholeFrom(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min} up` : `from ${min} to ${max}`;
  return (text) => {
    const value = Number(text);
    if (!/^\s*[+-]?\d+\s*$/.test(text) || value < min) {
      throw new InvalidArgumentError(`It must be a whole number ${range}.`);
    }
    if (value > max) throw new InvalidArgumentError(`It must be at most ${max}.`);
    return value;
  };
}

/** Token ids between commas, spaces allowed; an empty text is an empty list. */
export function parseIds(text: string): readonly number[] {
  if (text.trim() === '') return [];
  return text.split(',').map((part) => {
    if (/^\s*[+-]?\d+\s*$/.test(part)) return Number(part);
    throw new InvalidArgumentError('It must be token ids between commas, such as 5,9,2.');
  });
}

/** Collects the texts of a flag that may be given several times. */
export function collect(text: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, text];
}

/** Collects the whole numbers of a flag that may be given several times. */
export function collectWhole(text: string, previous: readonly number[] = []): readonly number[] {
  return [...previous, parseWhole(text)];
}
