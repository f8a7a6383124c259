/** The server as a function, without a socket. */
import { expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { createServeApp } from './app.js';
import type { ServeOptions } from './options.js';
import type { ServedModel } from './served-model.js';

const stats = {
  numRunning: 0,
  numWaiting: 0,
  numPagesUsed: 0,
  maxPages: Infinity,
  numPreemptions: 0,
  numExecuted: 0,
  numPromptTokens: 0,
  numCachedTokens: 0,
  weightsVersion: 0,
  isPaused: false,
};
/** Enough of a model for what computes nothing. */
const idle = {
  config: { architecture: 'ouro', numLoops: 4, maxPositionEmbeddings: 64, exitThreshold: 0.5 },
  tokenizer: undefined,
  tokenizerConfig: {},
  stats,
  onStep: () => () => {},
  generate() {},
  check() {},
  chatPrompt() {},
} as unknown as ServedModel;

test.each([
  [undefined, /it must be a loaded LoopLM/],
  [{}, /it must be a loaded LoopLM/],
  ['a model', /it must be a loaded LoopLM/],
])('what is no model is told: %j', (model, message) => {
  const act = () => createServeApp(model as unknown as ServedModel, { modelName: 'a' });
  expect(act).toThrow(ConfigError);
  expect(act).toThrow(message);
});

test.each([
  [{}, /modelName is missing/],
  [{ modelName: '' }, /must not be empty/],
  [{ modelName: 'a', maxSequences: 0 }, /maxSequences is 0; it must be a whole number from 1/],
  [{ modelName: 'a', port: 80 }, /"port" of the server options is not known/],
  [{ modelName: 'a', apiKeys: [''] }, /must not be empty/],
  [{ modelName: 'a', chatTemplate: 'chatml' }, /must be a ChatTemplate/],
  [{ modelName: 'a', assets: {} }, /must be a Map/],
])('options that are not allowed are told: %j', (options, message) => {
  expect(() => createServeApp(idle, options as ServeOptions)).toThrow(message);
});

test('a request is answered without a socket', async () => {
  const app = createServeApp(idle, { modelName: 'a', version: '1.2.3' });
  const ask = async (path: string, init?: RequestInit) =>
    app.fetch(new Request(`http://localhost${path}`, init));
  expect(await (await ask('/version')).json()).toEqual({ version: '1.2.3' });
  expect((await ask('/v1/models/a')).status).toBe(200);
  const tokenize = { method: 'POST', body: '{"prompt":"a"}' };
  const headers = { 'content-type': 'application/json' };
  const response = await ask('/tokenize', { ...tokenize, headers });
  expect([response.status, (await response.json()) as unknown]).toEqual([
    422,
    { error: expect.objectContaining({ code: 'no_tokenizer' }) },
  ]);
  await app.drain();
  expect((await ask('/ready')).status).toBe(503);
});

test('a paused model is not ready', async () => {
  const paused = { ...idle, stats: { ...stats, isPaused: true } } as ServedModel;
  const app = createServeApp(paused, { modelName: 'a' });
  const response = await app.fetch(new Request('http://localhost/ready'));
  expect([response.status, (await response.json()) as unknown]).toEqual([
    503,
    { error: expect.objectContaining({ code: 'paused' }) },
  ]);
});
