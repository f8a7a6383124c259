/** Each route of a server with the bundled model, over a real socket, and its answer against its schema. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chatChunkSchema, chatCompletionSchema } from '../../src/serve/wire/chat.js';
import { completionSchema } from '../../src/serve/wire/completions.js';
import { responseSchema } from '../../src/serve/wire/responses.js';
import {
  errorSchema,
  modelListSchema,
  modelSchema,
  tokenizeSchema,
  tokenizerInfoSchema,
} from '../../src/serve/wire/server.js';
import { PLAIN_TOKENIZER_FILES, copyOfBundled } from '../bundled-copy.js';
import { repositoryPath } from '../repository.js';
import { metricsOf } from './metrics-text.js';
import type { Model, TestServer } from './server.js';
import {
  CHATML_TEMPLATES,
  ChatTemplate,
  MODEL_NAME,
  PROBLEM,
  loadModel,
  openServer,
} from './server.js';
import { chunksOf, sseEvents } from './sse.js';

let model: Model;
let server: TestServer;

beforeAll(async () => {
  model = await loadModel();
  server = await openServer(model, { examples: [PROBLEM] });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await model.dispose();
});

interface ResponseStreamEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly delta?: string;
  readonly response?: unknown;
}

interface OpenApi {
  readonly openapi: string;
  readonly paths: Record<string, { readonly post: { readonly requestBody: { content: object } } }>;
}

const answerOf = async (prompt: string) => (await model.complete(prompt)).text;

describe('completions', () => {
  test('a problem is answered as the model answers it', async () => {
    const body = await server.json('/v1/completions', { model: MODEL_NAME, prompt: PROBLEM });
    const answer = completionSchema.parse(body);
    expect(answer.choices[0]).toMatchObject({
      text: await answerOf(PROBLEM),
      finish_reason: 'stop',
      stop_reason: null,
      logprobs: null,
    });
    const { usage } = answer;
    expect(usage!.total_tokens).toBe(usage!.prompt_tokens + usage!.completion_tokens);
    expect(usage!.prompt_tokens).toBe(model.encode(PROBLEM).length);
  });

  test('a key for balancers changes no answer', async () => {
    const body = { prompt: PROBLEM, prompt_cache_key: 'mine' };
    const { choices } = completionSchema.parse(await server.json('/v1/completions', body));
    expect(choices[0]!.text).toBe(await answerOf(PROBLEM));
  });

  test('several prompts and choices come in order, as texts or as ids', async () => {
    const prompts = [PROBLEM, 'Start with 4. Add 7. What is the result?'];
    const asTexts = await server.json('/v1/completions', { prompt: prompts, n: 2 });
    const asIds = await server.json('/v1/completions', {
      prompt: prompts.map((prompt) => model.encode(prompt)),
      n: 2,
    });
    const texts = completionSchema.parse(asTexts).choices.map(({ index, text }) => [index, text]);
    const [first, second] = [await answerOf(prompts[0]!), await answerOf(prompts[1]!)];
    expect(texts).toEqual([
      [0, first],
      [1, first],
      [2, second],
      [3, second],
    ]);
    expect(completionSchema.parse(asIds).choices.map(({ index, text }) => [index, text])).toEqual(
      texts,
    );
  });

  test('echo puts the prompt before the answer and scores its tokens', async () => {
    const promptIds = model.encode(PROBLEM);
    const body = { prompt: [promptIds], max_tokens: 1, logprobs: 1, echo: true, temperature: 0 };
    const { choices } = completionSchema.parse(await server.json('/v1/completions', body));
    const { text, logprobs } = choices[0]!;
    expect(text.startsWith(PROBLEM)).toBe(true);
    const lists = [logprobs!.tokens, logprobs!.token_logprobs, logprobs!.top_logprobs];
    for (const list of [...lists, logprobs!.text_offset, logprobs!.exit_depths]) {
      expect(list).toHaveLength(promptIds.length + 1);
    }
    expect(logprobs!.token_ids.slice(0, -1)).toEqual(promptIds);
    expect([logprobs!.token_logprobs[0], logprobs!.top_logprobs[0]]).toEqual([null, null]);
    // a greedy token is told by equality of floats
    const top = Math.max(...Object.values(logprobs!.top_logprobs.at(-1)!));
    expect(logprobs!.token_logprobs.at(-1)).toBe(top);
    for (const [at, offset] of logprobs!.text_offset.entries()) {
      expect(logprobs!.tokens.slice(0, at).join('')).toHaveLength(offset);
    }
  });

  test('a prompt is scored without a new token if max_tokens is 0', async () => {
    const body = { prompt: PROBLEM, max_tokens: 0, logprobs: 0, echo: true };
    const { choices, usage } = completionSchema.parse(await server.json('/v1/completions', body));
    expect(choices[0]!.text).toBe(PROBLEM);
    expect(choices[0]!.logprobs!.token_ids).toEqual(model.encode(PROBLEM));
    expect(usage!.completion_tokens).toBe(0);
    expect(usage!.total_tokens).toBe(usage!.prompt_tokens);
  });

  test('a stream ends with its usage and [DONE]', async () => {
    const body = { prompt: PROBLEM, stream: true, stream_options: { include_usage: true } };
    const response = await server.ask('/v1/completions', body);
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const chunks = (await chunksOf(response)).map((chunk) => completionSchema.parse(chunk));
    expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(
      await answerOf(PROBLEM),
    );
    const last = chunks.at(-1)!;
    expect(last.choices).toEqual([]);
    expect(last.usage!.completion_tokens).toBe(chunks.length - 2);
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
  });

  test('a stop string ends the text before itself and is named', async () => {
    const whole = await answerOf(PROBLEM);
    const stop = whole.trim().slice(-1);
    const { choices } = completionSchema.parse(
      await server.json('/v1/completions', { prompt: PROBLEM, stop: ['never', stop] }),
    );
    expect(choices[0]).toMatchObject({
      text: whole.slice(0, whole.indexOf(stop)),
      finish_reason: 'stop',
      stop_reason: stop,
    });
  });

  test('the rollout record is that of the model', async () => {
    const options = { prompt: PROBLEM, rollout: true, seed: 3, temperature: 1, max_tokens: 4 };
    const { choices } = completionSchema.parse(await server.json('/v1/completions', options));
    const { rollout } = await model.complete(PROBLEM, {
      maxNewTokens: 4,
      record: true,
      sampling: { seed: 3, temperature: 1 },
    });
    expect(choices[0]!.rollout).toEqual(JSON.parse(JSON.stringify(rollout)));
  });

  test('loops tell what each of them said', async () => {
    const body = { prompt: PROBLEM, logprobs: 2, loop_logprobs: 3, exit_policy: 'full' };
    const { choices } = completionSchema.parse(await server.json('/v1/completions', body));
    const { loops, token_logprobs, exit_depths } = choices[0]!.logprobs!;
    expect(loops).toHaveLength(token_logprobs.length);
    for (const [at, some] of loops!.entries()) {
      expect(some).toHaveLength(model.config.numLoops);
      expect(some![exit_depths[at]! - 1]!.logprob).toBe(token_logprobs[at]);
      for (const { exit_prob: prob, top_logprobs: top } of some!) {
        expect(prob).toBeGreaterThan(0);
        expect(prob).toBeLessThan(1);
        expect(top).toHaveLength(3);
      }
    }
  });
});

describe('chat', () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: [{ type: 'text', text: PROBLEM }] },
  ];

  test('a conversation is answered, each token with its depth', async () => {
    const body = { model: MODEL_NAME, messages, logprobs: true, top_logprobs: 2 };
    const answer = chatCompletionSchema.parse(await server.json('/v1/chat/completions', body));
    const [choice] = answer.choices;
    expect(choice!.message.content).toBe(await answerOf(PROBLEM));
    expect(choice!.message.reasoning).toBeNull();
    expect(choice!.finish_reason).toBe('stop');
    const { exitDepths } = await model.complete(PROBLEM);
    expect(choice!.logprobs!.content.map(({ exit_depth: depth }) => depth)).toEqual(exitDepths);
    expect(answer.usage.mean_depth).toBeCloseTo(
      exitDepths.reduce((a: number, b: number) => a + b, 0) / exitDepths.length,
    );
  });

  test('a stream adds up to the whole answer, a chunk for each token', async () => {
    const body = { messages, stream: true, return_token_ids: true };
    const chunks = (await chunksOf(await server.ask('/v1/chat/completions', body))).map((chunk) =>
      chatChunkSchema.parse(chunk),
    );
    const { tokenIds } = await model.complete(PROBLEM);
    expect(chunks).toHaveLength(tokenIds.length + 1);
    expect(chunks.flatMap(({ choices }) => choices[0]!.token_ids)).toEqual(tokenIds);
    expect(chunks[0]!.choices[0]!.delta.role).toBe('assistant');
    expect(chunks[0]!.prompt_token_ids).toEqual(model.encode(PROBLEM));
    const text = chunks.map(({ choices }) => choices[0]!.delta.content ?? '').join('');
    expect(text).toBe(await answerOf(PROBLEM));
    expect(chunks.map(({ choices }) => choices[0]!.finish_reason).filter(Boolean)).toEqual([
      'stop',
    ]);
  });

  test('reasoning comes under both names', async () => {
    await using thinking = await openServer(model, {
      chatTemplate: new ChatTemplate(CHATML_TEMPLATES.corrected),
    });
    const body = {
      messages: [{ role: 'user', content: PROBLEM }],
      chat_template_kwargs: { enable_thinking: true },
      max_tokens: 3,
      ignore_eos: true,
    };
    const { choices, usage } = chatCompletionSchema.parse(
      await thinking.json('/v1/chat/completions', body),
    );
    expect(choices[0]!.message.reasoning).not.toBe('');
    expect(choices[0]!.message.reasoning_content).toBe(choices[0]!.message.reasoning);
    expect(choices[0]!.message.content).toBe('');
    expect(usage.completion_tokens_details.reasoning_tokens).toBe(3);
  });

  test('without a template chat is refused with what to do', async () => {
    const path = mkdtempSync(join(tmpdir(), 'looplm-plain-'));
    const plain = await loadModel({}, copyOfBundled(path, PLAIN_TOKENIZER_FILES));
    await using bare = await openServer(plain, { chatTemplate: undefined });
    const response = await bare.ask('/v1/chat/completions', { messages });
    expect(response.status).toBe(400);
    expect(errorSchema.parse(await response.json()).error).toMatchObject({
      code: 'no_chat_template',
      message: expect.stringContaining('--chat-template'),
    });
    await plain.dispose();
    rmSync(path, { recursive: true });
  });

  test('tools are refused where the template has no place for them', async () => {
    const tools = [{ type: 'function', function: { name: 'now', parameters: {} } }];
    const response = await server.ask('/v1/chat/completions', { messages, tools });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param: 'tools' } });
  });
});

describe('responses', () => {
  test('an input is answered by a message', async () => {
    const body = { model: MODEL_NAME, input: PROBLEM, metadata: { topic: 'cups' } };
    const answer = responseSchema.parse(await server.json('/v1/responses', body));
    expect(answer).toMatchObject({
      status: 'completed',
      store: false,
      metadata: { topic: 'cups' },
      output: [
        { type: 'message', content: [{ type: 'output_text', text: await answerOf(PROBLEM) }] },
      ],
    });
    expect(answer.usage!.output_tokens).toBeGreaterThan(0);
  });

  test('the events of a stream lead to the answer, numbered and in order', async () => {
    const body = {
      input: [{ role: 'user', content: [{ type: 'input_text', text: PROBLEM }] }],
      stream: true,
      include: ['message.output_text.logprobs'],
    };
    const events: ResponseStreamEvent[] = [];
    for await (const { event, data } of sseEvents(await server.ask('/v1/responses', body))) {
      const parsed = JSON.parse(data) as ResponseStreamEvent;
      expect(parsed.type).toBe(event);
      events.push(parsed);
    }
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, at) => at));
    const types = events.map(({ type }) => type);
    expect(types.filter((type) => type !== 'response.output_text.delta')).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta');
    const answer = responseSchema.parse(events.at(-1)!.response);
    const text = deltas.map(({ delta }) => delta).join('');
    expect(answer.output[0]).toMatchObject({ content: [{ text }] });
    expect(text).toBe(await answerOf(PROBLEM));
    const [part] = (answer.output[0] as { content: { logprobs: unknown[] }[] }).content;
    expect(part!.logprobs).toHaveLength(answer.usage!.output_tokens);
  });

  test('an answer that was cut off is incomplete and says why', async () => {
    const body = { input: PROBLEM, max_output_tokens: 1 };
    expect(responseSchema.parse(await server.json('/v1/responses', body))).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
    });
  });

  test.each([
    ['previous_response_id', 'resp_1'],
    ['store', true],
    ['background', true],
    ['conversation', 'conv_1'],
    ['truncation', 'auto'],
    ['prompt', { id: 'p' }],
  ])('%s is refused by its name', async (param, value) => {
    const response = await server.ask('/v1/responses', { input: PROBLEM, [param]: value });
    expect(response.status).toBe(400);
    expect(errorSchema.parse(await response.json()).error.param).toBe(param);
  });

  test.each([
    [{ type: 'item_reference', id: 'msg_1' }, 'input.1', /nothing is kept; send the item itself/],
    [{ role: 'user', content: 5 }, 'input.1.content', /^input\.1\.content is 5; it must be a text/],
    [{ type: 'file_search_call' }, 'input.1', /^input\.1 is .* of type message, function_call/],
  ])('an item that is wrong is named: %j', async (item, param, message) => {
    const input = [{ role: 'user', content: PROBLEM }, item];
    const response = await server.ask('/v1/responses', { input });
    expect(response.status).toBe(400);
    const { error } = errorSchema.parse(await response.json());
    expect(error.param).toBe(param);
    expect(error.message).toMatch(message);
  });
});

test('a server may have a depth of its own, for requests that name none', async () => {
  await using shallow = await openServer(model, { exitPolicy: 'fixed:1' });
  const depthsOf = async (more: object) => {
    const body = { prompt: PROBLEM, max_tokens: 2, logprobs: 0, echo: true, ...more };
    const answer = completionSchema.parse(await shallow.json('/v1/completions', body));
    return new Set(answer.choices[0]!.logprobs!.exit_depths.slice(1));
  };
  expect(await depthsOf({})).toEqual(new Set([1]));
  expect(await depthsOf({ exit_policy: 'full' })).toEqual(new Set([4]));
  expect(await shallow.json('/v1/models')).toMatchObject({ data: [{ exit_policy: 'fixed:1' }] });
  await expect(openServer(model, { exitPolicy: 'fixed:9' })).rejects.toThrow(
    /depths must be 1 to 4/,
  );
});

test('a model without a tokenizer is served by token ids', async () => {
  await using bare = await loadModel({}, repositoryPath('test/fixtures/tiny-mha'));
  await using ids = await openServer(bare, { chatTemplate: undefined });
  const body = {
    prompt: [1, 2, 3],
    max_tokens: 4,
    logprobs: 1,
    echo: true,
    return_token_ids: true,
  };
  const { choices } = completionSchema.parse(await ids.json('/v1/completions', body));
  const { tokenIds } = await bare.complete([1, 2, 3], { maxNewTokens: 4 });
  expect(choices[0]!.token_ids).toEqual(tokenIds);
  expect(choices[0]!.logprobs!.tokens).toEqual(
    [1, 2, 3, ...tokenIds].map((id) => `token_id:${id}`),
  );
  for (const [path, asked, status] of [
    ['/v1/completions', { prompt: 'a' }, 400],
    ['/v1/completions', { prompt: [1], stop: 'a' }, 400],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'a' }] }, 400],
    ['/tokenize', { prompt: 'a' }, 422],
  ] as const) {
    const response = await ids.ask(path, asked);
    errorSchema.parse(await response.json());
    expect([path, response.status]).toEqual([path, status]);
  }
});

test('built files are served at /, under a policy that lets nothing else in', async () => {
  const file = (body: string, contentType: string) => {
    return { body: new TextEncoder().encode(body), contentType };
  };
  await using page = await openServer(model, {
    apiKeys: ['key'],
    assets: new Map([
      ['/index.html', file('<h1>Hello</h1>', 'text/html; charset=utf-8')],
      ['/assets/app.js', file('1;', 'text/javascript; charset=utf-8')],
    ]),
  });
  for (const [path, text, type] of [
    ['/', '<h1>Hello</h1>', /^text\/html/],
    ['/index.html', '<h1>Hello</h1>', /^text\/html/],
    ['/assets/app.js', '1;', /^text\/javascript/],
  ] as const) {
    const response = await page.ask(path);
    expect([path, response.status, await response.text()]).toEqual([path, 200, text]);
    expect(response.headers.get('content-type')).toMatch(type);
    expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'/);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  }
  expect((await page.ask('/assets/other.js')).status).toBe(404);
  expect((await page.ask('/v1/models')).status).toBe(401);
});

describe('the server about itself', () => {
  test('models tells what is served and what can be asked of it', async () => {
    const { data } = modelListSchema.parse(await server.json('/v1/models'));
    expect(data).toHaveLength(1);
    expect(data[0]).toMatchObject({
      id: MODEL_NAME,
      max_model_len: model.config.maxPositionEmbeddings,
      num_loops: 4,
      has_exit_gate: true,
      has_chat_template: true,
      examples: [PROBLEM],
    });
    expect(modelSchema.parse(await server.json(`/v1/models/${MODEL_NAME}`))).toEqual(data[0]);
    expect((await server.ask('/v1/models/other/name')).status).toBe(404);
  });

  test('tokens go there and back', async () => {
    const { tokens, count } = tokenizeSchema.parse(
      await server.json('/tokenize', { prompt: PROBLEM }),
    );
    expect(tokens).toEqual(model.encode(PROBLEM));
    expect(count).toBe(tokens.length);
    expect(await server.json('/detokenize', { tokens })).toEqual({ prompt: PROBLEM });
    const response = await server.ask('/detokenize', { tokens: [1e9] });
    expect([response.status, (await response.json()).error.param]).toEqual([400, 'tokens']);
    expect(tokenizerInfoSchema.parse(await server.json('/tokenizer_info'))).toMatchObject({
      eos_token: '<|im_end|>',
      bos_token: null,
    });
  });

  test('it is healthy and ready, and says its version', async () => {
    expect(await server.json('/health')).toEqual({ status: 'ok' });
    expect(await server.json('/ready')).toEqual({ status: 'ready' });
    expect(await server.json('/version')).toEqual({ version: 'unknown' });
    expect((await server.ask('/health', undefined, { method: 'HEAD' })).status).toBe(200);
  });

  test("metrics count under vLLM's names", async () => {
    const before = await metricsOf(server);
    await server.json('/v1/completions', { prompt: PROBLEM, max_tokens: 2, ignore_eos: true });
    const after = await metricsOf(server);
    const grew = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
    const label = `model_name="${MODEL_NAME}"`;
    expect(grew(`vllm:generation_tokens_total{${label}}`)).toBe(2);
    expect(grew(`vllm:prompt_tokens_total{${label}}`)).toBe(model.encode(PROBLEM).length);
    expect(grew(`vllm:request_success_total{finished_reason="length",${label}}`)).toBe(1);
    expect(grew(`looplm:exit_depth_count{${label}}`)).toBe(2);
    expect(grew(`vllm:time_to_first_token_seconds_count{${label}}`)).toBe(1);
    expect(after.get(`vllm:num_requests_running{${label}}`)).toBe(0);
    expect(after.get(`vllm:kv_cache_usage_perc{${label}}`)).toBeGreaterThanOrEqual(0);
    expect([...after.keys()].some((name) => name.startsWith('looplm:batch_rows_bucket'))).toBe(
      true,
    );
    // routers read it as a whole number, or as nothing
    const info = [...after.keys()].find((name) => name.startsWith('vllm:cache_config_info'));
    expect(info).toMatch(/num_gpu_blocks="\d*"/);
  });

  test('the OpenAPI document names every route and every field', async () => {
    const document = await server.json<OpenApi>('/openapi.json');
    expect(document.openapi).toBe('3.1.0');
    const { content } = document.paths['/v1/completions']!.post.requestBody;
    expect(content).toMatchObject({
      'application/json': {
        schema: {
          additionalProperties: false,
          properties: { exit_policy: { description: expect.stringMatching(/cdf/) } },
        },
      },
    });
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/models/{id}', '/metrics']) {
      expect(document.paths).toHaveProperty([path]);
    }
  });

  test('what is not there, or is asked in another way, is told in shape', async () => {
    for (const [path, method, status] of [
      ['/nothing', 'GET', 404],
      ['/nothing', 'POST', 404],
      ['/v1/completions', 'GET', 405],
      ['/v1/models', 'DELETE', 405],
      ['/health', 'PUT', 405],
    ] as const) {
      const response = await server.ask(path, undefined, { method });
      expect([path, response.status]).toEqual([path, status]);
      errorSchema.parse(await response.json());
      if (status === 405) expect(response.headers.get('allow')).toContain('OPTIONS');
    }
    const options = await server.ask('/v1/completions', undefined, { method: 'OPTIONS' });
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, OPTIONS']);
  });
});
