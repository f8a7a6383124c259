/**
 * Text to token ids and back, for BPE tokenizers over bytes in the Hugging Face format.
 *
 * The tokenizers package splits and merges; decoding is our own, on bytes: every token is a byte
 * string, so no text is lost between tokens. Text that the vocabulary cannot spell is refused
 * instead of dropped. Knows nothing of models or files.
 */

import { Tokenizer as PackageTokenizer } from '@huggingface/tokenizers';
import { ConfigError, RequestError } from '../errors.js';
import { fromByteAlphabet } from './byte-alphabet.js';
import { DecodeStream } from './decode-stream.js';
import { parseTokenizerJson, type Spelling, type TokenizerJson } from './tokenizer-json.js';
import { WordCache, encodesWords } from './word-cache.js';

/** How `encode` treats its text. */
export type EncodeOptions = {
  /**
   * Adds the tokens of the post-processor, such as a beginning-of-text token. Default `false`: the
   * models of looplm read bare text, and chat templates write their special tokens themselves.
   */
  readonly addSpecialTokens?: boolean;
  /**
   * What to do with a character whose bytes have no token: throw (`'error'`, the default) or encode
   * U+FFFD in its place (`'replace'`, for corpora).
   */
  readonly unencodable?: 'error' | 'replace';
};

/** How `decode` and `decodeStream` treat special tokens. */
export type DecodeOptions = {
  /** Leaves special tokens out of the text. Default `false`. */
  readonly skipSpecialTokens?: boolean;
  /** Special tokens that stay in the text all the same. Default none. */
  readonly keepTokens?: readonly string[];
};

/** The one method of the package that is used; an id is absent where the vocabulary has none. */
type Encoder = {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
};

/** Stated here, since the package's own types do not resolve under `moduleResolution: NodeNext`. */
const EncoderOfPackage = PackageTokenizer as new (tokenizer: object, config: object) => Encoder;

type Token = { readonly text: string; readonly bytes: Uint8Array };

const NO_BYTES = new Uint8Array();
const REPLACEMENT = '\uFFFD';

/** A tokenizer whose tokens stand for bytes. What it remembers between calls changes no result. */
export class Tokenizer {
  /** Smallest count that is above every id. Ids without a token may lie below it. */
  readonly vocabSize: number;
  /** Special tokens and their ids. They are recognised wherever they stand in a text. */
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #encoder: Encoder;
  /** Undefined if words cannot be encoded by themselves. */
  readonly #words: WordCache | undefined;
  readonly #tokens: ReadonlyMap<number, Token>;
  readonly #ids: ReadonlyMap<string, number>;

