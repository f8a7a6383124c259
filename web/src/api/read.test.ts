import { describe, expect, it } from 'vitest';
import { chatReader, completionReader } from './read.js';
import type { WireChunk } from './wire.js';

const texts = (tokens: readonly { readonly channel: string; readonly text: string }[]) =>
  tokens.map(({ channel, text }) => `${channel}:${text}`);

const lists = (tokens: readonly string[]) => ({
  tokens,
  token_logprobs: tokens.map(() => -1),
});

const completion = (text: string, tokens: readonly string[]): WireChunk => ({
  choices: [{ text, logprobs: lists(tokens) }],
});

describe('completionReader', () => {
  it('tells the echo of the prompt from the answer, also within one chunk', () => {
    const reader = completionReader('cup 3;'.length);
    const chunk = completion('cup 3; 2', ['cup', ' 3;', ' 2']);
    expect(texts(reader.tokens(chunk, 0))).toEqual(['prompt:cup', 'prompt: 3;', 'answer: 2']);
  });

  it('gives a special token no text', () => {
    const reader = completionReader(0);
    expect(texts(reader.tokens(completion('a', ['a', '<end>']), 0))).toEqual([
      'answer:a',
      'answer:',
    ]);
    const [end] = reader.tokens(completion('', ['<end>']), 0);
    expect(end).toMatchObject({ text: '', name: '<end>' });
  });

  it('loses no text where a letter spans tokens', () => {
    const names = ['a', 'bytes:\\xf0\\x9f', 'bytes:\\x98\\x80', 'b'];
    const tokens = completionReader(0).tokens(completion('a😀b', names), 0);
    expect(tokens.map(({ text }) => text)).toEqual(['a', '😀', '', 'b']);
  });

  it('takes text that comes without a token', () => {
    const [token] = completionReader(0).tokens({ choices: [{ text: 'rest' }] }, 5);
    expect(token).toMatchObject({
      text: 'rest',
      name: 'rest',
      channel: 'answer',
      exitDepth: null,
      atMs: 5,
    });
  });

  it('reads depths, loops and candidates, the likeliest first', () => {
    const loops = [{ exit_prob: 0.25, logprob: -2, top_logprobs: [{ token: 'b', logprob: -0.5 }] }];
    const logprobs = {
      tokens: ['a'],
      token_logprobs: [-1.5],
      top_logprobs: [{ a: -1.5, b: -0.25 }],
      exit_depths: [3],
      loops: [loops],
    };
    const chunk: WireChunk = { choices: [{ text: 'a', logprobs }] };
    expect(completionReader(0).tokens(chunk, 7)).toEqual([
      {
        text: 'a',
        name: 'a',
        channel: 'answer',
        exitDepth: 3,
        logprob: -1.5,
        top: [
          { token: 'b', logprob: -0.25 },
          { token: 'a', logprob: -1.5 },
        ],
        loops: [{ exitProb: 0.25, logprob: -2, top: [{ token: 'b', logprob: -0.5 }] }],
        atMs: 7,
      },
    ]);
  });
});

describe('chatReader', () => {
  const chunk = (delta: object, tokens: readonly string[]): WireChunk => ({
    choices: [
      {
        delta,
        logprobs: { content: tokens.map((token) => ({ token, logprob: 0, exit_depth: 1 })) },
      },
    ],
  });

  it('tells reasoning from the answer; a token without text belongs to what was before', () => {
    const reader = chatReader();
    const read = [
      chunk({ role: 'assistant', content: '' }, []),
      chunk({ reasoning: 'hm', reasoning_content: 'hm' }, ['hm']),
      chunk({ reasoning_content: '' }, ['</think>']),
      chunk({ content: 'Yes' }, ['Yes']),
      chunk({}, ['<end>']),
    ].flatMap((each) => reader.tokens(each, 0));
    expect(texts(read)).toEqual(['reasoning:hm', 'reasoning:', 'answer:Yes', 'answer:']);
  });

  it('keeps both texts of a token that ends the reasoning and begins the answer', () => {
    const read = chatReader().tokens(chunk({ reasoning: 'so', content: ' 4' }, ['x']), 0);
    expect(texts(read)).toEqual(['reasoning:so', 'answer: 4']);
  });
});
