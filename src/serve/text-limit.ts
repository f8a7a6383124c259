/**
 * How long a text can be and still fit the context: a bound that is cheap to check, since splitting a
 * text into tokens takes time in which the server answers nobody.
 */
import { badRequest } from './errors.js';
import type { ServedModel } from './served-model.js';

/** Bytes of the longest text that has no more tokens than the context. */
export function maxTextBytes({ config, tokenizer }: ServedModel): number {
  if (!tokenizer) return Infinity;
  let longest = 0;
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    if (tokenizer.idToToken(id) === undefined) continue;
    longest = Math.max(longest, tokenizer.tokenBytes(id).length);
  }
  return longest * config.maxPositionEmbeddings;
}

/** @throws ApiError 400 for a text that surely does not fit */
export function checkTextLength(text: string, maxBytes: number, param: string): void {
  // a character has at most three bytes for each of its units
  if (text.length * 3 <= maxBytes) return;
  const numBytes = new TextEncoder().encode(text).length;
  if (numBytes <= maxBytes) return;
  throw badRequest(
    param,
    `The prompt has ${numBytes} bytes; the context of this model holds no more than ${maxBytes}. Shorten the prompt.`,
    'context_length_exceeded',
  );
}