  private constructor(json: TokenizerJson) {
    this.#encoder = createEncoder(json);
    this.#words = encodesWords(json)
      ? new WordCache((word) => this.#encodeWhole(word, false))
      : undefined;
    this.#tokens = tokenTable(json);
    this.#ids = new Map(Array.from(this.#tokens, ([id, token]) => [token.text, id]));
    const special = json.added_tokens.filter((token) => token.special);
    this.specialTokens = new Map(special.map((token) => [token.content, token.id]));
    this.vocabSize = 0;
    for (const id of this.#tokens.keys()) this.vocabSize = Math.max(this.vocabSize, id + 1);
  }

  /**
   * Creates a tokenizer from the parsed content of a tokenizer.json.
   *
   * @throws ConfigError if a field is missing, has the wrong type or contradicts another.
   * @throws UnsupportedError if it is no BPE over bytes.
   */
  static fromJson(tokenizerJson: unknown): Tokenizer {
    return new Tokenizer(parseTokenizerJson(tokenizerJson));
  }

  /**
   * Token ids of a text; `decode` gives the text back byte for byte, unless the tokenizer itself
   * changes it (a normalizer, a prefix space).
   *
   * @throws RequestError if the text holds a lone surrogate, or a character that the vocabulary
   * cannot spell.
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    requireWellFormed(text);
    const addSpecialTokens = options.addSpecialTokens ?? false;
    const ids = this.#tryEncode(text, addSpecialTokens);
    if (ids !== undefined) return ids;
    const unencodable = this.#unencodableCharacters(text);
    if (options.unencodable !== 'replace' || unencodable.has(REPLACEMENT)) {
      throw unencodableError(unencodable);
    }
    const replaced = Array.from(text, (char) => (unencodable.has(char) ? REPLACEMENT : char));
    return this.encode(replaced.join(''), { addSpecialTokens });
  }

  /**
   * Text of token ids. Byte sequences that are not UTF-8 become U+FFFD.
   *
   * @throws RequestError if the vocabulary lacks an id.
   */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.decodeStream(options);
    const pieces = Array.from(ids, (id) => stream.push(id));
    return pieces.join('') + stream.flush();
  }

  /** Starts an incremental decoding, for text that is printed while tokens arrive. */
  decodeStream(options: DecodeOptions = {}): DecodeStream {
    const skipped = new Set(options.skipSpecialTokens ? this.specialTokens.values() : []);
    for (const token of options.keepTokens ?? []) skipped.delete(this.#ids.get(token) ?? -1);
    return new DecodeStream((id) => (skipped.has(id) ? NO_BYTES : this.tokenBytes(id)));
  }

  /**
   * Bytes that a token stands for (borrowed: do not write).
   *
   * @throws RequestError if the vocabulary lacks the id.
   */
  tokenBytes(id: number): Uint8Array {
    const token = this.#tokens.get(id);
    if (token !== undefined) return token.bytes;
    throw new RequestError(
      `token id ${id} has no token; this tokenizer has ids 0 to ${this.vocabSize - 1}. ` +
        'Use the tokenizer that belongs to the model.',
    );
  }

  /** Id of a token in the spelling of tokenizer.json (`Ġthe`), or `undefined`. */
  tokenToId(token: string): number | undefined {
    return this.#ids.get(token);
  }

  /** Token of an id in the spelling of tokenizer.json (`Ġthe`), or `undefined`. */
  idToToken(id: number): string | undefined {
    return this.#tokens.get(id)?.text;
  }

  /** Ids of the text, or `undefined` if a part of it has no token. */
  #tryEncode(text: string, addSpecialTokens: boolean): number[] | undefined {
    if (text === '' && !addSpecialTokens) return [];
    if (this.#words && !addSpecialTokens) return this.#words.encode(text);
    return this.#encodeWhole(text, addSpecialTokens);
  }

  #encodeWhole(text: string, addSpecialTokens: boolean): number[] | undefined {
    const { ids } = this.#encoder.encode(text, { add_special_tokens: addSpecialTokens });
    return ids.every((id) => id !== undefined) ? ids : undefined;
  }

  #unencodableCharacters(text: string): Set<string> {
    const characters = [...new Set(text)];
    return new Set(characters.filter((char) => this.#tryEncode(char, false) === undefined));
  }
}

function unencodableError(characters: ReadonlySet<string>): RequestError {
  const codes = Array.from(characters, (char) => {
    const hex = (char.codePointAt(0) ?? 0).toString(16).toUpperCase();
    return `U+${hex.padStart(4, '0')}`;
  });
  return new RequestError(
    `text holds ${codes.slice(0, 3).join(', ')}, for which this tokenizer has no token; every byte ` +
      "of a text needs one. Remove such characters, or encode with unencodable: 'replace'.",
  );
}

function createEncoder(json: TokenizerJson): Encoder {
  try {
    return new EncoderOfPackage(json, {});
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      'tokenizer.json',
      `tokenizer.json cannot be used (${reason}). Give the tokenizer.json of a BPE over bytes.`,
      { cause },
    );
  }
}

/** Every id with its token. Added tokens stand for their own text, others for spelled bytes. */
function tokenTable(json: TokenizerJson): Map<number, Token> {
  const utf8 = new TextEncoder();
  const table = new Map<number, Token>();
  for (const [text, id] of Object.entries(json.model.vocab)) {
    const other = table.get(id);
    if (other !== undefined) throw duplicateIdError(id, other.text, text);
    table.set(id, { text, bytes: spelledBytes(text, json.spelling) ?? utf8.encode(text) });
  }
  for (const { id, content } of json.added_tokens) {
    const other = table.get(id);
    if (other !== undefined && other.text !== content) {
      throw duplicateIdError(id, other.text, content);
    }
    table.set(id, { text: content, bytes: utf8.encode(content) });
  }
  return table;
}

/** Bytes that a token of the vocabulary spells; `undefined` where it is text as it stands. */
function spelledBytes(text: string, spelling: Spelling): Uint8Array | undefined {
  if (spelling === 'byte-level') return fromByteAlphabet(text);
  const byte = /^<0x([0-9A-F]{2})>$/.exec(text)?.[1];
  if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
  return new TextEncoder().encode(text.replaceAll('\u2581', ' '));
}

function duplicateIdError(id: number, first: string, second: string): ConfigError {
  return new ConfigError(
    'model.vocab',
    `tokenizer.json gives id ${id} to both ${JSON.stringify(first)} and ${JSON.stringify(second)}; ` +
      'every token needs an id of its own. Restore the original file.',
  );
}

function requireWellFormed(text: string): void {
  const index = text.search(/\p{Surrogate}/u);
  if (index < 0) return;
  throw new RequestError(
    `text holds half of a surrogate pair at index ${index}; text must be well-formed Unicode. ` +
      'Remove it, or replace it with U+FFFD.',
  );
}
