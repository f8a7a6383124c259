/** The real curl against a server: whole answers, streams, errors, large bodies, and leaving. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { TextFinishEvent } from '../../src/loop-lm.js';
import type { WireChatChunk, WireChatCompletion } from '../../src/serve/wire/chat.js';
import { until } from '../serve/fake-model.js';
import type { Model, TestServer } from '../serve/server.js';
import { PROBLEM, loadModel, openServer } from '../serve/server.js';
import { chunksOf } from '../serve/sse.js';

const about = spawnSync('curl', ['--version'], { encoding: 'utf8' });
const hasCurl = about.status === 0;

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
beforeEach((context) => {
  if (!hasCurl) context.skip('needs curl');
});

const JSON_TYPE = ['-H', 'Content-Type: application/json'];

/** Runs curl without blocking the server, which is in this process; `input` is its standard input. */
function startCurl(path: string, words: readonly string[], input = '') {
  const child = spawn('curl', ['-sS', '--max-time', '60', ...words, `${server.url}${path}`]);
  let output = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  child.stdin.on('error', () => {}); // a server may refuse before it has read all
  child.stdin.end(input);
  const ended = once(child, 'close').then(([code]) => ({
    code: code as number,
    output,
    complaint,
  }));
  return { child, ended, output: () => output };
}

async function curl(path: string, words: readonly string[], input?: string) {
  return startCurl(path, words, input).ended;
}

/** A request whose body is read from the standard input. */
const posting = (...more: string[]) => [...JSON_TYPE, '--data-binary', '@-', ...more];

async function answerOf(prompt: string, options: object): Promise<TextFinishEvent> {
  for await (const event of model.generate(prompt, options)) {
    if (event.kind === 'finish') return event;
  }
  throw new Error('an answer without an end');
}

const messages = [{ role: 'user', content: PROBLEM }];
const BODY = { messages, logprobs: true, exit_policy: 'cdf:0.5', max_tokens: 8, ignore_eos: true };
const OPTIONS = { exitPolicy: 'cdf:0.5', maxNewTokens: 8, ignoreEos: true };

test.for<[string, string[]]>([
  ['', []],
  ['by HTTP 1.0', ['--http1.0']],
  ['that may be compressed', ['--compressed']],
  ['to a body in chunks', ['-H', 'Transfer-Encoding: chunked']],
  ['over a connection that HTTP 2 may take over', ['--http2']],
])('a whole answer %s', async ([, flags], context) => {
  if (flags[0] === '--http2' && !/HTTP2/.test(about.stdout)) context.skip('needs curl with HTTP2');
  const expected = await answerOf(PROBLEM, OPTIONS);
  const body = JSON.stringify(BODY);
  const { code, output, complaint } = await curl('/v1/chat/completions', posting(...flags), body);
  expect([code, complaint]).toEqual([0, '']);
  const [choice] = (JSON.parse(output) as WireChatCompletion).choices;
  expect(choice!.message.content).toBe(expected.answer);
  expect(choice!.logprobs!.content.map((token) => token.exit_depth)).toEqual(expected.exitDepths);
});

test('a stream', async () => {
  const expected = await answerOf(PROBLEM, OPTIONS);
  const { code, output } = await curl(
    '/v1/chat/completions',
    posting('-N'),
    JSON.stringify({ ...BODY, stream: true }),
  );
  expect(code).toBe(0);
  const chunks = await chunksOf<WireChatChunk>(new Response(output));
  const choices = chunks.flatMap((chunk) => chunk.choices);
  expect(choices.map(({ delta }) => delta.content ?? '').join('')).toBe(expected.answer);
});

test('an error has a status that curl fails with, and a body that says why', async () => {
  const { code, output } = await curl(
    '/v1/completions',
    posting('--fail-with-body'),
    '{"prompt": "a", "max_depth": 9}',
  );
  expect(code).toBe(22);
  expect(JSON.parse(output)).toMatchObject({
    error: { param: 'max_depth', code: 'invalid_value' },
  });
});

test.each([
  ['1.5 MB, for which curl asks first', 1.5e6, 400, 'context_length_exceeded'],
  ['6 MB, which is refused unread', 6e6, 413, 'body_too_large'],
])('a body of %s', async (_, length, status, code) => {
  const written = ['-w', '\n%{http_code}', '-H', 'Expect: 100-continue'];
  const body = JSON.stringify({ prompt: 'a'.repeat(length) });
  const { output } = await curl('/v1/completions', posting(...written), body);
  const [answer, shown] = output.split('\n');
  expect(Number(shown)).toBe(status);
  expect(JSON.parse(answer!)).toMatchObject({ error: { code } });
});

test('HEAD, and a path that does not take a method', async () => {
  const head = await curl('/health', ['-I']);
  expect(head.output).toMatch(/^HTTP\/1.1 200 /);
  const wrong = await curl('/v1/completions', ['-i']);
  expect(wrong.output).toMatch(/^HTTP\/1.1 405 /);
  expect(wrong.output).toMatch(/^allow: POST, OPTIONS\r$/im);
});

test.each([
  ['streaming', true],
  ['waiting for the whole', false],
])('curl that is ended frees its sequences, %s', async (_, stream) => {
  const numLogged = server.log.length;
  const body = { prompt: PROBLEM, n: 2, max_tokens: 900, ignore_eos: true, exit_policy: 'full' };
  const { child, ended, output } = startCurl(
    '/v1/completions',
    posting('-N'),
    JSON.stringify({ ...body, stream }),
  );
  await until(() => model.stats.numRunning === 2 && (!stream || output().includes('data: ')));
  child.kill('SIGINT');
  await ended;
  await until(() => model.stats.numRunning === 0);
  const ends = () => server.log.slice(numLogged).filter(({ message }) => message === 'generation');
  await until(() => ends().length > 0);
  expect(ends()[0]!.fields).toMatchObject({ lost: 2 });
});
