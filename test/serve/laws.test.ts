/** Laws of answers over HTTP, for random requests to the bundled model. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TextTokenEvent } from '../../src/loop-lm.js';
import type { WireChatChunk, WireChatCompletion } from '../../src/serve/wire/chat.js';
import type { WireCompletion } from '../../src/serve/wire/completions.js';
import { Draw } from '../draw.js';
import { drawBody } from './draw-body.js';
import type { Model, TestServer } from './server.js';
import { PROBLEM, loadModel, openServer } from './server.js';
import { chunksOf } from './sse.js';

const NUM_DRAWS = 40;

let model: Model;
let server: TestServer;

beforeAll(async () => {
  model = await loadModel();
  server = await openServer(model);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await model.dispose();
});

const draws = Array.from({ length: NUM_DRAWS }, (_, index) => drawBody(new Draw(91, index)));

test('tokens, depths and log-probabilities over HTTP are those of the library, to the bit', async () => {
  for (const { body, options } of draws) {
    const answer = await server.json<WireCompletion>('/v1/completions', {
      ...body,
      logprobs: 3,
      loop_logprobs: 2,
      return_token_ids: true,
    });
    const tokens: TextTokenEvent[] = [];
    let text = '';
    const wanted = { ...options, topLogprobs: 3, loopLogprobs: 2 };
    for await (const event of model.generate(body.prompt, wanted)) {
      if (event.kind === 'token') tokens.push(event);
      else ({ text } = event);
    }
    const [choice] = answer.choices;
    const { logprobs } = choice!;
    expect({ ...choice, logprobs: undefined }, JSON.stringify(body)).toMatchObject({
      text,
      prompt_token_ids: model.encode(body.prompt),
      token_ids: tokens.map(({ tokenId }) => tokenId),
    });
    expect(logprobs!.token_ids).toEqual(tokens.map(({ tokenId }) => tokenId));
    expect(logprobs!.exit_depths).toEqual(tokens.map(({ exitDepth }) => exitDepth));
    expect(logprobs!.token_logprobs).toEqual(tokens.map(({ logprob }) => logprob));
    expect(
      logprobs!.loops!.map((loops) =>
        loops!.map((loop) => [loop.logprob, loop.top_logprobs.map((top) => top.logprob)]),
      ),
    ).toEqual(
      tokens.map(({ loops }) =>
        loops!.map((loop) => [loop.logprob, loop.topLogprobs.map((top) => top.logprob)]),
      ),
    );
    for (const [at, top] of logprobs!.top_logprobs.entries()) {
      expect(Object.values(top!)).toContain(logprobs!.token_logprobs[at]);
    }
  }
});

test('the chunks of a stream, one after the other, are the whole answer', async () => {
  for (const { body } of draws) {
    const asked = { ...body, logprobs: 2, return_token_ids: true, n: 2, echo: true };
    const whole = await server.json<WireCompletion>('/v1/completions', asked);
    const response = await server.ask('/v1/completions', { ...asked, stream: true });
    const chunks = await chunksOf<WireCompletion>(response);
    for (const choice of whole.choices) {
      const parts = chunks.flatMap(({ choices }) =>
        choices.filter(({ index }) => index === choice.index),
      );
      const joined = {
        text: parts.map(({ text }) => text).join(''),
        token_ids: parts.flatMap((part) => part.token_ids ?? []),
        tokens: parts.flatMap((part) => part.logprobs?.tokens ?? []),
        token_logprobs: parts.flatMap((part) => part.logprobs?.token_logprobs ?? []),
        text_offset: parts.flatMap((part) => part.logprobs?.text_offset ?? []),
        finish_reason: parts.at(-1)!.finish_reason,
        stop_reason: parts.at(-1)!.stop_reason,
      };
      expect(joined, JSON.stringify(body)).toEqual({
        text: choice.text,
        token_ids: choice.token_ids,
        tokens: choice.logprobs!.tokens,
        token_logprobs: choice.logprobs!.token_logprobs,
        text_offset: choice.logprobs!.text_offset,
        finish_reason: choice.finish_reason,
        stop_reason: choice.stop_reason,
      });
      expect(parts.slice(0, -1).every((part) => part.finish_reason === null)).toBe(true);
    }
  }
});

test('a chat streamed and whole says the same', async () => {
  for (const { body } of draws.slice(0, NUM_DRAWS / 2)) {
    const { prompt, ...rest } = body;
    const asked = {
      ...rest,
      messages: [{ role: 'user', content: prompt }],
      logprobs: true,
      top_logprobs: 1,
    };
    const whole = await server.json<WireChatCompletion>('/v1/chat/completions', asked);
    const response = await server.ask('/v1/chat/completions', { ...asked, stream: true });
    const chunks = await chunksOf<WireChatChunk>(response);
    const [choice] = whole.choices;
    const parts = chunks.map(({ choices }) => choices[0]!);
    expect(parts.map(({ delta }) => delta.content ?? '').join('')).toBe(choice!.message.content);
    expect(parts.flatMap(({ logprobs }) => logprobs!.content)).toEqual(choice!.logprobs!.content);
    expect(parts.at(-1)!.finish_reason).toBe(choice!.finish_reason);
  }
});

test('n choices are n requests with the seeds that follow', async () => {
  for (const { body } of draws.slice(0, 12)) {
    const together = await server.json<WireCompletion>('/v1/completions', { ...body, n: 3 });
    for (const choice of together.choices) {
      const seed = body.seed + choice.index;
      const alone = await server.json<WireCompletion>('/v1/completions', { ...body, seed });
      expect({ ...choice, index: 0 }).toEqual(alone.choices[0]);
    }
  }
});

test('usage is the sum of what the choices took, and a prompt counts once', async () => {
  const body = { prompt: PROBLEM, seed: 5, temperature: 1, max_tokens: 5 };
  const alone = await Promise.all(
    [5, 6].map((seed) => server.json<WireCompletion>('/v1/completions', { ...body, seed })),
  );
  const { usage } = await server.json<WireCompletion>('/v1/completions', { ...body, n: 2 });
  const sum = (of: (answer: WireCompletion) => number) =>
    alone.reduce((total, answer) => total + of(answer), 0);
  expect(usage!.completion_tokens).toBe(sum((one) => one.usage!.completion_tokens));
  expect(usage!.prompt_tokens).toBe(alone[0]!.usage!.prompt_tokens);
  expect(usage!.mean_depth).toBeCloseTo(
    sum((one) => one.usage!.mean_depth * one.usage!.completion_tokens) / usage!.completion_tokens,
  );
});

test('requests without a seed draw differently', async () => {
  const body = { prompt: 'a', temperature: 1.5, max_tokens: 16, ignore_eos: true };
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => server.json<WireCompletion>('/v1/completions', body)),
  );
  const texts = new Set(answers.map(({ choices }) => choices[0]!.text));
  expect(texts.size).toBeGreaterThan(1);
});
