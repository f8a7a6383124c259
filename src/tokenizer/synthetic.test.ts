import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ChatTemplate } from './chat-template.js';
import { MIN_SYNTHETIC_VOCAB, syntheticTokenizerFiles } from './synthetic.js';
import { Tokenizer } from './tokenizer.js';

const filesOf = (vocabSize: number) => {
  const files = syntheticTokenizerFiles(vocabSize);
  return {
    tokenizer: Tokenizer.fromJson(JSON.parse(files['tokenizer.json']!)),
    config: JSON.parse(files['tokenizer_config.json']!) as unknown,
  };
};

it.each([MIN_SYNTHETIC_VOCAB, 300, 49_152, 70_000])('has exactly %i entries', (vocabSize) => {
  expect(filesOf(vocabSize).tokenizer.vocabSize).toBe(vocabSize);
});

it('encodes and decodes any text', () => {
  const { tokenizer } = filesOf(1000);
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }),
    { seed: 1, numRuns: 200 },
  );
});

it('merges usual text', () => {
  const text = 'the rain in the hills';
  expect(filesOf(49_152).tokenizer.encode(text).length).toBeLessThan(0.7 * text.length);
});

it('has the special tokens and a chat template of the released models', () => {
  const { tokenizer, config } = filesOf(400);
  const text = ChatTemplate.fromConfig(config).apply([{ role: 'user', content: 'Hi' }], {
    addGenerationPrompt: true,
  });
  const ids = tokenizer.encode(text);
  expect(ids.filter((id) => id < 3)).toEqual([1, 2, 1, 2, 1]);
  expect(tokenizer.encode('<|endoftext|>')).toEqual([0]);
});
