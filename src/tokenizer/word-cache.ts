/**
 * Remembers the ids of words, so that long texts are encoded some ten times as fast.
 *
 * The one idea: where the pattern of GPT-2 cuts a text, no token goes on from a character that is no
 * white space into one that is. So what lies between two such places can be encoded by itself, and
 * most of it has been before. Does not know how words are encoded.
 */
import { GPT2_PATTERN, type TokenizerJson } from './tokenizer-json.js';

/** White space, and what follows up to the next. */
const WORD = /\p{White_Space}+\P{White_Space}*|\P{White_Space}+/gu;

/** Words that are kept; of usual text these are nearly all that come. */
const MAX_WORDS = 2 ** 16;
/** Longer ones do not come again. */
const MAX_LENGTH = 64;

export class WordCache {
  readonly #encode: (text: string) => readonly number[] | undefined;
  readonly #words = new Map<string, readonly number[]>();

  /** @param encode - ids of a text, undefined if a part of it has none. */
  constructor(encode: (text: string) => readonly number[] | undefined) {
    this.#encode = encode;
  }

  /** Ids of a text; undefined if a part of it has none. */
  encode(text: string): number[] | undefined {
    const all: number[] = [];
    for (const word of text.match(WORD) ?? []) {
      const ids = this.#words.get(word) ?? this.#encode(word);
      if (ids === undefined) return undefined;
      for (const id of ids) all.push(id);
      if (word.length > MAX_LENGTH) continue;
      if (this.#words.size >= MAX_WORDS) this.#words.clear();
      this.#words.set(word, ids);
    }
    return all;
  }
}

/** Whether a tokenizer encodes words by themselves as it does within a text. */
export function encodesWords(json: TokenizerJson): boolean {
  const steps = stepsOf(json.pre_tokenizer);
  const patterns = steps.filter(({ type }) => type === 'Split').map(patternOf);
  return (
    json.normalizer === null &&
    patterns.includes(GPT2_PATTERN) &&
    patterns.every((pattern) => CUTTING.includes(pattern)) &&
    steps.every((step) => step.type === 'Split' || isBytes(step)) &&
    json.added_tokens.every(isPlain)
  );
}

/** Patterns that take white space only at the beginning of a word: GPT-2's, and digits apart. */
const CUTTING: readonly (string | undefined)[] = [GPT2_PATTERN, '\\p{N}', '\\p{N}+'];

type Step = NonNullable<TokenizerJson['pre_tokenizer']>;

function stepsOf(step: Step | null): readonly Step[] {
  if (step === null) return [];
  return step.type === 'Sequence' ? (step['pretokenizers'] as Step[]).flatMap(stepsOf) : [step];
}

function patternOf(split: Step): string | undefined {
  const { Regex: regex } = split['pattern'] as { Regex?: string };
  return split['behavior'] === 'Isolated' && split['invert'] !== true ? regex : undefined;
}

function isBytes(step: Step): boolean {
  return step.type === 'ByteLevel' && step['add_prefix_space'] === false;
}

/** An added token that takes no white space with it. */
function isPlain(token: TokenizerJson['added_tokens'][number]): boolean {
  return !token['lstrip'] && !token['rstrip'] && !/\p{White_Space}/u.test(token.content);
}
