/**
 * Trains a byte-level BPE tokenizer: text comes in, a tokenizer.json comes out.
 *
 * Every byte has a token, so every text can be encoded. Does not open files. Source: GPT-2's
 * byte-level BPE, in the layout of the Hugging Face tokenizers library.
 */
import { ConfigError } from '../../errors.js';
import { BYTE_ALPHABET, toByteAlphabet } from '../byte-alphabet.js';
import { byteLevelTokenizerJson } from '../byte-level-json.js';
import type { CountedWord } from './merges.js';
import { learnMerges } from './merges.js';
import { WordCounts } from './word-counts.js';

export interface TokenizerTrainerOptions {
  /** Tokens in all, at most: special ones, 256 bytes, and what is merged of them. */
  readonly vocabSize: number;
  /** Pairs that occur less often are not merged. Default 2. */
  readonly minFrequency?: number;
  /** They have the lowest ids, in this order. */
  readonly specialTokens: readonly string[];
  /** Makes every digit a token of its own. Default `false`. */
  readonly splitDigits?: boolean;
}

/** Ids that the merges can tell apart. */
const MAX_VOCAB_SIZE = 2 ** 20;

/** Push texts, then learn. */
export class TokenizerTrainer {
  readonly #options: Required<TokenizerTrainerOptions>;
  readonly #words: WordCounts;

  /** @throws ConfigError if a setting is out of range, or a special token is empty or comes twice */
  constructor(options: TokenizerTrainerOptions) {
    this.#options = { minFrequency: 2, splitDigits: false, ...options };
    checkOptions(this.#options);
    this.#words = new WordCounts(this.#options);
  }

  /** Words that differ, so far. */
  get numWords(): number {
    return this.#words.counts.size;
  }

  /**
   * Takes the next piece of a text, which must not end within a character.
   *
   * @throws CapacityError if there are too many different words.
   */
  push(piece: string): void {
    this.#words.push(piece);
  }

  /** Ends a text; nothing is merged across texts. Throws as `push` does. */
  endText(): void {
    this.#words.endText();
  }

  /**
   * Learns the merges of all that was pushed.
   *
   * @yields the number of tokens so far.
   * @returns the value of a tokenizer.json; it has fewer tokens than asked for if no more pairs are
   * frequent enough.
   */
  *learn(): Generator<number, object, undefined> {
    const { specialTokens, splitDigits, vocabSize, minFrequency } = this.#options;
    this.endText();
    const start = [...specialTokens, ...BYTE_ALPHABET.toSorted()];
    const { symbols, merges } = yield* learnMerges(wordsOf(this.#words.counts, start), {
      symbols: start,
      vocabSize,
      minFrequency,
    });
    return byteLevelTokenizerJson({
      specialTokens,
      preTokenizers: splitDigits ? [{ type: 'Digits', individual_digits: true }] : [],
      usesRegex: true,
      tokens: symbols,
      merges: merges.map(([left, right]) => [symbols[left]!, symbols[right]!]),
    });
  }
}

function* wordsOf(
  counts: ReadonlyMap<string, number>,
  symbols: readonly string[],
): Generator<CountedWord> {
  const idOf = new Map(symbols.map((text, id) => [text, id]));
  for (const [word, count] of counts) {
    yield { symbols: Array.from(toByteAlphabet(word), (byte) => idOf.get(byte)!), count };
  }
}

function checkOptions(options: Required<TokenizerTrainerOptions>): void {
  const { vocabSize, minFrequency, specialTokens } = options;
  const least = specialTokens.length + BYTE_ALPHABET.length;
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > MAX_VOCAB_SIZE) {
    throw new ConfigError(
      'vocabSize',
      `The vocabulary size is ${vocabSize}; it must be a whole number from ${least} (${specialTokens.length} special tokens and 256 bytes) to ${MAX_VOCAB_SIZE}. Correct it.`,
    );
  }
  if (!Number.isInteger(minFrequency) || minFrequency < 1) {
    throw new ConfigError(
      'minFrequency',
      `The minimum frequency is ${minFrequency}; it must be a whole number from 1 up. Correct it.`,
    );
  }
  const wrong = specialTokens.find(
    (token, index) => token.length < 2 || specialTokens.indexOf(token) !== index,
  );
  if (wrong === undefined) return;
  throw new ConfigError(
    'specialTokens',
    `The special token ${JSON.stringify(wrong)} is ${wrong.length < 2 ? 'a byte or empty' : 'there twice'}; each needs two characters or more, and comes once. Correct the list.`,
  );
}
