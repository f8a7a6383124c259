/** One bad request from its draw to its verdict: a right answer, or a refusal in shape. */
import { connect } from 'node:net';
import { z } from 'zod';
import { chatChunkSchema, chatCompletionSchema } from '../../src/serve/wire/chat.js';
import { completionSchema } from '../../src/serve/wire/completions.js';
import { responseEventSchema, responseSchema } from '../../src/serve/wire/responses.js';
import {
  detokenizeSchema,
  errorSchema,
  modelListSchema,
  modelSchema,
  tokenizeSchema,
} from '../../src/serve/wire/server.js';
import type { HttpAttack } from './http-attacks.js';
import { drawHttpAttack, wireBytes } from './http-attacks.js';
import { rawTraces } from './judge.js';

export interface HttpVerdict {
  readonly index: number;
  readonly target: string;
  readonly story: readonly string[];
  readonly status: number;
  readonly faults: readonly string[];
  readonly details: string;
}

/** The longest that an answer may take; the server gives its requests less. */
const TIME_LIMIT_MS = 30_000;
const MAX_MESSAGE = 6000;

/** What each route answers, whole and by chunks. */
const SCHEMAS: Readonly<Record<string, { readonly whole: z.ZodType; readonly chunk?: z.ZodType }>> =
  {
    '/v1/completions': { whole: completionSchema, chunk: completionSchema },
    '/v1/chat/completions': { whole: chatCompletionSchema, chunk: chatChunkSchema },
    '/v1/responses': { whole: responseSchema, chunk: responseEventSchema },
    '/tokenize': { whole: tokenizeSchema },
    '/detokenize': { whole: detokenizeSchema },
    '/v1/models': { whole: modelListSchema },
    '/v1/models/bundled': { whole: modelSchema },
  };

/** Plays an attack against a server on this machine. */
export async function httpVerdict(port: number, seed: number, index: number): Promise<HttpVerdict> {
  const attack = drawHttpAttack(seed, index);
  const answer = await answerTo(port, wireBytes(attack), attack.method === 'HEAD');
  const { method, path, story } = attack;
  const faults = answer.isHanging ? ['a hang'] : faultsOf(attack, answer);
  const target = `${method} ${path}`;
  const details = `${wireBytes(attack).toString().slice(0, 3000)}\n---\n${answer.text.slice(0, 1000)}`;
  return { index, target, story, status: answer.status, faults, details };
}

interface HttpAnswer {
  readonly text: string;
  readonly status: number;
  readonly headers: string;
  readonly body: string;
  readonly isHanging: boolean;
}

async function answerTo(port: number, bytes: Buffer, isHead: boolean): Promise<HttpAnswer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  let isHanging = false;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => {
      isHanging = true;
      socket.destroy();
    }, TIME_LIMIT_MS);
    // one that keeps its connection has answered when it is silent
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (isWhole(Buffer.concat(chunks).toString(), isHead)) socket.destroy();
    });
    socket.once('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.write(bytes);
  });
  const text = Buffer.concat(chunks)
    .toString()
    .replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '');
  const split = text.indexOf('\r\n\r\n');
  const headers = text.slice(0, split);
  const rest = text.slice(split + 4);
  const isChunked = /^transfer-encoding: chunked$/im.test(headers);
  return {
    text,
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0),
    headers,
    body: isChunked ? unchunked(rest) : rest,
    isHanging,
  };
}

/** Whether an answer is complete by its own headers. */
function isWhole(text: string, isHead: boolean): boolean {
  const split = text.indexOf('\r\n\r\n');
  if (split < 0) return false;
  if (isHead) return true;
  const length = /^content-length: (\d+)$/im.exec(text.slice(0, split))?.[1];
  if (length !== undefined) return Buffer.byteLength(text.slice(split + 4)) >= Number(length);
  return text.endsWith('\r\n0\r\n\r\n');
}

function unchunked(text: string): string {
  const bytes = Buffer.from(text);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) break;
    const size = Number.parseInt(bytes.subarray(at, end).toString(), 16);
    if (!(size > 0)) break;
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(parts).toString();
}

function faultsOf(attack: HttpAttack, { status, headers, body }: HttpAnswer): string[] {
  if (status === 0) return ['no answer'];
  if (status >= 500) return [`status ${status}`];
  if (status === 204) return body === '' ? [] : ['a body where there must be none'];
  if (attack.method === 'HEAD') return [];
  if (status >= 400) return faultsOfError(body);
  if (status !== 200) return [`status ${status}`];
  const { whole, chunk } = SCHEMAS[attack.path.split('?')[0]!] ?? {};
  if (!whole || attack.raw) return [];
  if (!/^content-type: text\/event-stream/im.test(headers)) return mismatch(whole, body);
  const data = body.split('\n\n').flatMap((block) => /^data: (.*)$/m.exec(block)?.[1] ?? []);
  const items = data.filter((item) => item !== '[DONE]');
  return [
    ...(items.length === 0 ? ['an empty stream'] : []),
    ...items.flatMap((item) => mismatch(chunk!, item)),
  ];
}

function faultsOfError(body: string): string[] {
  const faults = mismatch(errorSchema, body);
  if (faults.length > 0) return faults;
  const { error } = errorSchema.parse(JSON.parse(body));
  return [
    ...rawTraces(error.message),
    ...(error.message.length > MAX_MESSAGE ? ['a flood'] : []),
    ...(error.message === '' ? ['an empty message'] : []),
  ];
}

function mismatch(schema: z.ZodType, text: string): string[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return [`no JSON: ${text.slice(0, 100)}`];
  }
  const { error } = schema.safeParse(json);
  return error ? [`another shape: ${z.prettifyError(error).slice(0, 300)}`] : [];
}
