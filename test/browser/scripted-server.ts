/**
 * A server that speaks the wire of `looplm serve` and follows a script, so that a test decides when a
 * token comes and what fails. A word in the prompt chooses the scene.
 */
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';

export const NUM_LOOPS = 4;
const LIKELIEST = ['alpha', 'beta', 'gamma', 'delta', 'omega'] as const;
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

const MODEL = {
  id: 'scripted',
  object: 'model',
  max_model_len: 2048,
  num_loops: NUM_LOOPS,
  has_exit_gate: true,
  exit_policy: 'cdf:0.5',
  kv_policies: ['per-loop', 'last-exited', 'shared'],
  has_chat_template: true,
  has_reasoning: true,
  examples: ['say one two three', 'say four five six'],
};

interface Body {
  readonly prompt?: string;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  readonly echo?: boolean;
  readonly exit_policy: string;
  readonly max_tokens: number;
  readonly [name: string]: unknown;
}

export class ScriptedServer {
  readonly #server: Server;
  readonly #assets: string;
  /** Bodies of the answers that were asked for. */
  readonly bodies: Body[] = [];
  /** Answers whose reader left before their end. */
  numAborted = 0;
  /** The key that is demanded; none where it is empty. */
  key = '';

  private constructor(assets: string) {
    this.#assets = assets;
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  /** Serves the built page in a folder. */
  static async start(assets: string, port = 0): Promise<ScriptedServer> {
    const server = new ScriptedServer(assets);
    await new Promise<unknown>((resolve) =>
      server.#server.listen(port, '127.0.0.1', () => resolve(undefined)),
    );
    return server;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<unknown>((resolve) => this.#server.close(resolve));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? '/', this.origin).pathname;
    if (!path.startsWith('/v1/')) return this.#serveFile(path, response);
    if (this.key !== '' && request.headers.authorization !== `Bearer ${this.key}`) {
      return fail(response, 401, { message: 'A key is needed.', code: 'invalid_api_key' });
    }
    if (path === '/v1/models') return sendJson(response, { object: 'list', data: [MODEL] });
    const body = JSON.parse(await textOf(request)) as Body;
    this.bodies.push(body);
    await this.#answer(body, response);
  }

  async #serveFile(path: string, response: ServerResponse): Promise<void> {
    const file = path === '/' ? '/index.html' : path;
    const bytes = await readFile(join(this.#assets, file)).catch(() => undefined);
    if (!bytes) return void response.writeHead(404).end();
    response.writeHead(200, {
      'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
      'Content-Security-Policy': "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    });
    response.end(bytes);
  }

  async #answer(body: Body, response: ServerResponse): Promise<void> {
    const text = body.prompt ?? body.messages!.at(-1)!.content;
    if (text.includes('busy')) {
      return fail(response, 429, { message: 'The queue is full.' }, { 'Retry-After': '2' });
    }
    if (text.includes('refused')) {
      const message = 'exit_policy is "cdf:7"; it must be in (0, 1].';
      return fail(response, 400, { message, param: 'exit_policy' });
    }
    response.on('close', () => {
      if (!response.writableFinished) this.numAborted += 1;
    });
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const send = (data: unknown) => response.write(`data: ${JSON.stringify(data)}\n\n`);
    for (const chunk of body.messages ? chatChunks(body, text) : completionChunks(body, text)) {
      if (response.destroyed) return;
      send(chunk);
      if (text.includes('slow')) await pause(30);
      if (text.includes('cut off')) {
        await pause(50);
        return void response.destroy();
      }
      if (text.includes('gives up')) {
        send({ error: { message: 'Out of memory.', type: 'server_error' } });
        return void response.end();
      }
    }
    response.end('data: [DONE]\n\n');
  }
}

/** Words of an answer; without end where the prompt says so. */
function* wordsOf(text: string, { max_tokens: most }: Body): Generator<string> {
  const words = text.includes('slow') ? LIKELIEST : text.split(/\s+/).slice(1);
  const count = text.includes('slow') ? most : words.length;
  for (let index = 0; index < count; index += 1) yield ` ${words[index % words.length]}`;
}

function depthOf(index: number, { exit_policy: policy }: Body): number {
  return policy === 'full' ? NUM_LOOPS : 1 + (index % NUM_LOOPS);
}

/** What each loop of a token said: it is the likeliest from its exit on. */
function loopsOf(token: string, depth: number) {
  return Array.from({ length: depth }, (_, loopIndex) => {
    const logprob = loopIndex + 1 === depth ? -0.1 : -3 - loopIndex;
    const others = LIKELIEST.slice(0, 4).map((other, rank) => {
      return { token: other, logprob: -1 - rank };
    });
    const top = [{ token, logprob }, ...others].toSorted((a, b) => b.logprob - a.logprob);
    return { exit_prob: loopIndex + 1 === depth ? 0.75 : 0.125, logprob, top_logprobs: top };
  });
}

function* completionChunks(body: Body, prompt: string): Generator {
  const given = body.echo ? (prompt.match(/\s*\S+/g) ?? []) : [];
  let count = 0;
  let depths = 0;
  for (const word of [...wordsOf(prompt, body), '']) {
    const depth = depthOf(count, body);
    const names = [...(count === 0 ? given : []), word === '' ? '<end>' : word];
    const isGiven = (index: number) => index < names.length - 1;
    const logprobs = {
      tokens: names,
      token_logprobs: names.map((_, index) => (isGiven(index) && index === 0 ? null : -0.1)),
      top_logprobs: names.map((name, index) => {
        return isGiven(index) && index === 0 ? null : { [name]: -0.1, other: -2.5 };
      }),
      exit_depths: names.map((_, index) => {
        return isGiven(index) ? (index === 0 ? null : 1 + (index % NUM_LOOPS)) : depth;
      }),
      loops: names.map((name, index) => (isGiven(index) ? null : loopsOf(name, depth))),
    };
    const text = (count === 0 ? given.join('') : '') + word;
    const finish = word === '' ? 'stop' : null;
    yield { choices: [{ index: 0, text, logprobs, finish_reason: finish }], usage: null };
    count += 1;
    depths += depth;
  }
  yield { choices: [], usage: usageOf(count, depths) };
}

function* chatChunks(body: Body, message: string): Generator {
  const delta = (part: object, name: string, index: number, finish: string | null = null) => {
    const depth = depthOf(index, body);
    const loops = loopsOf(name, depth);
    const content = [{ token: name, logprob: -0.1, top_logprobs: [], exit_depth: depth, loops }];
    return { choices: [{ index: 0, delta: part, logprobs: { content }, finish_reason: finish }] };
  };
  yield { choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }] };
  let index = 0;
  for (const word of ['let', ' me', ' see']) {
    yield delta({ reasoning: word, reasoning_content: word }, word, index++);
  }
  for (const word of wordsOf(message, body)) yield delta({ content: word }, word, index++);
  yield delta({}, '<end>', index++, 'stop');
  yield { choices: [], usage: usageOf(index, 2 * index) };
}

function usageOf(count: number, depths: number) {
  return {
    prompt_tokens: 5,
    completion_tokens: count,
    mean_depth: depths / count,
    loops_run: 20 + depths,
    loops_saved: NUM_LOOPS * count - depths,
  };
}

const pause = (milliseconds: number) =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request.setEncoding('utf8')) text += piece as string;
  return text;
}

function sendJson(response: ServerResponse, value: unknown, status = 200, headers = {}): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

function fail(response: ServerResponse, status: number, error: object, headers = {}): void {
  sendJson(response, { error: { type: 'x', param: null, code: null, ...error } }, status, headers);
}
