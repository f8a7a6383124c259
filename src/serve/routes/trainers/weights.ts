/** Routes with which a trainer holds the server and gives it new weights, as vLLM and prime-rl have them. */
import { badRequest } from '../../errors.js';
import type { PauseMode } from '../../wire/trainers.js';
import { PAUSE_MODES, pausedSchema, updateBodySchema, weightsSchema } from '../../wire/trainers.js';
import { statusSchema } from '../../wire/server.js';
import type { Server } from '../../server.js';
import { route } from '../route.js';

const pausedResponse = ({ control }: Server) => Response.json({ is_paused: control.isPaused });

export const pause = route({
  method: 'POST',
  path: '/pause',
  summary: `Computes nothing until /resume; ?mode=${PAUSE_MODES.join('|')} for requests under way, &clear_cache=true|false.`,
  isForTrainers: true,
  answer: pausedSchema,
  async handle({ server, query }) {
    const mode = query.get('mode') ?? 'abort';
    if (!isPauseMode(mode)) {
      throw badRequest('mode', `mode is ${mode}; it must be one of ${PAUSE_MODES.join(', ')}.`);
    }
    await server.control.pause(mode, switchOf(query, 'clear_cache', true));
    return pausedResponse(server);
  },
});

export const resume = route({
  method: 'POST',
  path: '/resume',
  summary: 'Goes on after /pause.',
  isForTrainers: true,
  answer: pausedSchema,
  handle({ server }) {
    server.control.resume();
    return pausedResponse(server);
  },
});

export const isPaused = route({
  method: 'GET',
  path: '/is_paused',
  summary: 'Whether nothing is computed.',
  isForTrainers: true,
  answer: pausedSchema,
  handle: ({ server }) => pausedResponse(server),
});

export const updateWeights = route({
  method: 'POST',
  path: '/update_weights',
  summary: 'Takes the weights of a folder, all of them between two steps.',
  isForTrainers: true,
  body: updateBodySchema,
  answer: weightsSchema,
  async handle({ server, body }) {
    const { weight_dir: path, mode = 'keep' } = body;
    const version = await server.control.update(path, server.settings.trainers!, mode);
    server.settings.log('info', 'weights', { version });
    return Response.json({ weights_version: version });
  },
});

/** As vLLM has it, and as TRL's own server had it. */
export const resetPrefixCache = ['/reset_prefix_cache', '/reset_prefix_cache/'].map((path) =>
  route({
    method: 'POST',
    path,
    summary: 'Forgets what earlier prompts have left for those that begin alike.',
    isForTrainers: true,
    answer: statusSchema,
    handle({ server }) {
      server.model.clearPrefixes();
      return Response.json({ status: 'ok' });
    },
  }),
);

function isPauseMode(mode: string): mode is PauseMode {
  return (PAUSE_MODES as readonly string[]).includes(mode);
}

function switchOf(query: URLSearchParams, name: string, otherwise: boolean): boolean {
  const value = query.get(name)?.toLowerCase();
  if (value === undefined) return otherwise;
  if (value !== 'true' && value !== 'false') {
    throw badRequest(name, `${name} is ${value}; it must be true or false.`);
  }
  return value === 'true';
}
