/**
 * The tokenizer of the bundled model: one token for each word of its tiny language.
 *
 * A word is a verb or a digit together with a leading space and a directly following
 * semicolon, so `cup 3; swap 1 3;` is five tokens. It is a byte-level BPE without merges: a word of
 * the list is taken whole (`ignore_merges`), any other text falls back to its bytes. Pure data: no
 * file is read or written here.
 */

import { BYTE_ALPHABET, byteLevelTokenizerJson, toByteAlphabet } from 'looplm/tokenizer';

/** Special tokens of the bundled model; the index is the id. The first one ends an answer. */
export const BUNDLED_SPECIAL_TOKENS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'] as const;

/** Words of the two kinds of problems: shell game and arithmetic. */
export const BUNDLED_WORDS = ['cup', 'swap', 'take', 'plus', 'minus', 'times'] as const;

const DIGITS = Array.from('0123456789');

/** A word or one digit, with the space before it and the semicolon after it. */
const WORD_PATTERN = ' ?(?:[a-z]+|[0-9]);?';

/** All tokens in order of their ids: special tokens, the 256 bytes, then words in four forms. */
function tokensInOrder(): string[] {
  const forms = [...DIGITS, ...BUNDLED_WORDS].flatMap((word) =>
    [word, ` ${word}`, `${word};`, ` ${word};`].map(toByteAlphabet),
  );
  return [...new Set([...BUNDLED_SPECIAL_TOKENS, ...BYTE_ALPHABET, ...forms])];
}

/** The tokenizer.json of the bundled model, the same value at every call. */
export function bundledTokenizerJson(): object {
  return byteLevelTokenizerJson({
    specialTokens: BUNDLED_SPECIAL_TOKENS,
    preTokenizers: [
      { type: 'Split', pattern: { Regex: WORD_PATTERN }, behavior: 'Isolated', invert: false },
    ],
    usesRegex: false,
    tokens: tokensInOrder(),
    merges: [],
    ignoresMerges: true,
  });
}

/** The tokenizer_config.json of the bundled model: nothing is prepended, `<|endoftext|>` stops. */
export function bundledTokenizerConfig(): object {
  const [endOfText] = BUNDLED_SPECIAL_TOKENS;
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: null,
    eos_token: endOfText,
    pad_token: endOfText,
    unk_token: null,
    add_bos_token: false,
    add_eos_token: false,
    add_prefix_space: false,
    clean_up_tokenization_spaces: false,
  };
}
