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

/** End of a text, and the beginning and the end of a turn. */
export const CHATML_TOKENS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'] as const;

/** Bytes of usual text first: their pairs are merged first. */
const USUAL = ' etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLUCMFWYPVBGKJQXZ0123456789.,\n';

/** Smallest vocabulary: the special tokens and all bytes. */
export const MIN_SYNTHETIC_VOCAB = CHATML_TOKENS.length + BYTE_ALPHABET.length;

/**
 * Tokenizer files by name, for a vocabulary of exactly this size: `<|endoftext|>` 0, `<|im_start|>` 1,
 * `<|im_end|>` 2, the bytes, then merged strings. Every text can be encoded.
 *
 * @param vocabSize - at least `MIN_SYNTHETIC_VOCAB`.
 */
export function syntheticTokenizerFiles(vocabSize: number): Readonly<Record<string, string>> {
  const { tokens, merges } = enumerateMerges(vocabSize - CHATML_TOKENS.length);
  const tokenizer = byteLevelTokenizerJson({
    specialTokens: CHATML_TOKENS,
    preTokenizers: [{ type: 'Digits', individual_digits: true }],
    usesRegex: true,
    tokens: [...CHATML_TOKENS, ...tokens],
    merges,
  });
  return {
    'tokenizer.json': `${JSON.stringify(tokenizer)}\n`,
    'tokenizer_config.json': chatmlTokenizerConfig(CHATML_TEMPLATES.base),
  };
}

/** Text of the tokenizer_config.json of a byte-level tokenizer that has `CHATML_TOKENS`. */
export function chatmlTokenizerConfig(chatTemplate: string): string {
  const config = {
    add_bos_token: false,
    add_prefix_space: false,
    bos_token: CHATML_TOKENS[0],
    chat_template: chatTemplate,
    clean_up_tokenization_spaces: false,
    eos_token: CHATML_TOKENS[0],
    model_max_length: 131_072,
    tokenizer_class: 'GPT2Tokenizer',
    unk_token: CHATML_TOKENS[0],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
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
