/**
 * A tokenizer.json from its parts: byte-level BPE in the layout that every program reads.
 * Source: the tokenizer files of SmolLM2, format of the Hugging Face tokenizers library.
 */

/** What differs between byte-level tokenizers. */
export interface ByteLevelParts {
  /** The index is the id. */
  readonly specialTokens: readonly string[];
  /** Cut a text before its pieces are encoded; the byte-level one follows. */
  readonly preTokenizers: readonly object[];
  /** Whether the byte-level step cuts by the pattern of GPT-2. */
  readonly usesRegex: boolean;
  /** All tokens in order of their ids, special ones first. */
  readonly tokens: readonly string[];
  /** Pairs that become one token, most important first. */
  readonly merges: readonly (readonly [string, string])[];
  /** Whether a piece that is a token is taken whole. */
  readonly ignoresMerges?: true;
}

/** The value of a tokenizer.json, with the fields in their usual order. */
export function byteLevelTokenizerJson(parts: ByteLevelParts): object {
  const { specialTokens, preTokenizers, usesRegex, tokens, merges, ignoresMerges } = parts;
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: usesRegex,
  };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...preTokenizers, byteLevel] },
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ...(ignoresMerges && { ignore_merges: true }),
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}
