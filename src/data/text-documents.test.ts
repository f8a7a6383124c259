/** Laws of cutting a text: nothing is lost, nothing is learnt across what is held out. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IGNORED_TARGET, type TrainingDocument } from './batch.js';
import { textBlocks, textDocuments } from './text-documents.js';

const SEED = { seed: 20261128 };
const END = 999_999;
const encode = (text: string) => Array.from(text, (character) => character.codePointAt(0)!);
const decode = ({ ids }: TrainingDocument) => String.fromCodePoint(...ids);
const anyText = fc
  .array(fc.oneof(fc.constantFrom('\n', ' ', '\n\n', '😀'), fc.string({ unit: 'grapheme' })), {
    maxLength: 60,
  })
  .map((parts) => parts.join(''));

test('blocks joined are the text, none is too long or empty, and no character is cut', () => {
  fc.assert(
    fc.property(anyText, fc.integer({ min: 2, max: 20 }), (text, maxCharacters) => {
      const blocks = textBlocks(text, maxCharacters);
      expect(blocks.join('')).toBe(text);
      for (const block of blocks) {
        expect(block.length).toBeGreaterThan(0);
        expect(block.length).toBeLessThanOrEqual(maxCharacters);
        if (!/\p{Surrogate}/u.test(text)) expect(block).not.toMatch(/\p{Surrogate}/u);
      }
    }),
    { ...SEED, numRuns: 500 },
  );
});

test('blocks end at lines where there are lines, else at spaces', () => {
  expect(textBlocks('ab\ncd\nefgh', 6)).toEqual(['ab\ncd\n', 'efgh']);
  expect(textBlocks('ab cd efgh', 7)).toEqual(['ab cd ', 'efgh']);
  expect(textBlocks('abcdef', 4)).toEqual(['abcd', 'ef']);
});

/** A text of so many lines, each long enough to be a block of its own. */
const longText = (numLines: number) =>
  Array.from({ length: numLines }, (_, i) => `${`line ${i} `.padEnd(1500, '.')}\n`).join('');

test('each token is trained on or held out, in order, and the text is both together', async () => {
  const text = longText(60);
  const options = { encode, endOfTextId: END, heldOutFraction: 0.2 };
  const { training, heldOut } = await textDocuments(text, options);
  expect(heldOut.length).toBeGreaterThan(3);
  const inOrder = [...training, ...heldOut]
    .map(decode)
    .toSorted((a, b) => text.indexOf(a) - text.indexOf(b));
  expect(inOrder.join('')).toBe(text);
  const seen = training.map(decode).join('');
  for (const document of heldOut) expect(seen).not.toContain(decode(document));
});

test('targets are the next ids; at an end nothing counts, but at the end of the text its end', async () => {
  const text = longText(40);
  const options = { encode, endOfTextId: END, heldOutFraction: 0.2 };
  const { training, heldOut } = await textDocuments(text, options);
  const all = [...training, ...heldOut];
  for (const { ids, targets } of all) expect(targets.slice(0, -1)).toEqual(ids.slice(1));
  const lastTargets = all.map((document) => [decode(document), document.targets.at(-1)] as const);
  for (const [words, target] of lastTargets) {
    expect(target).toBe(text.endsWith(words) ? END : IGNORED_TARGET);
  }
});

test('with nothing held out the whole text is one document; an empty text has none', async () => {
  const options = { encode, endOfTextId: END, heldOutFraction: 0 };
  const whole = await textDocuments(longText(5), options);
  expect(whole.training.map(decode)).toEqual([longText(5)]);
  expect(whole.heldOut).toEqual([]);
  expect(await textDocuments('', options)).toEqual({ training: [], heldOut: [] });
});
