/**
 * Bad requests: a good one is drawn, and then its body, headers, line or bytes are spoilt. An attack is a
 * function of its seed and its number.
 */
import { Draw } from '../draw.js';
import { PROBLEM } from './place.js';
import { damageBytes, damageJson, damageText } from './mutate.js';
import { HUGE_TEXT, ODD_JSON, ODD_TEXTS } from './odd-values.js';

interface HttpBase {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
}

const TOOL = { type: 'function', function: { name: 'now', parameters: { type: 'object' } } };

/** Nothing is wrong with these yet. */
export const HTTP_BASES: readonly HttpBase[] = [
  {
    method: 'POST',
    path: '/v1/completions',
    body: {
      model: 'bundled',
      prompt: [PROBLEM, 'Start with 4. Add 7. What is the result?'],
      max_tokens: 4,
      n: 2,
      temperature: 0.8,
      top_p: 0.9,
      top_k: 5,
      seed: 3,
      stop: ['5', '7'],
      logprobs: 2,
      echo: true,
      logit_bias: { 7: 1.5 },
    },
  },
  {
    method: 'POST',
    path: '/v1/completions',
    body: {
      prompt: [5, 9, 2],
      max_tokens: 4,
      exit_policy: 'any(cdf:0.5,fixed:3)',
      min_depth: 1,
      max_depth: 3,
      num_loops: 4,
      kv_policy: 'per-loop',
      speculation: 'auto',
      logprobs: 1,
      loop_logprobs: 2,
      rollout: true,
      return_token_ids: true,
      stream: true,
      stream_options: { include_usage: true },
    },
  },
  {
    method: 'POST',
    path: '/v1/chat/completions',
    body: {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'text', text: PROBLEM }] },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'hm',
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'now', arguments: '{"a": 1}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'a', content: PROBLEM },
      ],
      max_completion_tokens: 4,
      logprobs: true,
      top_logprobs: 2,
      chat_template_kwargs: { enable_thinking: false, style: { tone: 'dry' } },
      tools: [TOOL],
      tool_choice: 'none',
      response_format: { type: 'text' },
      stream: true,
    },
  },
  {
    method: 'POST',
    path: '/v1/responses',
    body: {
      input: [
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: PROBLEM }] },
        { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
        { type: 'function_call', call_id: 'a', name: 'now', arguments: '{}' },
        { type: 'function_call_output', call_id: 'a', output: PROBLEM },
      ],
      instructions: 'Be brief.',
      max_output_tokens: 4,
      metadata: { a: 'b' },
      text: { format: { type: 'text' } },
      include: ['message.output_text.logprobs'],
      top_logprobs: 1,
      stream: false,
    },
  },
  { method: 'POST', path: '/tokenize', body: { prompt: PROBLEM, return_token_strs: true } },
  { method: 'POST', path: '/detokenize', body: { tokens: [5, 9, 2] } },
  { method: 'GET', path: '/v1/models' },
  { method: 'GET', path: '/v1/models/bundled' },
  { method: 'GET', path: '/metrics' },
  { method: 'GET', path: '/openapi.json' },
  { method: 'GET', path: '/' },
];

/** A request as it goes over the wire. */
export interface HttpAttack {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  /** Instead of all that, if the bytes themselves were spoilt. */
  readonly raw: Buffer | undefined;
  /** What was spoilt, for people. */
  readonly story: readonly string[];
}

interface HttpDraft {
  method: string;
  path: string;
  headers: (readonly [string, string])[];
  body: Buffer;
  raw: Buffer | undefined;
}

type HttpSpoiler = (draft: HttpDraft, draw: Draw) => string;

const spoilJson: HttpSpoiler = (draft, draw) => {
  draft.body = damageJson(draft.body, draw);
  return 'JSON';
};

const spoilText: HttpSpoiler = (draft, draw) => {
  draft.body = draw.pick([damageText, damageBytes])(draft.body, draw);
  return 'text';
};

/** Fields that the body did not have, of those that some body has. */
const addField: HttpSpoiler = (draft, draw) => {
  const known = HTTP_BASES.flatMap(({ body }) => Object.keys(body ?? {}));
  const name = draw.oneIn(4) ? draw.pick(ODD_TEXTS) : draw.pick(known);
  let json: unknown;
  try {
    json = JSON.parse(draft.body.toString());
  } catch {
    return 'nothing';
  }
  if (typeof json !== 'object' || json === null) return 'nothing';
  draft.body = Buffer.from(JSON.stringify({ ...json, [name]: draw.pick(ODD_JSON) }));
  return `field ${JSON.stringify(name).slice(0, 40)}`;
};

