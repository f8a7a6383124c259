/** Whether the server lives, takes requests, and what it has done. */
import { ApiError } from '../errors.js';
import { statusSchema, versionSchema } from '../wire/server.js';
import { route } from './route.js';

/** Under the names that vLLM, TRL and prime-rl have for it. */
export const health = ['/health', '/health/', '/liveness'].map((path) =>
  route({
    method: 'GET',
    path,
    summary: 'Answers while the server lives.',
    isOpen: true,
    answer: statusSchema,
    handle: () => Response.json({ status: 'ok' }),
  }),
);

export const ready = route({
  method: 'GET',
  path: '/ready',
  summary: 'Answers 503 once no new requests are taken, and while the model is paused.',
  isOpen: true,
  answer: statusSchema,
  handle({ server: { admission, model } }) {
    if (admission.isEnding) {
      throw new ApiError(503, 'The server is ending and takes no new requests.', {
        code: 'draining',
      });
    }
    if (model.stats.isPaused) {
      throw new ApiError(503, 'The model is paused.', { code: 'paused' });
    }
    return Response.json({ status: 'ready' });
  },
});

export const version = route({
  method: 'GET',
  path: '/version',
  summary: 'Version of looplm.',
  isOpen: true,
  answer: versionSchema,
  handle: ({ server }) => Response.json({ version: server.settings.version }),
});

export const metrics = route({
  method: 'GET',
  path: '/metrics',
  summary: "Prometheus metrics, under vLLM's names and looplm's own.",
  isOpen: true,
  answer: { contentType: 'text/plain' },
  async handle({ server }) {
    const headers = { 'content-type': server.metrics.contentType };
    return new Response(await server.metrics.text(), { headers });
  },
});
