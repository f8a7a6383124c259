/**
 * Fields of settings files, each with the sentence that says what it may be.
 *
 * Bounds are for typing mistakes: far beyond any use, they keep one from taking all memory or all time.
 */
import { z } from 'zod';
import { numberWhere, wordOf } from './parse-fields.js';

const FIX = 'Correct it.';

export const wholeNumber = (min: number, max: number) =>
  numberWhere(
    `it must be a whole number from ${min} to ${max}. ${FIX}`,
    (value) => Number.isInteger(value) && value >= min && value <= max,
  );

export const numberBetween = (min: number, max: number) =>
  numberWhere(`it must be a number from ${min} to ${max}. ${FIX}`, (v) => v >= min && v <= max);

export const positiveNumber = (max: number) =>
  numberWhere(`it must be a number above 0, at most ${max}. ${FIX}`, (v) => v > 0 && v <= max);

/** A number from 0 to below 1, as decays are. */
export const decayNumber = () =>
  numberWhere(`it must be a number from 0 to below 1. ${FIX}`, (v) => v >= 0 && v < 1);

export const text = () => z.string(`it must be a text. ${FIX}`);

export const word = <const T extends readonly string[]>(words: T) => wordOf(words, FIX);

/** An object of known keys. */
export const section = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject(shape, {
    error: ({ code }) => (code === 'invalid_type' ? `it must be an object. ${FIX}` : undefined),
  });

/** The rule of a value that is an object of one of several kinds, or something else. */
export const rule = (allowed: string) => `it must be ${allowed}. ${FIX}`;