const HEADER_NAMES = [
  'Content-Type',
  'Content-Encoding',
  'Accept',
  'Authorization',
  'Origin',
  'Host',
  'X-Request-Id',
  'Expect',
  'Transfer-Encoding',
  'Content-Length',
  'Connection',
  'Upgrade',
  'Cookie',
  'Range',
  'If-None-Match',
  'Access-Control-Request-Method',
  'X-Http-Method-Override',
];
const HEADER_VALUES = [
  'application/json',
  'application/json; charset=utf-16',
  'multipart/form-data; boundary=x',
  'gzip',
  'chunked',
  'websocket',
  'upgrade',
  'close',
  '100-continue',
  'https://evil.example',
  'null',
  'Bearer x',
  'bytes=0-1',
];

const spoilHeader: HttpSpoiler = (draft, draw) => {
  const name = draw.pick(HEADER_NAMES);
  const value = draw.oneIn(3)
    ? draw.pick(ODD_TEXTS).replaceAll(/[\r\n]/g, ' ')
    : draw.pick(HEADER_VALUES);
  if (draw.oneIn(3)) draft.headers.push([name, value]);
  else {
    draft.headers = draft.headers.filter(([other]) => other.toLowerCase() !== name.toLowerCase());
    if (!draw.oneIn(4)) draft.headers.push([name, value]);
  }
  return `header ${name}`;
};

const hugeHeader: HttpSpoiler = (draft) => {
  draft.headers.push(['X-Huge', HUGE_TEXT]);
  return 'a huge header';
};

const spoilLine: HttpSpoiler = (draft, draw) => {
  if (draw.oneIn(2)) {
    draft.method = draw.pick(['GET', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'BREW']);
  } else {
    draft.path = draw.pick([
      `${draft.path}/`,
      `${draft.path}?a=1&a=2`,
      draft.path.toUpperCase(),
      `/${draft.path}`,
      `${draft.path}%00`,
      '/../../etc/passwd',
      '/%2e%2e/%2e%2e/package.json',
      '/v1/models/%ff',
      '/v1/models/a/b/c',
      '/index.html',
      `/${'x'.repeat(3000)}`,
      '*',
      '/ünï',
    ]);
  }
  return 'line';
};

const spoilBytes: HttpSpoiler = (draft, draw) => {
  draft.raw = damageBytes(wireBytes(draft), draw);
  return 'bytes';
};

/** The first ones are drawn more often. */
const SPOILERS: readonly HttpSpoiler[] = [
  spoilJson,
  spoilJson,
  spoilJson,
  spoilJson,
  addField,
  addField,
  spoilText,
  spoilHeader,
  spoilHeader,
  spoilLine,
  hugeHeader,
];

/** Draws an attack. */
export function drawHttpAttack(seed: number, index: number): HttpAttack {
  const draw = new Draw(seed, index);
  const base = draw.pick(HTTP_BASES.slice(0, draw.oneIn(3) ? undefined : 4));
  const draft: HttpDraft = { ...requestOf(base) };
  const spoilers = Array.from({ length: 1 + draw.below(2) }, () => draw.pick(SPOILERS));
  if (draw.oneIn(10)) spoilers.push(spoilBytes);
  const story = spoilers.map((spoil) => spoil(draft, draw));
  return { ...draft, story };
}

/** A request that nothing is wrong with. */
export function requestOf({ method, path, body }: HttpBase): HttpAttack & HttpDraft {
  return {
    method,
    path,
    headers: [
      ['Host', 'localhost'],
      ...(body ? [['Content-Type', 'application/json'] as const] : []),
    ],
    body: Buffer.from(body ? JSON.stringify(body) : ''),
    raw: undefined,
    story: [],
  };
}

/** A request as bytes, with the length that it has and the wish to be closed, unless it says other. */
export function wireBytes({ method, path, headers, body, raw }: HttpDraft | HttpAttack): Buffer {
  if (raw) return raw;
  const has = (name: string) => headers.some(([other]) => other.toLowerCase() === name);
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(has('content-length') || has('transfer-encoding')
      ? []
      : [`Content-Length: ${body.length}`]),
    ...(has('connection') ? [] : ['Connection: close']),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
}
