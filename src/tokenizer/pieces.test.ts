/** Tokenizers in the manner of SentencePiece, against what the Rust library makes of the same files. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UnsupportedError } from '../errors.js';
import { Tokenizer } from './tokenizer.js';

const fixture = (name: string): unknown =>
  JSON.parse(
    readFileSync(new URL(`../../test/fixtures/tokenizer-pieces/${name}`, import.meta.url), 'utf8'),
  );

interface Variant {
  readonly edit: object;
  readonly cases: readonly { readonly text: string; ids: number[]; readonly decoded: string }[];
}

const json = fixture('tokenizer.json') as { decoder: object; model: object };
const variants = Object.entries(fixture('cases.json') as Record<string, Variant>);

describe.each(variants)('spaces by %s', (_, { edit, cases }) => {
  const tokenizer = Tokenizer.fromJson({ ...json, ...edit });

  it.each(cases)('the reference ids come out: $text', ({ text, ids }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
  });

  it.each(cases)('the ids give the reference text, and the space before it: $text', (one) => {
    const text = tokenizer.decode(one.ids);
    expect(text.startsWith(' ') ? text.slice(1) : text).toBe(one.decoded);
  });

  it('any text comes back, token by token as at once', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (text) => {
        if (/\p{Surrogate}/u.test(text) || text.includes('\u2581')) return;
        const ids = tokenizer.encode(text);
        const stream = tokenizer.decodeStream();
        const pieces = ids.map((id) => stream.push(id));
        const whole = pieces.join('') + stream.flush();
        expect(tokenizer.decode(ids)).toBe(whole);
        expect([text, ` ${text}`]).toContain(whole);
      }),
      { seed: 3 },
    );
  });
});

describe('what such a tokenizer must have', () => {
  it.each<[string, object]>([
    ['no fallback to bytes', { model: { ...json.model, byte_fallback: false } }],
    ['a decoder without bytes', { decoder: { type: 'Metaspace', replacement: '\u2581' } }],
    ['another model', { model: { ...json.model, type: 'Unigram' } }],
  ])('%s is refused with the kinds that are read', (_, edit) => {
    const read = () => Tokenizer.fromJson({ ...json, ...edit });
    expect(read).toThrow(UnsupportedError);
    expect(read).toThrow(/looplm reads BPE with decoder ByteLevel, or with byte_fallback/);
  });
});
