import { expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { parseGenerationConfig, withSamplingDefaults } from './generation-config.js';

const samplingOf = (json: unknown) => parseGenerationConfig(json).sampling;

test('ids that end a text are one, several or none', () => {
  const idsOf = (value: unknown) => parseGenerationConfig({ eos_token_id: value }).eosTokenIds;
  expect([2, [0, 2], [], null, undefined].map(idsOf)).toEqual([[2], [0, 2], [], [], []]);
});

test('sampling is wanted where the file says so or sets a temperature or filter', () => {
  expect(samplingOf({})).toEqual({});
  expect(samplingOf({ temperature: 1, top_p: 0.7 })).toEqual({ temperature: 1, topP: 0.7 });
  expect(samplingOf({ do_sample: true })).toEqual({ temperature: 1 });
  expect(samplingOf({ top_k: 40, min_p: 0.1 })).toEqual({ temperature: 1, topK: 40, minP: 0.1 });
  expect(samplingOf({ repetition_penalty: 1.1 })).toEqual({ repetitionPenalty: 1.1 });
  expect(samplingOf({ do_sample: true, top_k: 0, top_p: null })).toEqual({ temperature: 1 });
});

test('greedy in the file leaves its filters out', () => {
  const filters = { top_p: 0.7, repetition_penalty: 1.2 };
  expect(samplingOf({ ...filters, do_sample: false })).toEqual({ repetitionPenalty: 1.2 });
  expect(samplingOf({ ...filters, temperature: 0 })).toEqual({ repetitionPenalty: 1.2 });
});

test('a call goes before the defaults, and a greedy call leaves their filters out', () => {
  const defaults = { temperature: 1, topP: 0.7, repetitionPenalty: 1.1 };
  const given = { temperature: 0.5, seed: 3, topP: undefined };
  expect(withSamplingDefaults(given, defaults)).toEqual({ ...defaults, temperature: 0.5, seed: 3 });
  expect(withSamplingDefaults({ temperature: 0 }, defaults)).toEqual({
    temperature: 0,
    repetitionPenalty: 1.1,
  });
  expect(withSamplingDefaults({ topP: 1 }, defaults)).toEqual({ ...defaults, topP: 1 });
});

test.each([
  ['no object', null, /generation_config\.json, value/],
  ['an id that is none', { eos_token_id: 'end' }, /eos_token_id: not a token id or a list/],
  ['a negative id', { eos_token_id: [0, -1] }, /eos_token_id/],
  ['a negative temperature', { temperature: -1 }, /temperature/],
  ['a probability of 0', { top_p: 0 }, /top_p/],
  ['a text for a number', { top_k: '40' }, /top_k/],
  ['a penalty of 0', { repetition_penalty: 0 }, /repetition_penalty/],
])('a file with %s is a ConfigError', (_, json, message) => {
  expect(() => parseGenerationConfig(json)).toThrow(ConfigError);
  expect(() => parseGenerationConfig(json)).toThrow(message);
});
