/** Words that are remembered change no id: every text is encoded as the package encodes it as a whole. */
import { readFileSync } from 'node:fs';
import { Tokenizer as PackageTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { syntheticTokenizerFiles } from './synthetic.js';
import { parseTokenizerJson } from './tokenizer-json.js';
import { Tokenizer } from './tokenizer.js';
import { encodesWords } from './word-cache.js';

const fixture = (name: string) =>
  JSON.parse(
    readFileSync(new URL(`../../test/fixtures/${name}/tokenizer.json`, import.meta.url), 'utf8'),
  ) as Record<string, object>;
const smol = fixture('tokenizer');
const synthetic = JSON.parse(syntheticTokenizerFiles(900)['tokenizer.json']!) as typeof smol;

const Package = PackageTokenizer as unknown as new (
  json: object,
  config: object,
) => { encode(text: string, options: object): { ids: number[] } };

const anyText = fc
  .array(
    fc.oneof(
      fc.constantFrom(' ', '  ', '\n', '\r\n', '\t', '\u0085', '\ufeff', '\u00a0', '\u3000'),
      fc.constantFrom(
        "it's",
        '12',
        '½²',
        '!',
        '<|im_end|>',
        '<|im',
        'größer',
        '漢字',
        '😀',
        'e\u0301',
      ),
      fc.string(),
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join('').replace(/\p{Surrogate}/gu, ''));

describe.each([
  ['SmolLM2', smol],
  ['synthetic', synthetic],
])('%s', (_, json) => {
  test('any text', () => {
    const parsed = parseTokenizerJson(json);
    expect(encodesWords(parsed)).toBe(true);
    const tokenizer = Tokenizer.fromJson(json);
    const whole = new Package(parsed, {});
    fc.assert(
      fc.property(anyText, (text) => {
        const { ids } = whole.encode(text, { add_special_tokens: false });
        fc.pre(ids.every((id) => id !== undefined));
        expect(tokenizer.encode(text)).toEqual(text === '' ? [] : ids);
      }),
      { seed: 20261129, numRuns: 2000 },
    );
  });
});

test('more words than are kept', () => {
  const tokenizer = Tokenizer.fromJson(synthetic);
  const text = Array.from({ length: 70_000 }, (_, index) => `${index}x`).join(' ');
  expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
});

test('is left out where a token may go on over white space', () => {
  const changed = (change: object) => encodesWords(parseTokenizerJson({ ...smol, ...change }));
  const pieces = fixture('tokenizer-pieces');
  expect(encodesWords(parseTokenizerJson(pieces))).toBe(false);
  expect(changed({ normalizer: { type: 'NFC' } })).toBe(false);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };
  expect(changed({ pre_tokenizer: byteLevel })).toBe(false);
  expect(changed({ pre_tokenizer: { ...byteLevel, use_regex: true } })).toBe(true);
  expect(
    changed({ pre_tokenizer: { ...byteLevel, use_regex: true, add_prefix_space: true } }),
  ).toBe(false);
  const split = { type: 'Split', pattern: { Regex: '\\w+ ?' }, behavior: 'Isolated' };
  expect(
    changed({
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [split, { ...byteLevel, use_regex: true }],
      },
    }),
  ).toBe(false);
  const token = { id: 0, content: '<|endoftext|>', special: true };
  expect(changed({ added_tokens: [{ ...token, lstrip: true }] })).toBe(false);
  expect(changed({ added_tokens: [{ ...token, content: 'a b' }] })).toBe(false);
});
