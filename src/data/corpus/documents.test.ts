/** Parts of a file give all its texts, each once, wherever it is cut; what is wrong is named. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FileError } from '../../errors.js';
import { memorySource } from '../../util/folder.js';
import type { CorpusFormat, CorpusText } from './documents.js';
import { corpusTexts } from './documents.js';

const SEED = { seed: 20261129 };
const OPTIONS = { field: 'text' };
const utf8 = (text: string) => new TextEncoder().encode(text);

async function textsOf(
  bytes: Uint8Array,
  format: CorpusFormat,
  { cuts = [], separator }: { cuts?: readonly number[]; separator?: string } = {},
): Promise<CorpusText[]> {
  const places = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
  const found: CorpusText[] = [];
  for (const [index, end] of places.slice(1).entries()) {
    const part = { start: places[index]!, end };
    const options = { ...OPTIONS, separator };
    for await (const text of corpusTexts(memorySource('a.txt', bytes), format, part, options)) {
      found.push(text);
    }
  }
  return found;
}

const anyText = fc
  .array(fc.oneof(fc.constantFrom('\n', '\n\n', ' ', '<|end|>', '<', '😀é'), fc.string()), {
    maxLength: 30,
  })
  .map((parts) => parts.join('').replace(/\p{Surrogate}/gu, ''));
const cutsOf = fc.array(fc.nat(), { maxLength: 6 });
const within = (cuts: readonly number[], bytes: Uint8Array) =>
  cuts.map((cut) => cut % (bytes.length + 1));

test('lines of JSON: all texts in order, wherever the file is cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyText, { maxLength: 8 }), cutsOf, async (texts, cuts) => {
      const lines = texts.map((text) => `${JSON.stringify({ text, other: 1 })}\n`);
      const bytes = utf8(lines.join('\n'));
      const found = await textsOf(bytes, 'jsonl', { cuts: within(cuts, bytes) });
      expect(found).toEqual(texts.map((text) => ({ text, endsDocument: true })));
    }),
    SEED,
  );
});

test('plain text: blocks joined are the text, and the last one alone ends the document', async () => {
  await fc.assert(
    fc.asyncProperty(anyText, cutsOf, async (text, cuts) => {
      const bytes = utf8(text);
      const found = await textsOf(bytes, 'text', { cuts: within(cuts, bytes) });
      expect(found.map((block) => block.text).join('')).toBe(text.replace(/^\uFEFF/, ''));
      expect(found.map(({ endsDocument }) => endsDocument)).toEqual(
        found.map((_, index) => index === found.length - 1),
      );
    }),
    SEED,
  );
});

test.each(['<|end|>', '\n\n', '😀'])(
  'separator %j: nothing is lost and nothing twice',
  async (separator) => {
    await fc.assert(
      fc.asyncProperty(anyText, cutsOf, async (text, cuts) => {
        const bytes = utf8(text);
        const whole = await textsOf(bytes, 'text', { separator });
        const found = await textsOf(bytes, 'text', { separator, cuts: within(cuts, bytes) });
        // Newlines in a row may be cut between in two ways; what stands between them may not.
        const words = (list: readonly CorpusText[]) =>
          list.map((each) => each.text.trim()).filter((each) => each !== '');
        expect(words(found)).toEqual(words(whole));
        for (const each of found) expect(each.text).not.toContain(separator);
      }),
      SEED,
    );
  },
);

test('text that is longer than what is read at once', async () => {
  const text = Array.from({ length: 150_000 }, (_, i) => `Zeile ${i} ist größer. 😀`).join('\n');
  const bytes = utf8(text);
  expect(bytes.length).toBeGreaterThan(4 * 2 ** 20);
  const cuts = [1_000_001, 3_333_333];
  const blocks = await textsOf(bytes, 'text', { cuts });
  expect(blocks.map((block) => block.text).join('')).toBe(text);
  const lines = await textsOf(bytes, 'text', { cuts, separator: '\n' });
  expect(lines.map((line) => line.text).join('\n')).toBe(text);
});

describe('what is wrong is told with file and line', () => {
  const refusal = async (bytes: Uint8Array, format: CorpusFormat, cuts: number[] = []) => {
    const error = await textsOf(bytes, format, { cuts }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FileError);
    return (error as Error).message;
  };
  const lines = (wrong: string) =>
    utf8(`{"text": "a"}\n\n{"text": "b"}\n${wrong}\n{"text": "c"}\n`);

  test.each([
    ['{"text": ', /not JSON \(.*must be an object with a text "text"/],
    ['[1]', /it is no object/],
    ['null', /it is no object/],
    ['{"txt": "a", "n": 1}', /it has txt, n; a line must be an object with a text "text"/],
    ['{}', /it has no fields/],
    ['{"text": 5}', /text is no text/],
  ])('line of JSON %j', async (wrong, problem) => {
    for (const cuts of [[], [20], [30, 31]]) {
      const message = await refusal(lines(wrong), 'jsonl', cuts);
      expect(message).toMatch(/^a\.txt, line 4: /);
      expect(message).toMatch(problem);
    }
  });

  test.each(['text', 'jsonl'] as const)('bytes that are not UTF-8, in %s', async (format) => {
    const bytes = lines('{"text": "gr\u00f6n"}');
    const at = bytes.indexOf(0xc3);
    bytes[at] = 0xff;
    for (const cuts of [[], [15], [at]]) {
      const message = await refusal(bytes, format, cuts);
      expect(message).toContain(
        `a.txt, line 4: byte ${at} of the file is 0xFF, which is not UTF-8`,
      );
    }
  });

  test('a character that the end of the file cuts', async () => {
    const bytes = utf8('a\n😀').slice(0, -1);
    expect(await refusal(bytes, 'text')).toContain('a.txt, line 2: byte 2 of the file is 0xF0');
  });
});
