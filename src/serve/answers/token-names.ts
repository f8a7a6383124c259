/**
 * How answers name single tokens: by their text, or where that is no whole characters, by their bytes.
 */
import type { Tokenizer } from '../../tokenizer/index.js';

/** A token as a text that no other token of another text has, and its bytes. */
export interface TokenName {
  readonly token: string;
  /** Null where the vocabulary has no text for the id, or there is no tokenizer. */
  readonly bytes: readonly number[] | null;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function tokenName(tokenizer: Tokenizer | undefined, id: number): TokenName {
  if (tokenizer?.idToToken(id) === undefined) return { token: `token_id:${id}`, bytes: null };
  const bytes = tokenizer.tokenBytes(id);
  return { token: textOf(bytes), bytes: [...bytes] };
}

/** Bytes that are no text are spelt out, as OpenAI does it. */
function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    const spelt = Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`);
    return `bytes:${spelt.join('')}`;
  }
}

/** Text of token ids, special tokens included; ids that the vocabulary has no text for are left out. */
export function knownText(tokenizer: Tokenizer | undefined, ids: readonly number[]): string {
  if (!tokenizer) return '';
  return tokenizer.decode(ids.filter((id) => tokenizer.idToToken(id) !== undefined));
}
