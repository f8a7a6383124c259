/** Laws of the text of one sequence, with the tokenizer of the released models and made-up tokens. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FinishReason } from '../engine/index.js';
import { Tokenizer } from '../tokenizer/index.js';
import type { TextEvent, TextFinishEvent, TextTokenEvent } from './sequence-text.js';
import { SequenceText } from './sequence-text.js';

const path = new URL('../../test/fixtures/tokenizer/tokenizer.json', import.meta.url);
const json = JSON.parse(readFileSync(path, 'utf8')) as { added_tokens: object[] };
const smol = Tokenizer.fromJson(json);
const TURN_END = smol.tokenToId('<|im_end|>')!;

interface Options {
  readonly tokenizer?: Tokenizer;
  readonly stopStrings?: readonly string[];
  readonly thinking?: boolean;
  readonly finishReason?: FinishReason;
}

/** The events of a model that gives these tokens. */
function eventsOf(tokenIds: readonly number[], options: Options = {}): TextEvent[] {
  const { tokenizer = smol, stopStrings = [], finishReason = 'max-new-tokens' } = options;
  const stop = { stopIds: [TURN_END], stopStrings };
  const { thinking } = options;
  const text = new SequenceText(tokenizer, {
    ...stop,
    ...(thinking !== undefined && { thinking }),
  });
  const tokens = tokenIds.map((tokenId, tokenIndex) => {
    const [requestIndex, exitDepth, logprob] = [0, 1, -1];
    const drawn = { requestIndex, tokenIndex, tokenId, sampledId: tokenId, exitDepth, logprob };
    return text.take({ kind: 'token', ...drawn });
  });
  const loops = { executedLoops: 1, fullDepthLoops: 1 };
  const drafts = { draftedTokens: 0, acceptedTokens: 0 };
  const counts = { ...loops, numPromptTokens: 5, cachedTokens: 0, ...drafts, weightsVersion: 0 };
  const finish = text.take({ kind: 'finish', requestIndex: 0, finishReason, ...counts });
  return [...tokens, finish].filter((event) => event !== undefined);
}

/** Text of each channel, from the events up to the end and from the finish event. */
function readingOf(events: readonly TextEvent[]) {
  const finish = events.at(-1) as TextFinishEvent;
  const tokens = events.slice(0, -1) as TextTokenEvent[];
  const piecesOf = (channel: string) =>
    tokens.map((event) => (event.channel === channel ? event.text : '')).join('');
  const shown = {
    reasoning: piecesOf('reasoning') + finish.lastReasoning,
    answer: piecesOf('answer') + finish.lastPiece,
  };
  return { finish, shown, channels: tokens.map(({ channel }) => channel) };
}

test('tags of calls stay in a text whose channels are told apart, also where they are special tokens', () => {
  const special = { special: true, normalized: false };
  const added = ['<tool_call>', '</tool_call>'].map((content, index) => {
    return { id: smol.vocabSize + index, content, ...special };
  });
  const tokenizer = Tokenizer.fromJson({ ...json, added_tokens: [...json.added_tokens, ...added] });
  const ids = tokenizer.encode('<tool_call>{}</tool_call>');
  expect(ids).toContain(smol.vocabSize);
  const { finish } = readingOf(eventsOf([...ids, TURN_END], { tokenizer, thinking: false }));
  expect(finish.answer).toBe('<tool_call>{}</tool_call>');
});

test('an end of reasoning that is spread over tokens parts the text', () => {
  const ids = smol.encode('First,\nadd 2.\n</think>\n\nIt is 5.');
  const { finish, shown, channels } = readingOf(eventsOf([...ids, TURN_END], { thinking: true }));
  expect(smol.encode('</think>').length).toBeGreaterThan(1);
  expect(shown).toEqual({ reasoning: 'First,\nadd 2.', answer: 'It is 5.' });
  expect(finish).toMatchObject(shown);
  expect(finish.text).toBe('First,\nadd 2.\n</think>\n\nIt is 5.');
  expect(channels.lastIndexOf('reasoning')).toBeLessThan(channels.indexOf('answer'));
});

