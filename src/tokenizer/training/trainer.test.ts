/** The trainer learns what the trainer of Python's tokenizers package learns, however text comes in. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../errors.js';
import { CHATML_TOKENS } from '../synthetic.js';
import { Tokenizer } from '../tokenizer.js';
import type { TokenizerTrainerOptions } from './trainer.js';
import { TokenizerTrainer } from './trainer.js';

const fixture = (name: string) =>
  readFileSync(
    new URL(`../../../test/fixtures/tokenizer-training/${name}`, import.meta.url),
    'utf8',
  );
const corpus = fixture('corpus.txt');
const golden = JSON.parse(fixture('python.json')) as {
  readonly cases: readonly string[];
  readonly runs: readonly {
    readonly splitDigits: boolean;
    readonly vocabSize: number;
    readonly minFrequency: number;
    readonly numTokens: number;
    readonly numMerges: number;
    readonly mergesSha256: string;
    readonly vocabSha256: string;
    readonly firstMerges: readonly string[];
    readonly merges?: readonly string[];
    readonly ids: readonly (readonly number[])[];
  }[];
};

interface TokenizerJson {
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly string[];
  };
}

function train(
  pieces: readonly (string | undefined)[],
  options: Partial<TokenizerTrainerOptions> = {},
): TokenizerJson {
  const trainer = new TokenizerTrainer({
    vocabSize: 400,
    specialTokens: CHATML_TOKENS,
    ...options,
  });
  for (const piece of pieces) {
    if (piece === undefined) trainer.endText();
    else trainer.push(piece);
  }
  const steps = trainer.learn();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value as TokenizerJson;
  }
}

const sha256 = (lines: readonly string[]) =>
  createHash('sha256').update(lines.join('\n')).digest('hex');

describe.each(golden.runs)(
  'as in Python: digits split $splitDigits, $vocabSize tokens, frequency $minFrequency',
  (run) => {
    const { vocabSize, minFrequency, splitDigits } = run;
    const json = train([corpus], { vocabSize, minFrequency, splitDigits });
    const { vocab, merges } = json.model;

    test('the same merges and the same ids', () => {
      expect(merges.slice(0, 20)).toEqual(run.firstMerges);
      if (run.merges) expect(merges).toEqual(run.merges);
      expect(merges).toHaveLength(run.numMerges);
      expect(sha256(merges)).toBe(run.mergesSha256);
      const tokens = Object.entries(vocab).toSorted(([, a], [, b]) => a - b);
      expect(tokens).toHaveLength(run.numTokens);
      expect(sha256(tokens.map(([token]) => token))).toBe(run.vocabSha256);
    });

    test('texts become the same ids', () => {
      const tokenizer = Tokenizer.fromJson(json);
      expect(golden.cases.map((text) => tokenizer.encode(text))).toEqual(run.ids);
    });
  },
);

test('how a text is cut into pieces changes nothing', () => {
  const text = corpus.slice(-3000);
  const whole = train([text]);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: text.length }), { maxLength: 20 }), (cuts) => {
      const isWithin = (cut: number) => /[\uDC00-\uDFFF]/.test(text.charAt(cut));
      const places = [0, ...cuts.map((cut) => (isWithin(cut) ? cut - 1 : cut)), text.length];
      places.sort((a, b) => a - b);
      const pieces = places.slice(1).map((place, index) => text.slice(places[index], place));
      expect(train(pieces)).toEqual(whole);
    }),
    { seed: 20261129, numRuns: 30 },
  );
});

test('nothing is merged across texts', () => {
  const together = train(Array.from({ length: 9 }, () => ['ab', 'cd']).flat()).model.merges;
  expect(together).toContain('ab cd');
  const apart = train(Array.from({ length: 9 }, () => ['ab', undefined, 'cd', undefined]).flat());
  expect(apart.model.merges).toEqual(['a b', 'c d']);
});

test('a text without white space is counted without being kept as a whole', () => {
  const trainer = new TokenizerTrainer({ vocabSize: 300, specialTokens: CHATML_TOKENS });
  for (let i = 0; i < 12; i++) trainer.push('ab'.repeat(50_000));
  expect(trainer.numWords).toBeGreaterThan(0);
});

test.each<[Partial<TokenizerTrainerOptions>, RegExp]>([
  [{ vocabSize: 258 }, /258; it must be a whole number from 259/],
  [{ vocabSize: 2 ** 20 + 1 }, /to 1048576/],
  [{ minFrequency: 0 }, /minimum frequency is 0/],
  [{ specialTokens: ['<a>', '<a>'] }, /"<a>" is there twice/],
  [{ specialTokens: ['a'] }, /"a" is a byte or empty/],
])('%j is refused', (options, message) => {
  expect(() => train([], options)).toThrow(ConfigError);
  expect(() => train([], options)).toThrow(message);
});
