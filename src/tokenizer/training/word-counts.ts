/**
 * Counts the words of a text that comes in pieces: the stretches within which byte-level BPE merges.
 *
 * The one idea: a word never goes on from a character that is no white space into one that is, so a
 * stream may be cut there, and memory holds each distinct word once, however long the text is.
 * Source: the pre-tokenizers `Digits` and `ByteLevel` of the Hugging Face tokenizers library.
 */
import { CapacityError } from '../../errors.js';
import { GPT2_PATTERN } from '../tokenizer-json.js';

export interface WordCountsOptions {
  /** Makes every digit (Unicode category N) a word of its own, as SmolLM2 and Llama 2 do. */
  readonly splitDigits: boolean;
}

/** The pattern as the Rust library reads it: white space there is Unicode's, and not JavaScript's. */
const WORD = GPT2_PATTERN.replaceAll('\\s', '\\p{White_Space}').replaceAll(
  '\\S',
  '\\P{White_Space}',
);

/** A stretch without a safe place to cut is cut anyway when it is longer. */
const MAX_CARRY = 2 ** 20;

/** A map holds 2^24 at most; far below that they no longer fit into a usual heap. */
const MAX_WORDS = 10_000_000;

export class WordCounts {
  /** How often each word was seen. */
  readonly counts = new Map<string, number>();
  readonly #splitDigits: boolean;
  readonly #word = new RegExp(WORD, 'gu');
  #carry = '';

  constructor({ splitDigits }: WordCountsOptions) {
    this.#splitDigits = splitDigits;
  }

  /** Takes the next piece of a text, which must not end within a character. */
  push(piece: string): void {
    const text = this.#carry + piece;
    const cut = lastSafeCut(text) ?? (text.length > MAX_CARRY ? text.length : 0);
    this.#carry = text.slice(cut);
    this.#count(text.slice(0, cut));
  }

  /** Ends a text: what comes next is another one. @throws CapacityError as `push` does */
  endText(): void {
    this.#count(this.#carry);
    this.#carry = '';
  }

  #count(text: string): void {
    if (text === '') return;
    const { counts } = this;
    const pieces = this.#splitDigits ? text.split(/(\p{N})/u) : [text];
    for (const piece of pieces) {
      for (const word of piece.match(this.#word) ?? []) {
        counts.set(word, (counts.get(word) ?? 0) + 1);
      }
    }
    if (counts.size <= MAX_WORDS) return;
    throw new CapacityError(
      `The text has more than ${MAX_WORDS} different words; so many do not fit into memory. Train the tokenizer on a part of the text.`,
    );
  }
}

/** The last place between a character that is no white space and one that is. */
function lastSafeCut(text: string): number | undefined {
  for (let index = text.length - 1; index > 0; index--) {
    if (isSpace(text, index) && !isSpace(text, index - 1)) return index;
  }
  return undefined;
}

const isSpace = (text: string, index: number) => /\p{White_Space}/u.test(text.charAt(index));
