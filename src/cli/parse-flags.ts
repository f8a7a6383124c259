/**
 * Texts of flags into values. Only the form is checked here: ranges are the library's business.
 */
import { InvalidArgumentError } from 'commander';

/** A number, such as 0.5 or 1e-3. */
export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) {
    throw new InvalidArgumentError('It must be a number.');
  }
  return value;
}

/** A whole number. */
export function parseWhole(text: string): number {
  if (!/^[+-]?\d+$/.test(text.trim())) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
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
