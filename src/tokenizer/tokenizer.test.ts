import { readFileSync } from 'node:fs';
import { Tokenizer as PackageTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError, RequestError, UnsupportedError } from '../errors.js';
import { BYTE_ALPHABET } from './byte-alphabet.js';
import { Tokenizer } from './tokenizer.js';

const fixture = (name: string): unknown =>
  JSON.parse(
    readFileSync(new URL(`../../test/fixtures/tokenizer/${name}`, import.meta.url), 'utf8'),
  );
const smolJson = fixture('tokenizer.json');
const smol = Tokenizer.fromJson(smolJson);
const cases = fixture('cases.json') as { text: string; ids: number[] }[];
const SEED = { seed: 20261124, numRuns: 400 };

/** Bytes that the fixture's README lists as having no token. */
const MISSING_BYTES = new Set(
  ['04 06 13 14 16 1d c0 c1 f1 f2', 'f5 f6 f7 f8 f9 fa fb fc fd fe ff']
    .flatMap((line) => line.split(' '))
    .map((hex) => Number.parseInt(hex, 16)),
);
const canEncode = (text: string) =>
  !new TextEncoder().encode(text).some((byte) => MISSING_BYTES.has(byte));

const words = fc.constantFrom('<|im_end|>', ' the', '1', '٣', '½', '\u0085', '\uFEFF', '👍🏽', "'s");
const unicodeText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.array(words).map((list) => list.join('')),
);
const smolIds = fc.array(fc.nat({ max: smol.vocabSize - 1 }));

type Decoder = { decode(ids: number[], options: { [name: string]: boolean }): string };

/** A byte-level tokenizer with the 256 bytes as ids 0..255 and the given changes. */
const byteJson = (changes: { readonly [key: string]: unknown } = {}) => ({
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  added_tokens: [],
  model: { type: 'BPE', vocab: byteVocab(), merges: [] },
  ...changes,
});
const byteVocab = () => Object.fromEntries(BYTE_ALPHABET.map((char, byte) => [char, byte]));

