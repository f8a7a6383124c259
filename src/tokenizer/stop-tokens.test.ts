import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CHATML_TEMPLATES, ChatTemplate } from './chat-template.js';
import { stopTokenNotes, stopTokens, turnEndId } from './stop-tokens.js';
import { Tokenizer } from './tokenizer.js';

const path = new URL('../../test/fixtures/tokenizer/tokenizer.json', import.meta.url);
const tokenizer = Tokenizer.fromJson(JSON.parse(readFileSync(path, 'utf8')));
const chatTemplate = new ChatTemplate(CHATML_TEMPLATES.base);
const released = {
  vocabSize: 49_152,
  configIds: [0],
  generationIds: [],
  eosToken: '<|endoftext|>',
  chatTemplate,
  tokenizer,
};

test('a model as released ends its texts with end-of-text and end-of-turn', () => {
  expect(stopTokens(released)).toEqual([
    {
      id: 0,
      token: '<|endoftext|>',
      sources: ['config.json', 'tokenizer_config.json', 'tokenizer.json'],
    },
    { id: 2, token: '<|im_end|>', sources: ['chat template'] },
  ]);
});

test('every file that names a token is a source of it', () => {
  const [, second] = stopTokens({ ...released, generationIds: [2, 0], configIds: [2] });
  expect(second!.sources).toEqual(['config.json', 'generation_config.json', 'chat template']);
});

test('the end of turn follows the name of the token, not its number', () => {
  const json = JSON.parse(readFileSync(path, 'utf8')) as {
    added_tokens: { id: number; content: string }[];
    model: { vocab: Record<string, number> };
  };
  const swap: Record<string, number> = { '<|im_end|>': 7, '<gh_stars>': 2 };
  for (const token of json.added_tokens) token.id = swap[token.content] ?? token.id;
  for (const [token, id] of Object.entries(swap)) {
    if (token in json.model.vocab) json.model.vocab[token] = id;
  }
  expect(turnEndId(chatTemplate, Tokenizer.fromJson(json))).toBe(7);
});

test('a template that is not ChatML, or none, adds nothing', () => {
  const plain = new ChatTemplate('{{ messages[0].content }}');
  expect(turnEndId(plain, tokenizer)).toBeUndefined();
  for (const template of [plain, undefined]) {
    expect(stopTokens({ ...released, chatTemplate: template }).map(({ id }) => id)).toEqual([0]);
  }
});

test('a text ends at end-of-text if the vocabulary has it, whatever the files name', () => {
  const silent = { ...released, configIds: [2], eosToken: '<|im_end|>', chatTemplate: undefined };
  expect(stopTokens(silent)).toEqual([
    { id: 0, token: '<|endoftext|>', sources: ['tokenizer.json'] },
    { id: 2, token: '<|im_end|>', sources: ['config.json', 'tokenizer_config.json'] },
  ]);
});

test('what can end nothing is told, with the file that names it', () => {
  expect(stopTokenNotes(released)).toEqual([]);
  const wrong = { ...released, generationIds: [2, 49_152, 1e9], eosToken: '</s>' };
  expect(stopTokenNotes(wrong)).toEqual([
    expect.stringMatching(/^generation_config\.json names 49152 .* 0 to 49151.*Correct/),
    expect.stringMatching(/^generation_config\.json names 1000000000 /),
    expect.stringMatching(/^tokenizer_config\.json names "<\/s>" as eos_token/),
  ]);
  expect(stopTokenNotes({ ...wrong, generationIds: [], tokenizer: undefined })).toEqual([]);
});

test('without a tokenizer the ids of the files count; ids without a logit do not', () => {
  const bare = { ...released, tokenizer: undefined, configIds: [5, 300], vocabSize: 256 };
  expect(stopTokens(bare)).toEqual([{ id: 5, sources: ['config.json'] }]);
});
