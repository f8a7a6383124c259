import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ReasoningSplitter, isThinkingName, opensThinking, type SplitText } from './reasoning.js';

/** The rule itself, on a whole text. */
function splitWhole(text: string, isOpen: boolean): SplitText {
  const opening = (isOpen ? /^\s*(?:<think>\s*)*/ : /^\s*(?:<think>\s*)+/).exec(text);
  if (!opening) return { reasoning: '', answer: text };
  const rest = text.slice(opening[0].length);
  const end = rest.indexOf('</think>');
  if (end < 0) return { reasoning: rest.trimEnd(), answer: '' };
  const after = rest.slice(end + '</think>'.length);
  const answer = after.trim() === '' ? '' : after.replace(/^\s*\n/, '');
  return { reasoning: rest.slice(0, end).trimEnd(), answer };
}

function splitPieces(pieces: readonly string[], isOpen: boolean) {
  const splitter = new ReasoningSplitter(isOpen);
  const outcomes = [...pieces.map((piece) => splitter.push(piece)), splitter.flush()];
  return {
    reasoning: outcomes.map(({ reasoning }) => reasoning).join(''),
    answer: outcomes.map(({ answer }) => answer).join(''),
    outcomes,
  };
}

test.each<[what: string, text: string, isOpen: boolean, reasoning: string, answer: string]>([
  ['reasoning that the prompt opened', 'a b\n</think>\n\nc', true, 'a b', 'c'],
  ['reasoning that the model opens', '<think>\na\n</think>\n\n  c\n', false, 'a', '  c\n'],
  ['blanks before the tag', '\n <think>a</think>c', false, 'a', 'c'],
  ['reasoning opened by both', '<think>\n<think>a</think>c', true, 'a', 'c'],
  ['reasoning that is cut off', 'a b\n</thi', true, 'a b\n</thi', ''],
  ['reasoning cut off before its first word', '\n<thi', true, '<thi', ''],
  ['no reasoning at all', '</think>\n\nc', true, '', 'c'],
  ['no answer', 'a</think>\n\n', true, 'a', ''],
  ['a second end', 'a</think>b</think>c', true, 'a', 'b</think>c'],
  ['a second block', '<think>a</think>b<think>c</think>', false, 'a', 'b<think>c</think>'],
  ['a tag in the middle of an answer', 'b <think>c</think>', false, '', 'b <think>c</think>'],
  ['an end without a beginning', 'b</think>c', false, '', 'b</think>c'],
  ['what only looked like a tag', ' \n<thin', false, '', ' \n<thin'],
  ['nothing', '', false, '', ''],
])('%s is split by the rule', (_, text, isOpen, reasoning, answer) => {
  expect(splitPieces([text], isOpen)).toMatchObject({ reasoning, answer });
  expect(splitPieces(Array.from(text), isOpen)).toMatchObject({ reasoning, answer });
  expect(splitWhole(text, isOpen)).toEqual({ reasoning, answer });
});

const part = fc.oneof(
  fc.constantFrom('<think>', '</think>', '<', '</', 'think>', '>', '\n', ' ', '\n\n', 'word'),
  fc.string({ unit: 'grapheme', maxLength: 3 }),
);
const text = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(''));

test('reasoning and answer do not depend on the cuts into pieces', () => {
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });
  fc.assert(
    fc.property(text, cuts, fc.boolean(), (whole, fractions, isOpen) => {
      const places = fractions.map((fraction) => Math.round(fraction * whole.length));
      const ends = [...places.toSorted((a, b) => a - b), whole.length];
      const pieces = ends.map((end, index) => whole.slice(ends[index - 1] ?? 0, end));
      const { reasoning, answer, outcomes } = splitPieces(pieces, isOpen);
      expect({ reasoning, answer }).toEqual(splitWhole(whole, isOpen));
      const firstAnswer = outcomes.findIndex((outcome) => outcome.answer !== '');
      const later = firstAnswer < 0 ? [] : outcomes.slice(firstAnswer + 1);
      expect(later.every((outcome) => outcome.reasoning === '')).toBe(true);
    }),
    { seed: 31, numRuns: 2000 },
  );
});

test('the channel is that of the text to come, answer while it is open', () => {
  const splitter = new ReasoningSplitter(false);
  const channels = ['<thi', 'nk>', 'a', '</think', '>', 'b'].map((piece) => {
    splitter.push(piece);
    return splitter.channel;
  });
  expect(channels).toEqual(['answer', 'reasoning', 'reasoning', 'reasoning', 'answer', 'answer']);
});

test('a prompt opens thinking if it ends in the tag', () => {
  expect(
    ['a <think>', '<think>\n', '<think>\n\n </think>', '<think>a', ''].map(opensThinking),
  ).toEqual([true, true, false, false, false]);
});

test('a Thinking model is known by the last part of its name, in a hub cache by its entry', () => {
  const thinking = [
    'ByteDance/Ouro-1.4B-Thinking',
    './ouro-thinking-q4/',
    'C:\\models\\Ouro-2.6B-THINKING',
    '/cache/hub/models--ByteDance--Ouro-1.4B-Thinking/snapshots/3aaa2224',
  ];
  const other = ['ByteDance/Ouro-1.4B', 'thinking/models/ouro', '', '/'];
  expect(thinking.filter(isThinkingName)).toEqual(thinking);
  expect(other.filter(isThinkingName)).toEqual([]);
});
