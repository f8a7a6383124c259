import { expect, test } from 'vitest';
import { printable } from '../util/quote.js';
import { messageLine } from './messages.js';

test('what a terminal obeys is shown instead of sent', () => {
  expect(printable('a\u001b[2J\u0007\u009b1m\u202eb\u2066\ud800')).toBe(
    'a\\x1b[2J\\x07\\x9b1m\\u202eb\\u2066\\ud800',
  );
  expect(printable('ünï 漢字 💥 {"a": 1}')).toBe('ünï 漢字 💥 {"a": 1}');
});

test('a message is one line, and a long one keeps its beginning and its end', () => {
  expect(messageLine(' a\n  b\r\nc\td ')).toBe('a b c\\x09d');
  const line = messageLine(`begin ${'x'.repeat(100_000)} end`);
  expect(line).toMatch(/^begin x+ \.\.\. x+ end$/);
  expect(line.length).toBeLessThan(2100);
});
