import { Tokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bundledTokenizerConfig, bundledTokenizerJson } from './tokenizer.js';

const tokenizer = new Tokenizer(bundledTokenizerJson(), bundledTokenizerConfig());
const pieces = (text: string) =>
  tokenizer.tokenize(text).map((token: string) => token.replace('Ġ', ' '));
const roundTrip = (text: string) => {
  const { ids } = tokenizer.encode(text);
  return ids.length === 0 ? '' : tokenizer.decode(ids, { clean_up_tokenization_spaces: false });
};

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
  expect(pieces('ann likes bob; bob likes eve; from bob; next; next;')).toEqual([
    'ann',
    ' likes',
    ' bob;',
    ' bob',
    ' likes',
    ' eve;',
    ' from',
    ' bob;',
    ' next;',
    ' next;',
  ]);
});

test('an answer is one token with its leading space, followed by the stop token', () => {
  expect(pieces('minus 2; 4<|endoftext|>')).toEqual(['minus', ' 2;', ' 4', '<|endoftext|>']);
  expect(pieces('next; cat<|endoftext|>')).toEqual(['next;', ' cat', '<|endoftext|>']);
});

test('special tokens have the ids 0, 1 and 2', () => {
  expect(tokenizer.encode('<|endoftext|><|im_start|><|im_end|>').ids).toEqual([0, 1, 2]);
});

test('the four forms of a digit are four different tokens', () => {
  const ids = ['3', ' 3', '3;', ' 3;'].map((text) => tokenizer.encode(text).ids);
  expect(ids.map((form) => form.length)).toEqual([1, 1, 1, 1]);
  expect(new Set(ids.flat()).size).toBe(4);
});

test('a word that the language lacks falls back to its bytes', () => {
  expect(pieces(' annual 12;')).toEqual([' ', 'a', 'n', 'n', 'u', 'a', 'l', ' 1', '2;']);
});

test('ids are the numbers below the vocabulary size, at most 400', () => {
  const { vocab } = (bundledTokenizerJson() as { model: { vocab: Record<string, number> } }).model;
  const ids = Object.values(vocab).sort((a, b) => a - b);
  expect(ids).toEqual(ids.map((_, index) => index));
  expect(ids.length).toBeLessThanOrEqual(400);
});

test('any Unicode text survives encoding and decoding', () => {
  const word = fc.constantFrom('cup', ' 3;', ' swap', 'next;', ';', ' ', '\n', 'é', '😀', '\u0004');
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(word).map((words) => words.join('')),
  );
  fc.assert(
    fc.property(text, (value) => roundTrip(value) === value),
    { seed: 20261124, numRuns: 500 },
  );
});
