import { expect, test } from 'vitest';
import { ConfigError, RequestError } from '../errors.js';
import { CHATML_TEMPLATES, ChatTemplate } from './chat-template.js';

const user = { role: 'user', content: 'Hi' };
const system = { role: 'system', content: ' Be brief.\n' };
const base = new ChatTemplate(CHATML_TEMPLATES.base);
const corrected = new ChatTemplate(CHATML_TEMPLATES.corrected);

test('the base template inserts a default system turn when the first message is none', () => {
  expect(base.apply([user], { addGenerationPrompt: true })).toBe(
    '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' +
      '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
  );
});

test('the corrected template inserts no system turn', () => {
  expect(corrected.apply([user], { addGenerationPrompt: true })).toBe(
    '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
  );
});

test('messages are printed in order with role and content unchanged', () => {
  const later = { role: 'system', content: 'x' };
  const other = { role: 'my role', content: '' };
  const expected =
    '<|im_start|>system\n Be brief.\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n' +
    '<|im_start|>system\nx<|im_end|>\n<|im_start|>my role\n<|im_end|>\n';
  expect(base.apply([system, user, later, other])).toBe(expected);
  expect(corrected.apply([system, user, later, other])).toBe(expected);
});

test('thinking is opened once, and only after a generation prompt, by a template or for it', () => {
  const options = { addGenerationPrompt: true, enableThinking: true };
  const opensAlways = new ChatTemplate('{% if add_generation_prompt %}A <think>{% endif %}');
  expect(corrected.apply([user], options)).toMatch(/<\|im_start\|>assistant\n<think>\n$/);
  expect(base.apply([user], options)).toMatch(/<\|im_start\|>assistant\n<think>\n$/);
  expect(opensAlways.apply([user], options)).toBe('A <think>');
  for (const template of [base, corrected]) {
    expect(template.apply([user], { enableThinking: true })).not.toContain('<think>');
    const off = { addGenerationPrompt: true, enableThinking: false };
    expect(template.apply([user], off)).toMatch(/<\|im_start\|>assistant\n$/);
  }
});

test('a template of tokenizer_config.json sees the special tokens of that file', () => {
  const template = ChatTemplate.fromConfig({
    bos_token: { content: '<s>', special: true },
    eos_token: '</s>',
    chat_template: '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}',
  });
  expect(template.apply([user])).toBe('<s>Hi</s>');
});

test('of several named templates the default one is taken', () => {
  const named = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: 'plain' },
  ];
  expect(ChatTemplate.fromConfig({ chat_template: named }).apply([user])).toBe('plain');
});

test.each([
  ['no template', {}, /no chat_template/],
  ['a template that is no text', { chat_template: 3 }, /tokenizer_config\.json, chat_template/],
  ['a special token that is no text', { eos_token: 0 }, /tokenizer_config\.json, eos_token/],
  ['a template that does not parse', { chat_template: '{% if %}' }, /cannot be read/],
  ['no object', null, /tokenizer_config\.json, value/],
])('a config with %s is a ConfigError', (_, config, message) => {
  expect(() => ChatTemplate.fromConfig(config)).toThrow(ConfigError);
  expect(() => ChatTemplate.fromConfig(config)).toThrow(message);
});

test.each([
  ['an empty list', [], /at least one entry/],
  ['an empty role', [{ role: '', content: 'x' }], /0\.role/],
  ['no content', [user, { role: 'user' }], /1\.content/],
  ['an unknown key', [{ ...user, mood: 'x' }], /mood/],
  ['something else than a list', 'Hi', /chat messages/],
])('messages that are %s are a RequestError', (_, messages, message) => {
  const apply = () => corrected.apply(messages as never);
  expect(apply).toThrow(RequestError);
  expect(apply).toThrow(message);
});

test.each([
  ['an open block', '{% if true %}text', /it ends in the middle/],
  ['many open brackets', `{{ ${'('.repeat(50_000)}`, /it nests too deeply/],
])('a template with %s is told in plain words', (_, source, message) => {
  expect(() => new ChatTemplate(source)).toThrow(ConfigError);
  expect(() => new ChatTemplate(source)).toThrow(message);
});

test('a template that stumbles over a missing value says so', () => {
  const template = new ChatTemplate(
    "{{ messages[0].content | replace('a') }}{{ [] | first | upper }}",
  );
  expect(() => template.apply([user])).toThrow(RequestError);
  expect(() => template.apply([user])).toThrow(/refused the messages/);
  expect(() => template.apply([user])).not.toThrow(/Cannot read properties/);
});

test('an exception raised by the template is a RequestError with its reason', () => {
  const strict = new ChatTemplate("{{ raise_exception('roles must alternate') }}");
  expect(() => strict.apply([user])).toThrow(RequestError);
  expect(() => strict.apply([user])).toThrow(/roles must alternate/);
});