describe('encoding', () => {
  test.each(cases)('the reference ids come out: $text', ({ text, ids }) => {
    expect(smol.encode(text)).toEqual(ids);
    expect(smol.decode(ids)).toBe(text);
  });

  test('every character of Unicode category N is split from its neighbours', () => {
    const x = smol.encode('x');
    const numbers = Array.from({ length: 0x110000 }, (_, code) =>
      String.fromCodePoint(code),
    ).filter((char) => /\p{N}/u.test(char));
    const joined = numbers.filter((char) => {
      const alone = smol.encode(char);
      const together = smol.encode(`x${char}${char}x`);
      return together.join() !== [...x, ...alone, ...alone, ...x].join();
    });
    expect(numbers.length).toBeGreaterThan(1000);
    expect(joined).toEqual([]);
  });

  test('a byte order mark is no white space, and a next-line control is', () => {
    const merges = [`${BYTE_ALPHABET[0x20]} ${BYTE_ALPHABET[0xef]}`];
    const vocab = { ...byteVocab(), [`${BYTE_ALPHABET[0x20]}${BYTE_ALPHABET[0xef]}`]: 256 };
    const tokenizer = Tokenizer.fromJson(byteJson({ model: { type: 'BPE', vocab, merges } }));
    expect(tokenizer.encode(' \uFEFF')).toEqual([256, 0xbb, 0xbf]);
    expect(tokenizer.encode(' \u0085\uFEFF')).toEqual([0x20, 0xc2, 0x85, 0xef, 0xbb, 0xbf]);
  });

  test('any Unicode text survives byte for byte, or holds a byte without a token and is refused', () => {
    fc.assert(
      fc.property(unicodeText, (text) => {
        if (canEncode(text)) expect(smol.decode(smol.encode(text))).toBe(text);
        else expect(() => smol.encode(text)).toThrow(RequestError);
      }),
      SEED,
    );
  });

  test('unencodable characters become U+FFFD on request and the rest survives', () => {
    const text = 'a\u0004b \u{50000}c';
    const ids = smol.encode(text, { unencodable: 'replace' });
    expect(smol.decode(ids)).toBe('a\uFFFDb \uFFFDc');
    expect(() => smol.encode(text)).toThrow(/U\+0004, U\+50000/);
  });

  test('a character is refused when U+FFFD has no tokens to replace it', () => {
    const json = byteJson({ model: { type: 'BPE', vocab: { a: 0 }, merges: [] } });
    const encode = () => Tokenizer.fromJson(json).encode('a\uFFFD', { unencodable: 'replace' });
    expect(encode).toThrow(RequestError);
    const other = () => Tokenizer.fromJson(json).encode('ab', { unencodable: 'replace' });
    expect(other).toThrow(RequestError);
  });

  test('an unknown token of the file never stands in for text', () => {
    const model = { type: 'BPE', vocab: { a: 0 }, merges: [], unk_token: 'a' };
    expect(() => Tokenizer.fromJson(byteJson({ model })).encode('ab')).toThrow(/U\+0062/);
  });

  test('half of a surrogate pair is refused', () => {
    expect(() => smol.encode('ab\ud83d')).toThrow(/index 2/);
    expect(() => smol.encode('\ude00')).toThrow(RequestError);
  });

  test('tokens of the post-processor are added on request only', () => {
    const json = byteJson({
      added_tokens: [{ id: 256, content: '<s>', special: true }],
      post_processor: {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: '<s>', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
        ],
        pair: [],
        special_tokens: { '<s>': { id: '<s>', ids: [256], tokens: ['<s>'] } },
      },
    });
    const tokenizer = Tokenizer.fromJson(json);
    expect(tokenizer.encode('a')).toEqual([97]);
    expect(tokenizer.encode('a', { addSpecialTokens: true })).toEqual([256, 97]);
    expect(tokenizer.encode('', { addSpecialTokens: true })).toEqual([256]);
  });
});

describe('decoding', () => {
  test('any ids decode as the tokenizers package decodes them', () => {
    const reference = new PackageTokenizer(smolJson, {}) as Decoder;
    const settings = { clean_up_tokenization_spaces: false };
    fc.assert(
      fc.property(smolIds, fc.boolean(), (ids, skipSpecialTokens) => {
        fc.pre(ids.length > 0);
        const expected = reference.decode(ids, {
          ...settings,
          skip_special_tokens: skipSpecialTokens,
        });
        expect(smol.decode(ids, { skipSpecialTokens })).toBe(expected);
      }),
      SEED,
    );
  });

  test('the pieces of a stream add up to the decoding of all ids', () => {
    fc.assert(
      fc.property(smolIds, fc.boolean(), (ids, skipSpecialTokens) => {
        const stream = smol.decodeStream({ skipSpecialTokens });
        const pieces = ids.map((id) => stream.push(id));
        expect(pieces.join('') + stream.flush()).toBe(smol.decode(ids, { skipSpecialTokens }));
      }),
      SEED,
    );
  });

  test('a stream of well-formed text never shows a replacement character or half a pair', () => {
    fc.assert(
      fc.property(unicodeText, (text) => {
        fc.pre(canEncode(text) && !text.includes('\uFFFD'));
        const stream = smol.decodeStream();
        const pieces = [...smol.encode(text).map((id) => stream.push(id)), stream.flush()];
        for (const piece of pieces) expect(piece).not.toMatch(/\uFFFD|\p{Surrogate}/u);
        expect(pieces.join('')).toBe(text);
      }),
      SEED,
    );
  });

  test('bytes of a character wait for the last one, and a cut character ends as U+FFFD', () => {
    const stream = Tokenizer.fromJson(byteJson()).decodeStream();
    expect([0xf0, 0x9f, 0x98, 0x80].map((byte) => stream.push(byte))).toEqual(['', '', '', '😀']);
    expect([0xe2, 0x82].map((byte) => stream.push(byte))).toEqual(['', '']);
    expect(stream.flush()).toBe('\uFFFD');
    expect(stream.push(0x41) + stream.flush()).toBe('A');
  });

  test('special tokens are kept unless they are skipped, and those named even then', () => {
    const ids = smol.encode('<|im_start|>user<|im_end|>');
    expect(smol.decode(ids)).toBe('<|im_start|>user<|im_end|>');
    expect(smol.decode(ids, { skipSpecialTokens: true })).toBe('user');
    const keepTokens = ['<|im_end|>', 'no token'];
    expect(smol.decode(ids, { skipSpecialTokens: true, keepTokens })).toBe('user<|im_end|>');
  });

  test.each([-1, 49152, 1.5, Number.NaN])('the id %s outside the vocabulary is refused', (id) => {
    expect(() => smol.decode([id])).toThrow(RequestError);
    expect(() => smol.decodeStream().push(id)).toThrow(/0 to 49151/);
  });
});

