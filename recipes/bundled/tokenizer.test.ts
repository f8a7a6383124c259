import fc from 'fast-check';
import { BYTE_ALPHABET, Tokenizer } from 'looplm/tokenizer';
import { expect, test } from 'vitest';
import { bundledTokenizerConfig, bundledTokenizerJson } from './tokenizer.js';

const tokenizer = Tokenizer.fromJson(bundledTokenizerJson());
const pieces = (text: string) => tokenizer.encode(text).map((id) => tokenizer.decode([id]));

test('every word of a problem is one token together with its space and semicolon', () => {
  expect(pieces('cup 3; swap 1 3; swap 2 5;')).toEqual([
    'cup',
    ' 3;',
    ' swap',
    ' 1',
    ' 3;',
    ' swap',
    ' 2',
    ' 5;',
  ]);
  expect(pieces('take 4; plus 7; times 3; minus 2;')).toEqual([
    'take',
    ' 4;',
    ' plus',
    ' 7;',
    ' times',
    ' 3;',
    ' minus',
    ' 2;',
  ]);
});

test('an answer is one token with its leading space, followed by the stop token', () => {
  expect(pieces('minus 2; 4<|endoftext|>')).toEqual(['minus', ' 2;', ' 4', '<|endoftext|>']);
});

test('special tokens have the ids 0, 1 and 2', () => {
  expect(tokenizer.encode('<|endoftext|><|im_start|><|im_end|>')).toEqual([0, 1, 2]);
});

test('the four forms of a digit are four different tokens', () => {
  const ids = ['3', ' 3', '3;', ' 3;'].map((text) => tokenizer.encode(text));
  expect(ids.map((form) => form.length)).toEqual([1, 1, 1, 1]);
  expect(new Set(ids.flat()).size).toBe(4);
});

test('a word that the language lacks falls back to its bytes', () => {
  expect(pieces(' cups 12;')).toEqual([' ', 'c', 'u', 'p', 's', ' 1', '2;']);
});

test('every id below the vocabulary size has a token, at most 400 in all', () => {
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
  expect(ids.filter((id) => tokenizer.idToToken(id) === undefined)).toEqual([]);
  expect(tokenizer.vocabSize).toBeLessThanOrEqual(400);
});

test('each of the 256 bytes has a token of its own', () => {
  const bytes = BYTE_ALPHABET.map((char) => tokenizer.tokenBytes(tokenizer.tokenToId(char) ?? -1));
  expect(bytes).toEqual(Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)));
});

test('the config names the stop token and adds nothing to a text', () => {
  expect(bundledTokenizerConfig()).toMatchObject({
    eos_token: '<|endoftext|>',
    add_bos_token: false,
    add_eos_token: false,
  });
});

test('any Unicode text survives encoding and decoding', () => {
  const word = fc.constantFrom(
    'cup',
    ' 3;',
    ' swap',
    'minus;',
    ';',
    ' ',
    '\n',
    'é',
    '😀',
    '\u0004',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(word).map((words) => words.join('')),
  );
  fc.assert(
    fc.property(text, (value) => tokenizer.decode(tokenizer.encode(value)) === value),
    { seed: 20261124, numRuns: 500 },
  );
});
