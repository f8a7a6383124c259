/** What is held out is never trained on, whatever the form of the data. */
import { describe, expect, test } from 'vitest';
import { syntheticTokenizerFiles, Tokenizer } from '../../tokenizer/index.js';
import { readRunData } from './run-data.js';
import { parseModelSection } from './model-section.js';
import { runFileSchema } from './schema.js';

const VOCAB_SIZE = 400;
const tokenizer = Tokenizer.fromJson(
  JSON.parse(syntheticTokenizerFiles(259)['tokenizer.json']!) as unknown,
);
const { config } = parseModelSection(
  {},
  { name: 'model', vocabSize: VOCAB_SIZE, endOfTextId: 0, length: 16 },
);

const read = (path: string, text: string, change: object = {}) =>
  readRunData(
    runFileSchema.parse({
      data: { path, rows: 4, length: 16 },
      validation: { fraction: 0.2 },
      ...change,
    }),
    text,
    { config, tokenizer, onProgress: () => {}, signal: new AbortController().signal },
  );

/** Each line has ids of its own. */
const LINES = Array.from({ length: 60 }, (_, line) => {
  const ids = Array.from({ length: 5 }, (__, index) => 5 * line + index);
  return JSON.stringify({ ids, targets: ids.map((id) => id + 1) });
});

describe('lines of JSON', () => {
  test('are trained on or held out, each as a whole and all of them', async () => {
    const { sourceOf, validation } = await read('a.jsonl', LINES.join('\n'));
    const source = sourceOf({});
    const heldOut = new Set(validation.flatMap(({ ids }) => [...ids]));
    expect(heldOut.size % 5).toBe(0);
    expect(heldOut.size).toBeGreaterThan(5);
    const trained = new Set<number>();
    for (let trainStep = 0; trainStep < 200; trainStep++) {
      const { ids, segments } = source.batchAt(trainStep, 0);
      ids.forEach((id, index) => segments[index]! > 0 && trained.add(id));
    }
    for (const id of heldOut) expect(trained.has(id)).toBe(false);
    expect(trained.size + heldOut.size).toBe(5 * LINES.length);
  });

  test('that occur twice, also with other spaces, are on one side', async () => {
    const spaced = LINES.map((line) => line.replaceAll(':', ' : '));
    const once = await read('a.jsonl', LINES.join('\n'));
    const twice = await read('a.jsonl', [...LINES, ...spaced].join('\r\n'));
    const firstIds = ({ validation }: typeof once) => new Set(validation.map(({ ids }) => ids[0]));
    expect(firstIds(twice)).toEqual(firstIds(once));
  });

  test('with a fault are told by their number', async () => {
    const lines = [...LINES, ...LINES, '{"txt": 1}'];
    await expect(read('a.jsonl', lines.join('\n'))).rejects.toThrow(/^a\.jsonl, line 121: /);
  });
});

test('a text is cut into pieces no longer than a row, and no more of them than asked for', async () => {
  const text = Array.from({ length: 400 }, (_, n) => `This is line ${n} of some text.\n`).join('');
  const { validation } = await read('a.txt', text, {
    validation: { fraction: 0.2, maxTokens: 200 },
  });
  const lengths = validation.map(({ ids }) => ids.length);
  expect(Math.max(...lengths)).toBe(16);
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(200);
});

test('a fraction of 0 holds nothing out', async () => {
  const { validation } = await read('a.jsonl', LINES.join('\n'), { validation: { fraction: 0 } });
  expect(validation).toEqual([]);
});

test('reading stops when the signal aborts', async () => {
  const file = runFileSchema.parse({ data: { path: 'a.txt' } });
  const reason = new Error('enough');
  const signal = AbortSignal.abort(reason);
  const options = { config, tokenizer, onProgress: () => {}, signal };
  await expect(readRunData(file, 'some text', options)).rejects.toBe(reason);
});
