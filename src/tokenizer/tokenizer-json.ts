/**
 * Reads a Hugging Face tokenizer.json and prepares it for the tokenizers package.
 *
 * Accepted are BPE tokenizers whose tokens stand for bytes, so that decoding is exact: byte-level ones
 * (GPT-2, SmolLM, Llama 3, Qwen) and those in the manner of SentencePiece that fall back to bytes
 * (Llama 2, Nanbeige). The one idea: pre-tokenizers that the package splits otherwise than the Rust
 * library are restated as `Split` patterns, which it reads with the meaning of that library. Knows
 * nothing of encoding. Source: docs/decisions/2026-11-24-tokenizer-digits.md.
 */

import { z } from 'zod';
import { ConfigError, UnsupportedError } from '../errors.js';
import { describeIssue } from './parse.js';

/** Stands for a piece of text that the vocabulary cannot spell; it never has an id. */
const UNENCODABLE = '\u0000unencodable';

/** GPT-2's pattern: contractions, then words, numbers, other characters, white space. */
export const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** `Split` behaviours that the package implements; it would treat others as `Isolated`. */
const SPLIT_BEHAVIORS = ['Isolated', 'Removed'];

const tokenId = z.int().nonnegative();
const typed = z.looseObject({ type: z.string() });

const addedTokenSchema = z.looseObject({
  id: tokenId,
  content: z.string().min(1),
  special: z.boolean().default(false),
});

const modelSchema = z.looseObject({
  type: z.string(),
  vocab: z.record(z.string(), tokenId),
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
});

const decodersSchema = z.object({ decoders: z.array(typed) });
const envelopeSchema = z.looseObject({ model: typed, decoder: typed.nullish() });

const tokenizerJsonSchema = z.looseObject({
  added_tokens: z.array(addedTokenSchema).default([]),
  normalizer: typed.nullish().default(null),
  pre_tokenizer: typed.nullish().default(null),
  post_processor: typed.nullish().default(null),
  decoder: typed,
  model: modelSchema,
});

/** A checked tokenizer.json, rewritten so that the tokenizers package splits as the Rust library. */
export type TokenizerJson = z.infer<typeof tokenizerJsonSchema> & {
  /** How its tokens spell bytes. */
  readonly spelling: Spelling;
};

/** In the byte alphabet of GPT-2, or as text with `\u2581` for a space and `<0x0A>` for a single byte. */
export type Spelling = 'byte-level' | 'pieces';

type Typed = z.infer<typeof typed>;
type PreTokenizer = Typed;

/**
 * Checks a parsed tokenizer.json and returns the form that is handed to the tokenizers package.
 * Truncation and padding settings are ignored.
 *
 * @throws ConfigError if a field is missing or has the wrong type.
 * @throws UnsupportedError if it is no BPE over bytes, or splits in a way the package lacks.
 */
export function parseTokenizerJson(value: unknown): TokenizerJson {
  const { model, decoder } = check(envelopeSchema, value);
  const spelling = spellingOf(model, decoder);
  if (spelling === undefined) {
    throw new UnsupportedError(
      `tokenizer.json has model ${model.type} with decoder ${decoder?.type ?? 'null'}; looplm reads ` +
        'BPE with decoder ByteLevel, or with byte_fallback and a decoder ByteFallback. Use a tokenizer of that kind.',
    );
  }
  const json = check(tokenizerJsonSchema, value);
  return {
    ...json,
    spelling,
    pre_tokenizer: json.pre_tokenizer && restatePreTokenizer(json.pre_tokenizer),
    model: { ...json.model, unk_token: UNENCODABLE },
  };
}

function spellingOf(model: Typed, decoder: Typed | null | undefined): Spelling | undefined {
  if (model.type !== 'BPE' || !decoder) return undefined;
  if (decoder.type === 'ByteLevel') return 'byte-level';
  const steps = decoder.type === 'Sequence' ? check(decodersSchema, decoder).decoders : [decoder];
  const fallsBack = steps.some(({ type }) => type === 'ByteFallback');
  return fallsBack && model['byte_fallback'] === true ? 'pieces' : undefined;
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, problem } = describeIssue(result.error);
  throw new ConfigError(
    path,
    `tokenizer.json, ${path}: ${problem}. Give the tokenizer.json of a Hugging Face tokenizer.`,
  );
}

function restatePreTokenizer(preTokenizer: PreTokenizer): PreTokenizer {
  switch (preTokenizer.type) {
    case 'Sequence':
      return { ...preTokenizer, pretokenizers: children(preTokenizer).map(restatePreTokenizer) };
    case 'Digits':
      return isolate(preTokenizer['individual_digits'] === true ? '\\p{N}' : '\\p{N}+');
    case 'ByteLevel':
      return restateByteLevel(preTokenizer);
    case 'Metaspace':
      return restateMetaspace(preTokenizer);
    case 'Split':
      return checkSplit(preTokenizer);
    default:
      return preTokenizer;
  }
}

function children(sequence: PreTokenizer): PreTokenizer[] {
  return check(z.object({ pretokenizers: z.array(typed) }), sequence).pretokenizers;
}

function isolate(regex: string): PreTokenizer {
  return { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false };
}

/** With a prefix space the split happens inside, after the space is added: left to the package. */
function restateByteLevel(byteLevel: PreTokenizer): PreTokenizer {
  if (byteLevel['use_regex'] === false || byteLevel['add_prefix_space'] !== false) return byteLevel;
  return {
    type: 'Sequence',
    pretokenizers: [isolate(GPT2_PATTERN), { ...byteLevel, use_regex: false }],
  };
}

/** Where it splits, a piece begins with each `\u2581`; the package only replaces and prepends. */
function restateMetaspace(metaspace: PreTokenizer): PreTokenizer {
  if (metaspace['split'] === false) return metaspace;
  return { type: 'Sequence', pretokenizers: [metaspace, isolate('\u2581[^\u2581]*|[^\u2581]+')] };
}

function checkSplit(split: PreTokenizer): PreTokenizer {
  const behavior = String(split['behavior']);
  if (SPLIT_BEHAVIORS.includes(behavior)) return split;
  throw new UnsupportedError(
    `tokenizer.json has a Split pre-tokenizer with behavior ${behavior}; looplm reads ` +
      `${SPLIT_BEHAVIORS.join(' and ')}. Use a tokenizer that splits in one of these ways.`,
  );
}