test('reasoning that is cut off is all reasoning, and the finish says why', () => {
  const ids = smol.encode('add 2 </thi');
  const cut = readingOf(eventsOf(ids, { thinking: true, finishReason: 'max-new-tokens' }));
  expect(cut.shown).toEqual({ reasoning: 'add 2 </thi', answer: '' });
  expect(cut.finish).toMatchObject({ ...cut.shown, finishReason: 'max-new-tokens' });
});

test('without splitting the text passes through unchanged as answer', () => {
  const text = '<think>\na</think>\n\n b\n';
  const events = eventsOf(smol.encode(text));
  const { finish, shown, channels } = readingOf(events);
  expect(shown).toEqual({ reasoning: '', answer: text });
  expect(finish).toMatchObject({ text, reasoning: '', answer: text });
  expect(new Set(channels)).toEqual(new Set(['answer']));
});

test('tags that are special tokens part the text, though special tokens are not shown', () => {
  const special = ['<think>', '</think>'].map((content, index) => ({
    id: smol.vocabSize + index,
    content,
    special: true,
  }));
  const tokenizer = Tokenizer.fromJson({
    ...json,
    added_tokens: [...json.added_tokens, ...special],
  });
  const ids = tokenizer.encode('<think>a</think><|im_start|>b');
  expect(ids).toHaveLength(5);
  const split = readingOf(eventsOf(ids, { tokenizer, thinking: false }));
  expect(split.finish).toMatchObject({ reasoning: 'a', answer: 'b', text: '<think>a</think>b' });
  expect(readingOf(eventsOf(ids, { tokenizer })).finish.text).toBe('ab');
});

test('a stop string ends the text within reasoning, too', () => {
  const ids = smol.encode('one two three</think>four');
  const { finish, shown } = readingOf(eventsOf(ids, { thinking: true, stopStrings: [' three'] }));
  expect(shown).toEqual({ reasoning: 'one two', answer: '' });
  expect(finish).toMatchObject({ ...shown, text: 'one two', finishReason: 'stop-string' });
});

test('the pieces of each channel add up to its text, whatever the tokens and stop strings', () => {
  const part = fc.constantFrom(
    '<think>',
    '</think>',
    '<',
    '/th',
    'ink>',
    '\n',
    ' ',
    'a',
    'é',
    '🙂',
  );
  const text = fc.array(part, { maxLength: 10 }).map((parts) => parts.join(''));
  const stop = fc.constantFrom([], ['a\n'], ['k>a'], ['</think>a<']);
  fc.assert(
    fc.property(
      text,
      stop,
      fc.boolean(),
      fc.boolean(),
      (whole, stopStrings, thinking, bytewise) => {
        const bytes = [...new TextEncoder().encode(whole)];
        const ids = bytewise ? bytes.map(byteId) : smol.encode(whole);
        const together = readingOf(eventsOf(ids, { stopStrings, thinking }));
        const { reasoning, answer, text: raw } = together.finish;
        expect(together.shown).toEqual({ reasoning, answer });
        const other = readingOf(eventsOf(smol.encode(whole), { stopStrings, thinking })).finish;
        expect({ reasoning, answer, raw }).toEqual({
          reasoning: other.reasoning,
          answer: other.answer,
          raw: other.text,
        });
      },
    ),
    { seed: 17, numRuns: 500 },
  );
});

/** Id of the token that is one byte. */
function byteId(byte: number): number {
  const id = BYTE_IDS.get(byte);
  if (id === undefined) throw new Error(`no token for byte ${byte}`);
  return id;
}

const BYTE_IDS = new Map(
  Array.from({ length: 252 }, (_, id) => [smol.tokenBytes(id), id] as const)
    .filter(([bytes]) => bytes.length === 1)
    .map(([bytes, id]) => [bytes[0]!, id]),
);
