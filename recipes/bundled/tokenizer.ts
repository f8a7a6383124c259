/**
 * The tokenizer: one token for each word of the tasks, in the forms in which people type it.
 *
 * A byte-level BPE without merges: a word of the list is taken whole (`ignore_merges`), any other text
 * falls back to its bytes. Names of several words, such as New Zealand, are one token, too.
 */
import { BYTE_ALPHABET, byteLevelTokenizerJson, toByteAlphabet } from 'looplm/tokenizer';
import { COUNTRIES, RELATIONS } from './countries.js';
import { NAMES } from './names.js';
import { TASKS } from './tasks/index.js';

/** The index is the id. The first and the last end an answer. */
export const SPECIAL_TOKENS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'] as const;

/** Turns as ChatML writes them. */
const CHAT_TEMPLATE = String.raw`{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`;

/** What a text may begin with, and what only stands within one. */
const PLACES: ReadonlySet<string> = new Set(COUNTRIES.map(({ name }) => name));
const ATTRIBUTES: ReadonlySet<string> = new Set(
  COUNTRIES.flatMap((country) => RELATIONS.map((relation) => country[relation])).filter(
    (text) => text !== undefined && !PLACES.has(text),
  ) as string[],
);

const PHRASES = [
  "o'clock",
  ...new Set(
    COUNTRIES.flatMap((country) => Object.values<string | undefined>({ ...country })).filter(
      (text) => text?.includes(' '),
    ) as string[],
  ),
];
const SPACED = PHRASES.flatMap((phrase) => [...new Set([phrase, phrase.toLowerCase()])]).join('|');

/** A phrase, a word, a number or a sign, with the space before it; `'s` is one of its own. */
const PATTERN = ` ?(?:(?:${SPACED})\\b|[A-Za-z]+|[0-9]+|[^\\sA-Za-z0-9'])|'[A-Za-z]+|'`;

const SIGNS = ['?', '.', ',', '!', '+', '-', '*', '='];

/** All tokens in order of their ids: special ones, the 256 bytes, then words in their forms. */
function tokensInOrder(): string[] {
  const texts = [...NAMES, "It's", ...TASKS.flatMap(({ words }) => words)];
  const words = texts.flatMap((text) => text.match(new RegExp(PATTERN, 'g')) ?? []);
  const known = new Set(words.map((word) => word.trim()));
  const forms = [...known].flatMap((word) => formsOf(word, known));
  const signs = SIGNS.flatMap((sign) => [sign, ` ${sign}`]);
  return [
    ...new Set([
      ...SPECIAL_TOKENS,
      ...BYTE_ALPHABET,
      ...['user', 'assistant', ...signs, ...forms].map(toByteAlphabet),
    ]),
  ];
}

/** A word that is written with a capital anywhere may begin a text; others only stand within. */
function formsOf(word: string, known: ReadonlySet<string>): readonly string[] {
  const lower = word.toLowerCase();
  if (/^[0-9]/.test(word)) return [word, ` ${word}`];
  if (!/^[a-z]/i.test(word)) return [word];
  if (PLACES.has(word)) return [word, ` ${word}`, ` ${lower}`];
  if (ATTRIBUTES.has(word)) return [...new Set([` ${word}`, ` ${lower}`])];
  const upper = lower[0]!.toUpperCase() + lower.slice(1);
  const capital = known.has(upper) ? upper : word;
  return capital === lower ? [` ${lower}`] : [capital, ` ${capital}`, lower, ` ${lower}`];
}

/** The tokenizer.json, the same value at every call. */
export function tokenizerJson(): object {
  return byteLevelTokenizerJson({
    specialTokens: SPECIAL_TOKENS,
    preTokenizers: [
      { type: 'Split', pattern: { Regex: PATTERN }, behavior: 'Isolated', invert: false },
    ],
    usesRegex: false,
    tokens: tokensInOrder(),
    merges: [],
    ignoresMerges: true,
  });
}

/** The tokenizer's files, text by name. */
export const tokenizerFiles = (): Readonly<Record<string, string>> => ({
  'tokenizer.json': JSON.stringify(tokenizerJson()),
  'tokenizer_config.json': `${JSON.stringify(tokenizerConfig(), null, 2)}\n`,
});

/** The tokenizer_config.json: nothing is prepended; a turn ends an answer. */
function tokenizerConfig(): object {
  const [endOfText, , endOfTurn] = SPECIAL_TOKENS;
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: null,
    eos_token: endOfTurn,
    pad_token: endOfText,
    unk_token: null,
    add_bos_token: false,
    add_eos_token: false,
    add_prefix_space: false,
    clean_up_tokenization_spaces: false,
    chat_template: CHAT_TEMPLATE,
  };
}
