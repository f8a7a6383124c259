/** Who is let in, what is refused, and that one request never touches another. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WireCompletion } from '../../src/serve/wire/completions.js';
import { errorSchema } from '../../src/serve/wire/server.js';
import { fakeModel, gate, until } from './fake-model.js';
import { rawRequest } from './raw.js';
import type { Model, TestServer } from './server.js';
import { PAGE_BYTES, PROBLEM, loadModel, openServer } from './server.js';
import { sseEvents } from './sse.js';

let model: Model;

beforeAll(async () => {
  model = await loadModel();
});
afterAll(async () => model.dispose());

/** The error of an answer, which must have this status and be in shape. */
async function errorOf(response: Response, status: number) {
  const body = errorSchema.parse(await response.json());
  expect([response.status, body.error.message]).toEqual([status, expect.any(String)]);
  expect(response.headers.get('x-request-id')).not.toBeNull();
  return body.error;
}

describe('keys', () => {
  test('only who has one is let in, and what is open stays open', async () => {
    await using server = await openServer(model, { apiKeys: ['first-key', 'second'] });
    const withKey = (authorization: string) => ({ headers: { authorization } });
    for (const init of [{}, withKey('Bearer first'), withKey('Basic second'), withKey('second')]) {
      const error = await errorOf(await server.ask('/v1/models', undefined, init), 401);
      expect(error.code).toBe('invalid_api_key');
    }
    for (const key of ['first-key', 'second']) {
      const { status } = await server.ask('/v1/models', undefined, withKey(`Bearer ${key}`));
      expect(status).toBe(200);
    }
    for (const path of ['/health', '/ready', '/metrics', '/version', '/openapi.json']) {
      expect((await server.ask(path)).status).toBe(200);
    }
    await errorOf(await server.ask('/tokenize', { prompt: 'a' }), 401);
  });
});

