import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ToolCall } from './tool-calls.js';
import { ToolCallSplitter } from './tool-calls.js';

/** Everything a splitter makes of a text that comes in pieces. */
function streamed(pieces: readonly string[]) {
  const splitter = new ToolCallSplitter();
  let text = '';
  const calls: ToolCall[] = [];
  for (const piece of pieces) {
    const split = splitter.push(piece);
    text += split.text;
    calls.push(...split.calls);
  }
  return { text: text + splitter.flush(), calls };
}

/** The same by definition, of the whole text. */
function parted(whole: string) {
  const calls: ToolCall[] = [];
  const segments = [''];
  let end = 0;
  for (const match of whole.matchAll(/<tool_call>(.*?)<\/tool_call>/gs)) {
    const call = jsonOf(match[1]!) as { name?: unknown; arguments?: unknown } | undefined;
    segments[segments.length - 1] += whole.slice(end, match.index);
    end = match.index + match[0].length;
    if (typeof call?.name === 'string' && typeof call.arguments === 'object') {
      calls.push({ name: call.name, arguments: JSON.stringify(call.arguments) });
      segments.push('');
    } else {
      segments[segments.length - 1] += match[0];
    }
  }
  segments[segments.length - 1] += whole.slice(end);
  const text = segments.map((segment, index) => {
    const start = index > 0 ? segment.trimStart() : segment;
    return index < segments.length - 1 ? start.trimEnd() : start;
  });
  return { text: text.join(''), calls };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const parts = fc.constantFrom(
  '<tool_call>',
  '</tool_call>',
  '<tool_call>{"name": "add", "arguments": {"a": 1, "b": [2, "</x>"]}}</tool_call>',
  '\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n',
  '<tool_call>{"name": 5}</tool_call>',
  '<tool',
  '_call>',
  '</',
  '{"name": "x", "arguments": {}}',
  ' ',
  '\n',
  'a',
  '🙂',
);
const texts = fc.array(parts, { maxLength: 9 }).map((some) => some.join(''));

/** A text cut at some of its places. */
const cutTexts = fc.tuple(texts, fc.array(fc.nat(), { maxLength: 12 })).map(([text, cuts]) => {
  const places = [0, ...cuts.map((cut) => cut % (text.length + 1)), text.length];
  places.sort((a, b) => a - b);
  return places.slice(1).map((place, index) => text.slice(places[index], place));
});

describe('calls of tools in streamed text', () => {
  test('any chunking gives the calls and the text of the whole', () => {
    fc.assert(
      fc.property(cutTexts, (pieces) => {
        expect(streamed(pieces)).toEqual(parted(pieces.join('')));
      }),
      { seed: 61, numRuns: 5000 },
    );
  });

  test('a text without a call is passed on as it is', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 6 }), { maxLength: 9 }), (pieces) => {
        expect(streamed(pieces)).toEqual({ text: pieces.join(''), calls: [] });
      }),
      { seed: 62, numRuns: 500 },
    );
  });

  test('a call is given as soon as it is whole, and text before it at once', () => {
    const splitter = new ToolCallSplitter();
    expect(splitter.push('I look. <tool_call>{"name": "now"')).toEqual({
      text: 'I look.',
      calls: [],
    });
    expect(splitter.push(', "arguments": {}}</tool_call>')).toEqual({
      text: '',
      calls: [{ name: 'now', arguments: '{}' }],
    });
    expect(splitter.push(' Done')).toEqual({ text: 'Done', calls: [] });
    expect(splitter.flush()).toBe('');
  });

  test('a call that is cut off is text', () => {
    const text = 'so <tool_call>{"name": "now", "argu';
    expect(streamed([text])).toEqual({ text, calls: [] });
  });
});
