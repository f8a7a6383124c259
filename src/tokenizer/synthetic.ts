/**
 * A tokenizer.json that no text was counted for: a byte-level BPE of any size, for random models.
 *
 * Layout and special tokens are those of the released models, so that every program that reads their
 * tokenizer reads this one; merges just enumerate short strings. It does not know models.
 * Source: layout of the tokenizer of SmolLM2.
 */
import { BYTE_ALPHABET, toByteAlphabet } from './byte-alphabet.js';
import { byteLevelTokenizerJson } from './byte-level-json.js';
import { CHATML_TEMPLATES } from './chat-template.js';

const SPECIAL_TOKENS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'] as const;

/** Bytes of usual text first: their pairs are merged first. */
const USUAL = ' etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLUCMFWYPVBGKJQXZ0123456789.,\n';

/** Smallest vocabulary: the special tokens and all bytes. */
export const MIN_SYNTHETIC_VOCAB = SPECIAL_TOKENS.length + BYTE_ALPHABET.length;

/**
 * Tokenizer files by name, for a vocabulary of exactly this size: `<|endoftext|>` 0, `<|im_start|>` 1,
 * `<|im_end|>` 2, the bytes, then merged strings. Every text can be encoded.
 *
 * @param vocabSize - at least `MIN_SYNTHETIC_VOCAB`.
 */
export function syntheticTokenizerFiles(vocabSize: number): Readonly<Record<string, string>> {
  const { tokens, merges } = enumerateMerges(vocabSize - SPECIAL_TOKENS.length);
  const tokenizer = byteLevelTokenizerJson({
    specialTokens: SPECIAL_TOKENS,
    preTokenizers: [{ type: 'Digits', individual_digits: true }],
    usesRegex: true,
    tokens: [...SPECIAL_TOKENS, ...tokens],
    merges,
  });
  const tokenizerConfig = {
    add_bos_token: false,
    add_prefix_space: false,
    bos_token: SPECIAL_TOKENS[0],
    chat_template: CHATML_TEMPLATES.base,
    clean_up_tokenization_spaces: false,
    eos_token: SPECIAL_TOKENS[0],
    model_max_length: 131_072,
    tokenizer_class: 'GPT2Tokenizer',
    unk_token: SPECIAL_TOKENS[0],
  };
  return {
    'tokenizer.json': `${JSON.stringify(tokenizer)}\n`,
    'tokenizer_config.json': `${JSON.stringify(tokenizerConfig, null, 2)}\n`,
  };
}

/** The bytes, then every token followed by every byte, until there are `numTokens`. */
function enumerateMerges(numTokens: number) {
  const bytes = [...new Set([...Array.from(toByteAlphabet(USUAL)), ...BYTE_ALPHABET])];
  const tokens = [...bytes];
  const merges: (readonly [string, string])[] = [];
  for (const left of tokens) {
    for (const right of bytes) {
      if (tokens.length >= numTokens) return { tokens, merges };
      merges.push([left, right]);
      tokens.push(left + right); // the outer loop comes to it, too
    }
  }
  return { tokens, merges };
}
