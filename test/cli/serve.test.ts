/** `looplm serve` as a user starts it: a process, a ready line, signals, and what it refuses. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import type { WireChatCompletion } from '../../src/serve/wire/chat.js';
import type { WireCompletion } from '../../src/serve/wire/completions.js';
import type { WireModel } from '../../src/serve/wire/server.js';
import { afterEach, describe, expect, test } from 'vitest';
import { cli, repositoryPath, TINY } from './support.js';

const MAIN = repositoryPath('dist/src/cli/main.js');
const PROBLEM = 'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?';
const LONG = { prompt: PROBLEM, ignore_eos: true, max_tokens: 900, exit_policy: 'full' };

interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  readonly stderr: () => string;
}

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Starts a server on a free port and waits for its ready line. */
async function serve(
  argv: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Served> {
  const child = spawn(process.execPath, [MAIN, 'serve', '--port', '0', ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  children.push(child);
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  let stdout = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    stdout += chunk.toString();
    if (stdout.includes('\n')) break;
  }
  const url = /^looplm is ready: .* at (http:\S+)\n$/.exec(stdout)?.[1];
  if (url === undefined) throw new Error(`no ready line: ${stdout}${stderr}`);
  return { child, url, stderr: () => stderr };
}

const post = async (url: string, body: object, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

test('one command serves the bundled model, with its plan before its address', async () => {
  const { child, url, stderr } = await serve();
  expect(stderr()).toMatch(/^weights .*\n(?:.*\n)*in all .*\n/);
  const chat = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      messages: [{ role: 'user', content: PROBLEM }],
    }),
  });
  const asked = (await chat.json()) as WireChatCompletion;
  const completed = (await (await post(url, { prompt: PROBLEM })).json()) as WireCompletion;
  expect(` ${asked.choices[0]!.message.content}`).toBe(completed.choices[0]!.text);
  const models = (await (await fetch(`${url}/v1/models`)).json()) as { data: WireModel[] };
  const [model] = models.data;
  expect(model).toMatchObject({ id: 'looplm-bundled', has_chat_template: true });
  for (const example of model!.examples!) {
    expect((await post(url, { prompt: example })).status).toBe(200);
  }
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
  const lines = stderr()
    .split('\n')
    .filter((line) => line.startsWith('{'));
  expect(lines.length).toBeGreaterThan(4);
  for (const line of lines) {
    expect(JSON.parse(line)).toMatchObject({ level: 'info', time: expect.any(String) });
  }
  expect(stderr()).not.toMatch(/ball/i);
});

test('SIGTERM lets what runs end, and nothing new begins', async () => {
  const { child, url } = await serve();
  const running = await post(url, { ...LONG, stream: true });
  const reader = running.body!.getReader();
  let text = new TextDecoder().decode((await reader.read()).value);
  child.kill('SIGTERM');
  let status = 200;
  while (status === 200) status = (await fetch(`${url}/ready`)).status;
  expect(status).toBe(503);
  expect((await post(url, { prompt: PROBLEM })).status).toBe(503);
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    text += new TextDecoder().decode(next.value);
  }
  expect(text.match(/^data: /gm)).toHaveLength(LONG.max_tokens + 2);
  expect(text).toMatch(/data: \[DONE\]\n\n$/);
  expect(await once(child, 'exit')).toEqual([0, null]);
});

/** What a balancer is told. */
async function askAgent(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  let line = '';
  for await (const part of socket) line += part;
  return line;
}

test('a balancer is told what is free, and of the end before requests are refused', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  other.close();
  const { child, url } = await serve(['--agent-port', String(port)]);
  expect(await askAgent(port)).toBe('up 100%\n');
  const running = post(url, LONG);
  while ((await askAgent(port)) !== 'up 98%\n'); // one of 64
  child.kill('SIGTERM');
  while ((await askAgent(port)) !== 'stopped #draining\n');
  expect((await fetch(`${url}/ready`)).status).toBe(503);
  expect((await post(url, { prompt: PROBLEM })).status).toBe(200);
  expect((await running).status).toBe(200);
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('a second signal ends it now', async () => {
  const { child, url, stderr } = await serve();
  await Promise.all(Array.from({ length: 8 }, async () => post(url, { ...LONG, stream: true })));
  child.kill('SIGINT');
  while (!stderr().includes('Ending')) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([null, 'SIGINT']);
});

test('a key of the environment is asked for', async () => {
  const { url } = await serve(['--host', '0.0.0.0'], { LOOPLM_API_KEY: 'secret' });
  const address = url.replace('0.0.0.0', '127.0.0.1');
  expect((await post(address, { prompt: 'a' })).status).toBe(401);
  const headers = { authorization: 'Bearer secret' };
  expect((await post(address, { prompt: 'a' }, headers)).status).toBe(200);
});

describe('what cannot be is told in one line', () => {
  test('a port that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { exitCode, stderr } = await cli(['serve', '--port', String(port)]);
    other.close();
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(new RegExp(`^error: Port ${port} of 127.0.0.1 is taken.*$`, 'm'));
  });

  test.each([
    [['--host', '0.0.0.0'], /others can reach.*--api-key/],
    [['--host', 'nowhere.invalid', '--api-key', 'k'], /no address of this machine/],
    [['--api-key', ''], /empty/],
    [['--api-key', 'two words'], /blanks/],
    [['--port', '70000'], /at most 65535/],
    [['--agent-port', '0'], /whole number from 1/],
    [['--max-sequences', '0'], /whole number from 1/],
    [['--request-timeout', '0'], /whole number from 1/],
    [['--request-timeout', '1e9'], /whole number/],
    [['--chat-template', 'none.jinja'], /no file/],
    [['--model', TINY, '--chat-template', 'chatml', '--port', '-1'], /whole number/],
  ])('%j', async (argv, message) => {
    const { exitCode, stderr } = await cli(['serve', '--port', '0', ...argv]);
    expect(exitCode).toBe(2);
    expect(stderr.split('\n').filter((line) => line.startsWith('error: '))).toEqual([
      expect.stringMatching(message),
    ]);
  });
});