describe('other sites', () => {
  test('a page of another site is refused, and with --cors let in', async () => {
    const page = { headers: { origin: 'https://evil.example' } };
    await using shut = await openServer(model);
    expect((await errorOf(await shut.ask('/v1/models', undefined, page), 403)).code).toBe(
      'origin_not_allowed',
    );
    await errorOf(await shut.ask('/v1/models', undefined, { headers: { origin: 'null' } }), 403);
    const own = await shut.ask('/v1/models', undefined, { headers: { origin: shut.url } });
    expect(own.status).toBe(200);
    await using open = await openServer(model, { corsOrigins: ['https://evil.example'] });
    const answer = await open.ask('/v1/models', undefined, page);
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://evil.example');
    const preflight = await open.ask('/v1/completions', undefined, {
      method: 'OPTIONS',
      headers: {
        ...page.headers,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type, x-stainless-os',
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('x-stainless-os');
  });

  test('another name for this machine is refused (DNS rebinding)', async () => {
    await using server = await openServer(model, { allowedHosts: ['localhost', '127.0.0.1'] });
    const asked = async (host: string) =>
      rawRequest(server.port, `GET /health HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect((await asked('rebound.example:80')).status).toBe(403);
    expect((await asked('localhost')).status).toBe(200);
    expect((await asked(`127.0.0.1:${server.port}`)).status).toBe(200);
    expect((await asked('a b')).status).toBe(400);
  });
});

describe('bodies', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await openServer(model, { maxBodyBytes: 10_000 });
  });
  afterAll(async () => server[Symbol.asyncDispose]());

  const post = async (body: BodyInit, contentType = 'application/json') =>
    server.ask('/v1/completions', undefined, {
      method: 'POST',
      body,
      headers: { 'content-type': contentType },
    });

  test.each([
    ['no JSON', '{"prompt":', 'application/json', 400],
    ['nothing', '', 'application/json', 400],
    ['a list', '[]', 'application/json', 400],
    ['too deep', '['.repeat(5000), 'application/json', 400],
    ['no UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), 'application/json', 400],
    ['another type', '{"prompt":"a"}', 'text/plain', 415],
    ['another charset', '{"prompt":"a"}', 'application/json; charset=latin1', 415],
    ['too long', JSON.stringify({ prompt: 'a'.repeat(20_000) }), 'application/json', 413],
  ] as const)('%s is told', async (_, body, contentType, status) => {
    await errorOf(await post(body, contentType), status);
  });

  test('a body that grows too long on the way is cut', async () => {
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(4000).fill(32)),
    });
    const response = await fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      body: stream,
      headers: { 'content-type': 'application/json' },
      duplex: 'half',
    } as RequestInit);
    await errorOf(response, 413);
  });

  test('compressed bodies are refused', async () => {
    const response = await server.ask(
      '/v1/completions',
      { prompt: 'a' },
      {
        headers: { 'content-encoding': 'gzip' },
      },
    );
    await errorOf(response, 415);
  });

  test.each([
    ['suffix', 'x'],
    ['best_of', 3],
    ['nonsense', 1],
    ['temperature', -1],
    ['temperature', '1'],
    ['top_p', 0],
    ['max_tokens', 0],
    ['max_tokens', 1.5],
    ['n', 0],
    ['logprobs', 50],
    ['loop_logprobs', 1],
    ['exit_policy', 'deep'],
    ['min_depth', 9],
    ['kv_policy', 'none'],
    ['speculation', 9],
    ['stop', ['']],
    ['logit_bias', { 100000: 1 }],
    ['logit_bias', { a: 1 }],
    ['stream_options', { include_usage: true }],
    ['prompt', []],
    ['prompt', [1e9]],
    ['prompt', { text: 'a' }],
    ['prompt', '\ud800'],
    ['prompt', 'a '.repeat(2000)],
    ['seed', -1],
  ])('%s of %j is refused by its name', async (field, value) => {
    const response = await server.ask('/v1/completions', { prompt: 'a', [field]: value });
    const error = await errorOf(response, 400);
    expect(error.param).toMatch(new RegExp(`^${field}`));
  });

  test.each([
    ['response_format', { type: 'json_schema', json_schema: { name: 'a', schema: {} } }],
    ['response_format', { type: 'json_object' }],
    ['tool_choice', 'required'],
    ['functions', []],
    ['store', true],
    ['audio', {}],
    ['top_logprobs', 2],
    ['reasoning_effort', 'high'],
    ['web_search_options', {}],
    ['messages', []],
    ['messages', [{ role: 'king', content: 'a' }]],
    ['messages', [{ role: 'user' }]],
    ['messages', [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }]],
  ])('chat: %s of %j is refused by its name', async (field, value) => {
    const body = { messages: [{ role: 'user', content: 'a' }], [field]: value };
    const error = await errorOf(await server.ask('/v1/chat/completions', body), 400);
    expect(error.param).toMatch(new RegExp(`^${field}`));
  });

  test('what is null is as if it were left out', async () => {
    const body = { prompt: PROBLEM, stop: null, logprobs: null, seed: null, stream: null, n: null };
    expect((await server.ask('/v1/completions', body)).status).toBe(200);
  });

  test('another model is not found', async () => {
    const response = await server.ask('/v1/completions', { model: 'gpt', prompt: 'a' });
    expect((await errorOf(response, 404)).code).toBe('model_not_found');
  });

  test('a text that cannot fit is refused before it is split into tokens', async () => {
    await using wide = await openServer(model);
    const response = await wide.ask('/v1/completions', { prompt: 'a '.repeat(4e5) });
    const error = await errorOf(response, 400);
    expect([error.code, error.message]).toEqual([
      'context_length_exceeded',
      expect.stringContaining('800000 bytes'),
    ]);
  });

  test('a prompt that is too long says so', async () => {
    const response = await server.ask('/v1/completions', { prompt: Array(2000).fill(5) });
    expect((await errorOf(response, 400)).code).toBe('context_length_exceeded');
  });
});

describe('load', () => {
  test('who finds the queue full is sent away, and served later', async () => {
    const { opened, open } = gate();
    const fake = fakeModel(model, { beforeToken: async () => opened });
    await using server = await openServer(fake.model, { maxSequences: 1, maxQueue: 1 });
    const first = server.ask('/v1/completions', { prompt: 'a' });
    await until(() => fake.open() === 1);
    const second = server.ask('/v1/completions', { prompt: 'b' });
    const waiting = async () =>
      /num_requests_waiting\{[^}]*\} (\d)/.exec(await (await server.ask('/metrics')).text())?.[1];
    while ((await waiting()) !== '1') await new Promise((resolve) => setTimeout(resolve, 5));
    const third = await server.ask('/v1/completions', { prompt: 'c' });
    expect((await errorOf(third, 429)).code).toBe('queue_full');
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    open();
    expect([(await first).status, (await second).status]).toEqual([200, 200]);
    expect((await server.ask('/v1/completions', { prompt: 'c' })).status).toBe(200);
  });

  test('more sequences than a request may have are refused at once', async () => {
    await using server = await openServer(model, { maxRequestSequences: 4 });
    const response = await server.ask('/v1/completions', { prompt: ['a', 'b'], n: 3 });
    expect((await errorOf(response, 400)).code).toBe('too_many_sequences');
  });

  test('a request may have more sequences than run at a time', async () => {
    await using server = await openServer(model, { maxSequences: 2 });
    const body = { prompt: Array(7).fill(PROBLEM), max_tokens: 2 };
    const { choices } = await server.json<WireCompletion>('/v1/completions', body);
    expect(new Set(choices.map(({ text }) => text)).size).toBe(1);
    expect(choices).toHaveLength(7);
  });

  test('while a request waits its stream is open and not silent', async () => {
    const { opened, open } = gate();
    const fake = fakeModel(model, { beforeToken: async () => opened });
    await using server = await openServer(fake.model, { keepAliveMs: 20 });
    const response = await server.ask('/v1/completions', { prompt: 'a', stream: true });
    const reader = response.body!.getReader();
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toMatch(/^: /);
    open();
    let text = '';
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      text += new TextDecoder().decode(next.value);
    }
    expect(text).toMatch(/data: \[DONE\]\n\n$/);
  });

  test('a request that takes too long is given up, streamed or not', async () => {
    const fake = fakeModel(model, {
      beforeToken: async (at) => (at > 0 ? gate().opened : undefined),
    });
    await using server = await openServer(fake.model, { requestTimeoutMs: 50 });
    const error = await errorOf(await server.ask('/v1/completions', { prompt: 'a' }), 408);
    expect(error.code).toBe('request_timeout');
    const events = [];
    const stream = await server.ask('/v1/completions', { prompt: 'a', stream: true });
    for await (const { data } of sseEvents(stream)) events.push(JSON.parse(data));
    expect(events.at(-1)).toMatchObject({ error: { code: 'request_timeout' } });
    await until(() => fake.open() === 0);
  });

  test('what breaks in a request is told without its inside, and others go on', async () => {
    const broken = fakeModel(model, { fails: new TypeError('secret inside') });
    await using server = await openServer(broken.model);
    const response = await server.ask('/v1/completions', { prompt: 'a' });
    const text = JSON.stringify(await errorOf(response, 500));
    expect(text).not.toContain('secret');
    const stream = await server.ask('/v1/completions', { prompt: 'a', stream: true });
    const events = [];
    for await (const { data } of sseEvents(stream)) events.push(JSON.parse(data));
    expect(events).toMatchObject([{ error: { code: 'internal_error' } }]);
    expect(JSON.stringify(server.log)).toContain('secret inside');
    expect((await server.ask('/v1/models')).status).toBe(200);
  });

  test('what does not fit into memory is told, and others go on', async () => {
    await using small = await loadModel({ maxKvBytes: 8 * PAGE_BYTES });
    await using server = await openServer(small);
    const body = { prompt: Array(700).fill(5), exit_policy: 'full', max_tokens: 2 };
    const others = Array.from({ length: 3 }, async () =>
      server.json<WireCompletion>('/v1/completions', { prompt: PROBLEM }),
    );
    const response = await server.ask('/v1/completions', body);
    expect((await errorOf(response, 503)).code).toBe('out_of_memory');
    const events = [];
    const stream = await server.ask('/v1/completions', { ...body, stream: true });
    for await (const { data } of sseEvents(stream)) events.push(JSON.parse(data));
    expect(events).toMatchObject([{ error: { code: 'out_of_memory' } }]);
    const { text } = await model.complete(PROBLEM);
    for (const { choices } of await Promise.all(others)) expect(choices[0]!.text).toBe(text);
  });

  test('draining lets what runs end and refuses what comes', async () => {
    const { opened, open } = gate();
    const fake = fakeModel(model, { beforeToken: async () => opened });
    await using server = await openServer(fake.model);
    const running = server.ask('/v1/completions', { prompt: 'a' });
    await until(() => fake.open() === 1);
    let isDrained = false;
    const drained = server.drain().then(() => (isDrained = true));
    expect((await errorOf(await server.ask('/ready'), 503)).code).toBe('draining');
    await errorOf(await server.ask('/v1/completions', { prompt: 'b' }), 503);
    expect((await server.ask('/health')).status).toBe(200);
    expect(isDrained).toBe(false);
    open();
    expect((await running).status).toBe(200);
    await drained;
  });

  test('a server that gives notice of its end takes requests until the notice is over', async () => {
    const { opened, open } = gate();
    await using server = await openServer(model);
    const drained = server.drain(opened);
    expect((await errorOf(await server.ask('/ready'), 503)).code).toBe('draining');
    expect((await server.ask('/v1/completions', { prompt: 'a', max_tokens: 1 })).status).toBe(200);
    open();
    await drained;
    await errorOf(await server.ask('/v1/completions', { prompt: 'a' }), 503);
  });
});

describe('the log', () => {
  test('has request ids, and no prompt unless that was asked for', async () => {
    for (const logPrompts of [false, true]) {
      await using server = await openServer(model, { logPrompts });
      const init = { headers: { 'x-request-id': 'mine-1' } };
      const body = {
        prompt: 'The ball is under cup 4. Swap cups 1 and 4. Where is the ball?',
        user: 'ann',
      };
      const response = await server.ask('/v1/completions', body, init);
      expect(response.headers.get('x-request-id')).toBe('mine-1');
      await response.text();
      const line = server.log.find(({ message }) => message === 'generation');
      expect(line!.fields).toMatchObject({ requestId: 'mine-1', user: 'ann', ended: ['stop-id'] });
      expect(JSON.stringify(server.log).includes('cup 4')).toBe(logPrompts);
    }
  });

  test('a request id with anything but plain characters is replaced', async () => {
    await using server = await openServer(model);
    const init = { headers: { 'x-request-id': 'a"b c' } };
    const { headers } = await server.ask('/health', undefined, init);
    expect(headers.get('x-request-id')).toMatch(/^req_\w+$/);
  });
});
