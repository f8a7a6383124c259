/** Laws of reading JSONL: lines become documents in order, and a wrong line is named. */
import { describe, expect, test } from 'vitest';
import { FileError } from '../errors.js';
import { documentsFromJsonLines } from './jsonl.js';

const options = {
  path: 'train.jsonl',
  encode: (text: string) => Array.from(text, (letter) => letter.charCodeAt(0) - 97),
  endOfTextId: 26,
  vocabSize: 27,
};
const read = (...lines: string[]) => [...documentsFromJsonLines(lines, options)];

test('text predicts its next token and, at last, the end', () => {
  expect(read('{"text": "abd"}')).toEqual([{ ids: [0, 1, 3], targets: [1, 3, 26] }]);
});

test('ids and targets are taken as they are', () => {
  expect(read('{"ids": [3, 4], "targets": [-100, 26]}')).toEqual([
    { ids: [3, 4], targets: [-100, 26] },
  ]);
});

test('lines keep their order and empty ones are passed over', () => {
  const documents = read('{"text": "a"}', '', '{"text": "b"}', '  ');
  expect(documents.map(({ ids }) => ids)).toEqual([[0], [1]]);
});

describe('a wrong line is named with its number', () => {
  test.each([
    ['{"text": "a"', /not JSON/],
    ['[1, 2]', /got array of integers/],
    ['"abc"', /got string/],
    ['null', /got null/],
    ['{}', /got an empty object/],
    ['{"txt": "a"}', /got the fields txt \(string\)/],
    ['{"text": 3}', /text \(number\)/],
    ['{"text": "a", "label": 1}', /text \(string\), label \(number\)/],
    ['{"ids": [1]}', /ids \(array of integers\)/],
    ['{"ids": [1.5], "targets": [1]}', /ids \(array with other things\)/],
    ['{"text": ""}', /"text" is empty/],
    ['{"ids": [], "targets": []}', /"ids" is empty/],
    ['{"ids": [1, 2], "targets": [1]}', /2 ids and 1 targets/],
    ['{"ids": [27], "targets": [1]}', /token 0 of "ids" is 27; it must lie in 0\.\.26/],
    ['{"ids": [-100], "targets": [1]}', /token 0 of "ids" is -100/],
    ['{"ids": [1, 2], "targets": [1, -1]}', /token 1 of "targets" is -1; .* or -100/],
    ['{"text": "a|"}', /token 1 of "text" is 27/],
  ])('%s', (line, message) => {
    const act = () => read('{"text": "ok"}', '', line);
    expect(act).toThrow(FileError);
    expect(act).toThrow(/^train\.jsonl, line 3: /);
    expect(act).toThrow(message);
    expect(act).not.toThrow(/\n/);
  });
});