test('tokens, ids, bytes and special tokens can be looked up', () => {
  expect(smol.vocabSize).toBe(49152);
  expect(smol.specialTokens.size).toBe(17);
  expect(smol.specialTokens.get('<|im_end|>')).toBe(2);
  expect(smol.tokenToId('Hello')).toBe(19556);
  expect(smol.idToToken(504)).toBe('The');
  expect(smol.idToToken(3575)).toBe('Ġcapital');
  expect(smol.tokenBytes(216)).toEqual(Uint8Array.of(0x20));
  expect(smol.tokenToId('no such token')).toBeUndefined();
  expect(smol.idToToken(-1)).toBeUndefined();
});

describe('a tokenizer.json is refused', () => {
  const model = byteJson().model;
  test.each([
    ['no object', null, /value/],
    ['no model', { decoder: { type: 'ByteLevel' } }, /model/],
    ['no vocabulary', byteJson({ model: { type: 'BPE', merges: [] } }), /model\.vocab/],
    [
      'an id that is no count',
      byteJson({ model: { ...model, vocab: { a: -1 } } }),
      /model\.vocab\.a/,
    ],
    ['a merge of one part', byteJson({ model: { ...model, merges: [['a']] } }), /merges\.0/],
    ['two tokens of one id', byteJson({ model: { ...model, vocab: { a: 0, b: 0 } } }), /id 0/],
    ['an unnamed added token', byteJson({ added_tokens: [{ id: 256 }] }), /added_tokens\.0/],
    ['an added token on a used id', byteJson({ added_tokens: [{ id: 0, content: 'x' }] }), /id 0/],
    ['an unknown pre-tokenizer', byteJson({ pre_tokenizer: { type: 'Nope' } }), /Nope/],
    ['an empty Sequence', byteJson({ pre_tokenizer: { type: 'Sequence' } }), /pretokenizers/],
  ])('with %s, naming the place', (_, json, message) => {
    expect(() => Tokenizer.fromJson(json)).toThrow(ConfigError);
    expect(() => Tokenizer.fromJson(json)).toThrow(message);
  });

  test.each([
    ['another model', byteJson({ model: { type: 'Unigram', vocab: [] } }), /Unigram/],
    ['another decoder', byteJson({ decoder: { type: 'Metaspace' } }), /Metaspace/],
    ['no decoder', byteJson({ decoder: null }), /null/],
    [
      'a way to split that is not available',
      byteJson({
        pre_tokenizer: { type: 'Split', pattern: { Regex: 'a' }, behavior: 'MergedWithNext' },
      }),
      /MergedWithNext/,
    ],
  ])('as unsupported with %s', (_, json, message) => {
    expect(() => Tokenizer.fromJson(json)).toThrow(UnsupportedError);
    expect(() => Tokenizer.fromJson(json)).toThrow(message);
  });
});
