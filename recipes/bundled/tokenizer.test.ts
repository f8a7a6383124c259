import fc from 'fast-check';
import { ChatTemplate, Tokenizer } from 'looplm/tokenizer';
import { expect, test } from 'vitest';
import { COUNTRIES } from './countries.js';
import { Scribe } from './documents.js';
import { NAMES } from './names.js';
import { itIs } from './problem.js';
import { tokenizerFiles, tokenizerJson } from './tokenizer.js';

const tokenizer = Tokenizer.fromJson(tokenizerJson());
const pieces = (text: string) => tokenizer.encode(text).map((id) => tokenizer.decode([id]));

test('words, names of several words and possessives are tokens of their own', () => {
  expect(pieces("What is New Zealand's capital?")).toEqual([
    'What',
    ' is',
    ' New Zealand',
    "'s",
    ' capital',
    '?',
  ]);
  expect(pieces("it's 3 o'clock.")).toEqual(['it', "'s", ' 3', " o'clock", '.']);
});

test('a name in either case, at the beginning or within, is one token', () => {
  for (const name of NAMES) {
    for (const form of [name, ` ${name}`, name.toLowerCase(), ` ${name.toLowerCase()}`]) {
      expect(tokenizer.encode(form), form).toHaveLength(1);
    }
  }
  for (const { name, capital = name } of COUNTRIES) {
    for (const form of [name, ` ${name}`, ` ${capital}`, ` ${capital.toLowerCase()}`]) {
      expect(tokenizer.encode(form), form).toHaveLength(1);
    }
  }
});

test('any text is spelled, and read back as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }),
    { seed: 20261129, numRuns: 300 },
  );
  expect(pieces('Zorb')).toEqual(['Z', 'o', 'r', 'b']);
});

test('the chat template writes what training shows', () => {
  const config: unknown = JSON.parse(tokenizerFiles()['tokenizer_config.json']!);
  const template = ChatTemplate.fromConfig(config);
  const asked = [{ text: 'Who is the oldest?' }];
  const turn = { asked, reply: itIs('Ann'), difficulty: 1 };
  const text = template.apply([{ role: 'user', content: 'Who is the oldest?' }], {
    addGenerationPrompt: true,
  });
  const scribe = new Scribe((part) => tokenizer.encode(part));
  expect(tokenizer.encode(text)).toEqual(scribe.prompt([turn], { form: 'chat', isLower: false }));
  const next = template.apply(
    [
      { role: 'user', content: 'Who is the oldest?' },
      { role: 'assistant', content: "It's Ann." },
      { role: 'user', content: 'Who is the oldest?' },
    ],
    { addGenerationPrompt: true },
  );
  const problem = { task: 'ordering', turns: [turn, turn], keys: [] };
  const { ids } = scribe.document(problem, { form: 'chat', isLower: false }, 'all');
  expect(tokenizer.decode([...ids])).toBe(`${next}It's Ann.`);
});
