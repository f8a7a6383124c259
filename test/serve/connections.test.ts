/** Real sockets that break off, stall, or send what is no HTTP: nothing is kept for any of them. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WireCompletion } from '../../src/serve/wire/completions.js';
import { errorSchema } from '../../src/serve/wire/server.js';
import { fakeModel, gate, until } from './fake-model.js';
import { rawRequest, readAnswer } from './raw.js';
import type { Model } from './server.js';
import { PROBLEM, loadModel, openServer } from './server.js';

let model: Model;

beforeAll(async () => {
  model = await loadModel();
});
afterAll(async () => model.dispose());

const LONG = { prompt: PROBLEM, ignore_eos: true, max_tokens: 900, exit_policy: 'full' };
/** Steps in which a request that was given up may still be seen: the one under way, and the next. */
const MAX_STEPS = 2;

function post(body: object): string {
  const json = JSON.stringify(body);
  return `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`;
}

describe('a client that goes away', () => {
  test.each([
    ['streaming', true],
    ['not streaming', false],
  ])('frees its sequences within a step of being missed, %s', async (_, stream) => {
    let numSteps = 0;
    let stepsAtAbort = Infinity;
    const stopCounting = model.onStep(() => numSteps++);
    await using server = await openServer(
      model,
      {},
      {
        onRequest: ({ signal }) =>
          signal.addEventListener('abort', () => (stepsAtAbort = numSteps)),
      },
    );
    const socket = connect(server.port, '127.0.0.1');
    socket.write(post({ ...LONG, stream, n: 3 }));
    await until(() => model.stats.numRunning === 3);
    const before = numSteps;
    await until(() => numSteps > before + 20);
    socket.destroy();
    await until(() => model.stats.numRunning === 0);
    expect(numSteps - stepsAtAbort).toBeLessThanOrEqual(MAX_STEPS);
    expect(model.stats.numWaiting).toBe(0);
    stopCounting();
    await until(() => server.log.some(({ message }) => message === 'generation'));
    const { fields } = server.log.find(({ message }) => message === 'generation')!;
    expect(fields).toMatchObject({ lost: 3 });
  });

  test('takes nothing from others', async () => {
    await using server = await openServer(model);
    const alone = await server.json<WireCompletion>('/v1/completions', { ...LONG, max_tokens: 40 });
    const sockets = Array.from({ length: 4 }, () => {
      const socket = connect(server.port, '127.0.0.1');
      socket.write(post({ ...LONG, stream: true }));
      return socket;
    });
    await until(() => model.stats.numRunning === 4);
    const other = server.json<WireCompletion>('/v1/completions', { ...LONG, max_tokens: 40 });
    for (const socket of sockets) socket.destroy();
    expect((await other).choices).toEqual(alone.choices);
    await until(() => model.stats.numRunning === 0);
  });

  test('frees its place in the queue', async () => {
    const { opened, open } = gate();
    const fake = fakeModel(model, { beforeToken: async () => opened });
    await using server = await openServer(fake.model, { maxSequences: 1, maxQueue: 1 });
    const first = server.ask('/v1/completions', { prompt: 'a' });
    await until(() => fake.open() === 1);
    const controller = new AbortController();
    const second = server.ask('/v1/completions', { prompt: 'b' }, { signal: controller.signal });
    const full = async () =>
      (
        await server
          .ask(
            '/v1/completions',
            { prompt: 'c' },
            {
              signal: AbortSignal.timeout(50),
            },
          )
          .catch(() => undefined)
      )?.status;
    while ((await full()) !== 429) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort();
    await expect(second).rejects.toThrow();
    await until(() => server.log.filter(({ message }) => message === 'generation').length >= 1);
    const third = server.ask('/v1/completions', { prompt: 'c' });
    open();
    expect([(await first).status, (await third).status]).toEqual([200, 200]);
  });
});

describe('a client that does not read', () => {
  test('rests its sequence and is cut off', async () => {
    const fake = fakeModel(model, { numTokens: 1e9, text: () => 'x'.repeat(100_000) });
    await using server = await openServer(fake.model, {}, { slowReaderMs: 100 });
    const socket = connect(server.port, '127.0.0.1');
    socket.pause();
    socket.write(post({ prompt: 'a', stream: true, max_tokens: 1e9 }));
    await until(() => fake.open() === 1);
    await until(() => fake.open() === 0);
    socket.destroy();
  });

  test('of a whole answer loses its connection', async () => {
    const fake = fakeModel(model, { numTokens: 1, text: () => 'x'.repeat(30_000_000) });
    await using server = await openServer(fake.model, {}, { slowReaderMs: 100 });
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.pause();
    socket.write(post({ prompt: 'a', max_tokens: 1 }));
    await until(() => server.log.some(({ message }) => message === 'generation'));
    await new Promise((resolve) => setTimeout(resolve, 400));
    let numBytes = 0;
    socket.on('data', (chunk: Buffer) => (numBytes += chunk.length));
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    expect(numBytes).toBeLessThan(30_000_000);
  });
});

describe('what is no request', () => {
  test.each([
    ['noise', '\u0001\u0002\u0003\r\n\r\n', 400],
    ['a broken line', 'GET / SMTP/9\r\n\r\n', 400],
    ['a broken header', 'GET /health HTTP/1.1\r\nHost localhost\r\n\r\n', 400],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      400,
    ],
    ['long headers', `GET /health HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`, 431],
    ['CONNECT', 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n', 405],
    [
      'an expectation',
      'GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nConnection: close\r\n\r\n',
      417,
    ],
    [
      'an expectation, and noise',
      'GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nConnection: close\r\n\r\n\u0001',
      417,
    ],
    ['no host', 'GET /v1/nothing HTTP/1.0\r\n\r\n', 404],
    ['an odd path', 'GET //// HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 404],
    ['a bad escape', 'GET /v1/models/%ff%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 404],
    ['a star', 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 400],
  ] as const)('%s is answered in shape', async (_, bytes, status) => {
    await using server = await openServer(model);
    const answer = await rawRequest(server.port, bytes);
    expect([answer.status, answer.headers.split('\r\n')[0]]).toEqual([status, expect.anything()]);
    errorSchema.parse(JSON.parse(answer.body));
  });

  test('headers and bodies that trickle are cut off', async () => {
    await using server = await openServer(
      model,
      {},
      {
        headersTimeoutMs: 300,
        requestTimeoutMs: 600,
      },
    );
    const begun = [
      'GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ',
      'POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
    ];
    const answers = begun.map(async (bytes) => rawRequest(server.port, bytes));
    for (const answer of await Promise.all(answers)) {
      expect([0, 408]).toContain(answer.status);
      if (answer.status === 408) errorSchema.parse(JSON.parse(answer.body));
    }
  });

  test('a connection that is only opened is closed in the end', async () => {
    await using server = await openServer(
      model,
      {},
      { headersTimeoutMs: 200, requestTimeoutMs: 200 },
    );
    const socket = connect(server.port, '127.0.0.1');
    expect([0, 408]).toContain((await readAnswer(socket)).status);
  });
});
